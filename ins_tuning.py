"""Instruction tuning: alpaca, chain-of-thought or source-domain data -> a LoRA adapter.

    python ins_tuning.py --base_model smollm2-135m --train_data_path instruction_data/movielens/train.json \
        --val_data_path rec_data/movie/valid.json --output_dir instruction_model/smollm2-135m/movie/movielens
"""

from pathlib import Path

from tlrec import cli
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.training.config import TuningConfig, TuningPlan
from tlrec.training.tune import tune


def main(
    train_data_path: str,
    settings: TuningConfig,
    val_data_path: str | None = None,
    val_set_size: int = 0,
    resume_from_checkpoint: str | None = None,
    sample: int = -1,
    seed: int = 42,
    num_epochs: float = 3,
    learning_rate: float = 3e-4,
    group_by_length: bool = False,
    select_by: str = "auc",
    eval_steps: int = 10,
    keep_checkpoints: int = 3,
) -> None:
    """Tune a LoRA adapter on instruction data and keep the checkpoint with the best validation.

    Args:
        train_data_path: instruction JSON
        val_data_path: instruction JSON that selects the checkpoint (published: the target domain's valid.json)
        val_set_size: without val_data_path, this many training rows are held out instead (split seed 42)
        resume_from_checkpoint: adapter folder to start from
        sample: tune on this many rows, drawn with the seed; -1 is all
        seed: of the rows drawn, the initialisation, the order and the dropout
        num_epochs: passes over the data
        learning_rate: highest learning rate
        group_by_length: batches of similar length
        select_by: auc, loss or none (the last weights are kept)
        eval_steps: optimiser steps between validations
        keep_checkpoints: how many training checkpoints stay on disk
    """
    train_path = Path(train_data_path)
    train = samples.read_samples(train_path, answers_only=False)
    valid_path = Path(val_data_path) if val_data_path else None
    valid = samples.read_samples(valid_path, answers_only=select_by == "auc") if valid_path else []
    if val_set_size and valid_path:
        raise InputError("--val_set_size and --val_data_path exclude each other; give one")
    if val_set_size:
        valid_path = train_path
        rows, held_out = samples.hold_out(train_path, len(train), val_set_size)
        valid = [train[row] for row in held_out]
    else:
        rows = list(range(len(train)))
    samples.check_sample_size(train_path, len(rows), sample)
    if sample != -1:
        rows = [rows[row] for row in samples.shuffled_rows(len(rows), seed, sample)]
    tune(settings, TuningPlan(
        train_path=train_path, train=[train[row] for row in rows], train_rows=rows, valid_path=valid_path, valid=valid,
        shots=None, seed=seed, start=resume_from_checkpoint, learning_rate=learning_rate, num_epochs=num_epochs,
        group_by_length=group_by_length, select_by=select_by, eval_steps=eval_steps, keep_checkpoints=keep_checkpoints,
        sample=sample, val_set_size=val_set_size,
    ))


if __name__ == "__main__":
    cli.run(main)
