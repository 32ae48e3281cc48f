"""Records as evaluate.py writes them, of random scores."""

import numpy as np

from tlrec.evaluation import metrics
from tlrec.evaluation.record_schema import EvaluationRecord

GENERATOR = np.random.default_rng(0)
USERS = np.repeat([f"u{n}" for n in range(12)], 10)
LABELS = np.tile([0, 1, 1, 0, 1], 24)
COUNTS = np.stack([np.arange(120) % 11, 10 - np.arange(120) % 11], axis=1)


def record(system, seed=None, shots=None, chain=(), base=None, domain="movie", path="test", **more):
    """A record as evaluate.py writes it, of made-up scores."""
    scores = np.clip(GENERATOR.random(120) + 0.1 * LABELS, 0, 1)
    name = f"run-{GENERATOR.integers(1 << 40):x}"
    return {
        "kind": "evaluation", "system": system, "experiment": "", "method": "llm" if base else system, "run_id": name,
        "base_model": base, "chain": [stage for stage, _ in chain], "rows_of_chain": [rows for _, rows in chain],
        "shots": shots, "seed": seed, "train_domain": domain, "test_domain": domain, "tuning_seconds": 1, "seconds": 1,
        "test_data": {"path": f"rec_data/{domain}/{path}.json", "sha256": domain, "rows": 120,
                      "sampled_with_seed": None},
        "metrics": metrics.evaluate(LABELS, scores, USERS if domain == "movie" else None, COUNTS), "commit": None,
        "arguments": {}, "commands": [], "versions": {},
        "request": {"system": system, "shots": shots, "seed": seed, "adapter_sha256": name if chain else None},
        "adapter": {"path": name, "stages": [stage(*part, seed) for part in chain]} if chain else None,
        "time": f"2026-01-{GENERATOR.integers(1, 28):02}"} | more


def stage(name, rows, seed, **settings):
    """An entry of the manifest's stages."""
    return {"settings": {"learning_rate": 1e-3, "seed": seed, **settings},
            "train": {"rows": rows, "sha256": name}, "valid": None}


def parsed(*runs: dict) -> list[EvaluationRecord]:
    """The records as reports read them."""
    return [EvaluationRecord.model_validate(run) for run in runs]


def records() -> list[dict]:
    """Every kind of system: controls, baselines, language models with and without a chain; two domains."""
    netflix, base = [("netflix", 512)], "smollm2-135m"
    return [
        record("liked-ratio"),
        *(record("GRU4Rec", seed, shots) for shots in (16, 64) for seed in range(3)),
        record("SASRec", 0, 8000),
        record("item-mean", None, 8000),
        record("x", None, None, [], base),
        *(record("x", seed, None, netflix, base) for seed in range(2)),
        record("x", 0, 16, [*netflix, ("movie", 16)], base),
        record("x", 0, 64, [("book", 64)], base, train_domain="book"),
        record("Caser", 0, 16, domain="book"),
    ]
