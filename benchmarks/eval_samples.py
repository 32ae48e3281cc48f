"""What --eval_samples costs: which checkpoint a part of the validation rows would have chosen, and what that loses.

    python ins_tuning.py ... --select_by none --eval_steps 10 --keep_checkpoints 99     leaves its checkpoints
    python -m benchmarks.eval_samples --tuned ADAPTER

Every checkpoint is scored on all validation rows, once; its scores are kept beside it, so a run that was ended goes on.
From these each number of rows is drawn with many seeds, as --eval_samples draws it.
"""

import json
import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from tlrec import cli, files
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics
from tlrec.model.adapter import attach_adapter, inspect_adapter, lora_config
from tlrec.model.base import load_base_model, resolve_base_model, select_device
from tlrec.model.manifest import MANIFEST_FILE
from tlrec.training import checkpoints

SCORES = "validation_scores.json"


def scores(folder: Path, base: Path, rows: list[samples.Sample], digest: str) -> tuple[np.ndarray, float]:
    """P(Yes) of the rows, which `digest` stands for, under a checkpoint, shape (n,), and the seconds that it took."""
    path = folder / SCORES
    if path.exists() and (said := files.read_json(path, "remove it"))["rows"] == digest:
        return np.array(said["p_yes"]), said["seconds"]

    from tlrec.model import scoring
    from tlrec.model.encoder import Encoder

    model, tokenizer = load_base_model(base, False, "auto", select_device())
    adapter = inspect_adapter(folder, base)
    model = attach_adapter(model, lora_config(adapter), adapter)
    began = time.time()
    found = scoring.score(model, Encoder(tokenizer), rows, progress=folder.name).p_yes
    said = {"rows": digest, "p_yes": found.tolist(), "seconds": round(time.time() - began, 1)}
    files.write_atomically(path, json.dumps(said))
    return found, said["seconds"]


def drawn(rows: list[samples.Sample], found: np.ndarray, count: int, draws: int) -> dict:
    """What `count` rows choose among the checkpoints; found: P(Yes) of shape (checkpoints, rows)."""
    labels = np.array([row.label for row in rows])
    numbered = [samples.Sample(str(number), row.input, row.output) for number, row in enumerate(rows)]
    full = np.array([metrics.auc(labels, one) for one in found])
    chosen = []
    for seed in range(draws):
        part = [int(row.instruction) for row in samples.stratified_subset(numbered, count, seed)]
        chosen.append(int(np.argmax([metrics.auc(labels[part], one[part]) for one in found])))
    lost = full.max() - full[chosen]
    return {"eval_samples": count, "draws": draws, "same_checkpoint": float(np.mean(np.array(chosen) == full.argmax())),
            "mean_loss": float(lost.mean()), "largest_loss": float(lost.max())}


def main(
    tuned: str,
    base_model: str = "smollm2-135m",
    data: str = "rec_data/movie/valid.json",
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
        rows: take so many of them, drawn with seed 0, for all; -1 is all
        counts: numbers of rows that --eval_samples draws
        draws: seeds of each number
        name: of the results
    """
    base = resolve_base_model(base_model)
    folders = sorted(Path(tuned).glob("checkpoint-*"), key=checkpoints.step_of)
    if len(folders) < 2:
        raise InputError(f"{tuned}: fewer than two checkpoints; tune with --eval_steps and --keep_checkpoints 99")
    read = samples.stratified_subset(samples.read_samples(data, answers_only=True), rows, 0)
    if too_many := [count for count in counts if not 1 < int(count) < len(read)]:
        raise InputError(f"--counts {too_many[0]}: there are {len(read)} rows of {data}; give fewer than that")
    digest = f"{files.sha256(data)}, {len(read)} rows"
    taken = [scores(folder, base, read, digest) for folder in folders]
    found = np.array([one for one, _ in taken])
    labels = np.array([row.label for row in read])
    full = {checkpoints.step_of(folder): metrics.auc(labels, one) for folder, one in zip(folders, found, strict=True)}
    seconds = float(np.median([spent for _, spent in taken]))
    measured = [drawn(read, found, int(count), draws) for count in counts]
    lines = ["| validation rows | seconds a validation | same checkpoint | lost in AUC: mean | at most |",
             "|---|---|---|---|---|", f"| all {len(read):,} | {seconds:.0f} | 100% | 0 | 0 |"]
    lines += [f"| {row['eval_samples']} | {seconds * row['eval_samples'] / len(read):.0f} "
              f"| {row['same_checkpoint']:.0%} | {row['mean_loss']:.4f} | {row['largest_loss']:.4f} |"
              for row in measured]
    said = ", ".join(f"{step}: {value:.4f}" for step, value in full.items())
    note = (f"{len(folders)} checkpoints of {Path(tuned).name}, AUC on all rows by step: {said}. {draws} draws each "
            "(seeds from 0); seconds of a part are its share of those of all rows.")
    manifest = files.read_json(Path(tuned) / MANIFEST_FILE, "tune it to its end")
    harness.write(name, "eval_samples", "\n".join(lines) + "\n", measured, note, auc_by_step=full,
                       seconds_of_all_rows=seconds, tuned_with=manifest["arguments"], data_sha256=files.sha256(data))


if __name__ == "__main__":
    cli.run(main)
