"""The cost of --eval_samples: which checkpoint a part of the validation rows selects, and the AUC that this loses.

    python ins_tuning.py ... --select_by none --eval_steps 10 --keep_checkpoints 99     leaves its checkpoints
    python -m benchmarks.eval_samples --tuned ADAPTER

Every checkpoint is scored once on all validation rows; the scores are cached beside it, so that an interrupted run
resumes. From these, each number of rows is drawn with many seeds, as --eval_samples draws it.
"""

import json
import time
from pathlib import Path

import numpy as np

from benchmarks import harness, record
from tlrec import cli, files
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics
from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.model.base_model import load_base_model, resolve_base_model, select_device
from tlrec.signature_flags import PathText
from tlrec.training import checkpoints

SCORES = "validation_scores.json"
COLUMNS = {
    "validation rows": "{eval_samples:,}", "seconds a validation": "{seconds:.0f}",
    "same checkpoint": "{same_checkpoint:.0%}", "lost in AUC: mean": "{mean_loss:.4f}", "at most": "{largest_loss:.4f}",
}


def scores(folder: Path, base: Path, rows: list[samples.Sample], digest: str) -> tuple[np.ndarray, float]:
    """P(Yes) of the rows under a checkpoint, shape (n,), and the seconds of scoring; cached by `digest`."""
    path = folder / SCORES
    if path.exists():
        cached = files.read_json(path, "remove it")
        if cached["rows"] == digest:
            return np.array(cached["p_yes"]), cached["seconds"]

    from tlrec.model import scoring
    from tlrec.model.prompt_encoder import Encoder

    model, tokenizer = load_base_model(base, False, "auto", select_device())
    adapter = inspect_adapter(folder, base)
    model = attach_adapter(model, None, adapter)
    start = time.time()
    p_yes = scoring.score(model, Encoder(tokenizer), rows, progress=folder.name).p_yes
    seconds = round(time.time() - start, 1)
    files.write_atomically(path, json.dumps({"rows": digest, "p_yes": p_yes.tolist(), "seconds": seconds}))
    return p_yes, seconds


def draw(rows: list[samples.Sample], p_yes: np.ndarray, count: int, draws: int) -> dict:
    """How often and how well `count` rows select a checkpoint; p_yes: shape (checkpoints, rows)."""
    labels = np.array([row.label for row in rows])
    numbered = [samples.Sample(str(number), row.input, row.output) for number, row in enumerate(rows)]
    full = np.array([metrics.auc(labels, values) for values in p_yes])
    chosen = []
    for seed in range(draws):
        part = [int(row.instruction) for row in samples.stratified_subset(numbered, count, seed)]
        chosen.append(int(np.argmax([metrics.auc(labels[part], values[part]) for values in p_yes])))
    lost = full.max() - full[chosen]
    return {"eval_samples": count, "draws": draws, "same_checkpoint": float(np.mean(np.array(chosen) == full.argmax())),
            "mean_loss": float(lost.mean()), "largest_loss": float(lost.max())}


def main(
    tuned: PathText,
    base_model: PathText = "smollm2-135m",
    data: PathText = "rec_data/movie/valid.json",
    rows: int = -1,
    counts: list[str] = ["50", "100", "200"],  # noqa: B006
    draws: int = 200,
    name: str = "eval_samples",
) -> None:
    """Measure the choice of a checkpoint from a part of the validation rows.

    Args:
        tuned: output folder of a tuning run that kept its checkpoints
        base_model: model folder, or its name under base_model/
        data: validation rows
        rows: number of them to use, drawn with seed 0; -1 is all
        counts: numbers of rows that --eval_samples draws
        draws: seeds of each number
        name: of the results
    """
    base = resolve_base_model(base_model)
    folders = sorted(Path(tuned).glob("checkpoint-*"), key=checkpoints.step_of)
    if len(folders) < 2:
        raise InputError(f"{tuned}: fewer than two checkpoints; tune with --eval_steps and --keep_checkpoints 99")
    valid = samples.stratified_subset(samples.read_samples(data, answers_only=True), rows, 0)
    if too_many := [count for count in harness.whole_numbers("counts", counts) if not 1 < count < len(valid)]:
        raise InputError(f"--counts {too_many[0]}: {data} has {len(valid)} rows; give fewer")
    digest = f"{files.sha256(data)}, {len(valid)} rows"
    scored = [scores(folder, base, valid, digest) for folder in folders]
    p_yes = np.array([values for values, _ in scored])
    labels = np.array([row.label for row in valid])
    full = {checkpoints.step_of(folder): metrics.auc(labels, values)
            for folder, values in zip(folders, p_yes, strict=True)}
    seconds = float(np.median([spent for _, spent in scored]))
    all_rows = {"eval_samples": len(valid), "same_checkpoint": 1, "mean_loss": 0, "largest_loss": 0}
    measured = [row | {"seconds": seconds * row["eval_samples"] / len(valid)}
                for row in [all_rows, *(draw(valid, p_yes, int(count), draws) for count in counts)]]
    by_step = ", ".join(f"{step}: {value:.4f}" for step, value in full.items())
    note = (f"{len(folders)} checkpoints of {Path(tuned).name}, AUC on all rows by step: {by_step}. {draws} draws each "
            "(seeds from 0); seconds of a part are its share of those of all rows.")
    manifest = files.read_json(Path(tuned) / MANIFEST_FILE, "finish its tuning run")
    record.write("speed", name, "eval_samples", COLUMNS, measured, note, auc_by_step=full,
                 seconds_of_all_rows=seconds, tuned_with=manifest["arguments"], data_sha256=files.sha256(data))


if __name__ == "__main__":
    cli.run(main)
