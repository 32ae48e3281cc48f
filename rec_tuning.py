"""Few-shot rec-tuning on the target domain: 16, 64 or 256 samples -> a LoRA adapter.

    python rec_tuning.py --base_model smollm2-135m --train_data_path rec_data/movie/train.json \
        --val_data_path rec_data/movie/valid.json --sample 64 --seed 0 \
        --resume_from_checkpoint instruction_model/smollm2-135m/movie/movielens \
        --output_dir output_model/smollm2-135m/movie/movielens/0_64
"""

from pathlib import Path

from tlrec import cli
from tlrec.data import samples
from tlrec.training.config import TuningConfig, TuningPlan
from tlrec.training.tune import tune


def main(
    train_data_path: str,
    settings: TuningConfig,
    val_data_path: str | None = None,
    resume_from_checkpoint: str | None = None,
    sample: int = -1,
    seed: int = 0,
    num_epochs: float = 30,
    learning_rate: float = 1e-4,
    group_by_length: bool = True,
    select_by: str = "loss",
    eval_steps: int = 0,
    keep_checkpoints: int = 3,
) -> None:
    """Tune a LoRA adapter on a few samples of the target domain.

    The few-shot subset is the published one: `datasets` shuffle(seed).select(range(sample)).

    Args:
        train_data_path: the target domain's train.json
        val_data_path: the target domain's valid.json
        resume_from_checkpoint: adapter folder to start from
        sample: number of shots; -1 is all rows
        seed: of the subset, the initialisation, the order and the dropout
        num_epochs: passes over the shots (TLRec 30, TALLRec 200)
        learning_rate: highest learning rate
        group_by_length: batches of similar length
        select_by: loss (TLRec), auc (TALLRec) or none (the last weights are kept)
        eval_steps: optimiser steps between validations; 0 is the published rule: 10, above 128 shots 5 x shots / 128
        keep_checkpoints: how many training checkpoints stay on disk
    """
    train_path, valid_path = Path(train_data_path), Path(val_data_path) if val_data_path else None
    train = samples.read_samples(train_path, answers_only=True)
    valid = samples.read_samples(valid_path, answers_only=True) if valid_path else []
    samples.check_sample_size(train_path, len(train), sample)
    shots = len(train) if sample == -1 else sample
    rows = samples.shuffled_rows(len(train), seed, shots)
    tune(settings, TuningPlan(
        train_path=train_path, train=[train[row] for row in rows], train_rows=rows, valid_path=valid_path, valid=valid,
        shots=shots, seed=seed, start=resume_from_checkpoint, learning_rate=learning_rate, num_epochs=num_epochs,
        group_by_length=group_by_length, select_by=select_by, keep_checkpoints=keep_checkpoints, sample=sample,
        eval_steps=eval_steps or (10 if shots <= 128 else 5 * shots // 128),
    ))


if __name__ == "__main__":
    cli.run(main)
