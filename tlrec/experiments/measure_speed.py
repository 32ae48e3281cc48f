"""`python -m tlrec.experiments.measure_speed BASE_MODEL TRAIN TEST`: seconds of one tuned and one scored row, as JSON.

Tunes for three steps in a temporary folder, and scores a few rows: 15 seconds on two CPU cores.
"""

import json
import sys
import tempfile
import time

STEPS, BATCH, SCORED = 3, 8, 32  # optimiser steps, of which the first warms up; rows of each; rows to score


def measure(base_model: str, train_data: str, test_data: str) -> dict[str, float | str]:
    """What Speed holds, of tuning on the answer only and of scoring with an adapter, as the quickstart does both."""
    from tlrec.data.samples import read_samples
    from tlrec.model import scoring
    from tlrec.training import tuning_plan
    from tlrec.training.build_trainer import build_trainer
    from tlrec.training.config import InstructionTuningConfig
    from tlrec.training.step_clock import StepClock

    with tempfile.TemporaryDirectory() as folder:
        plan = tuning_plan.resolve(InstructionTuningConfig(
            base_model=base_model, train_data_path=train_data, output_dir=folder, sample=STEPS * BATCH, seed=0,
            num_epochs=1, max_steps=STEPS, batch_size=BATCH, warmup_steps=0, learning_rate=1e-4, group_by_length=False,
            select_by="none", eval_steps=STEPS, train_on_inputs=False))
        trainer, _ = build_trainer(plan)
        clock = StepClock()
        trainer.add_callback(clock)
        trainer.train()
    rows = read_samples(test_data, answers_only=True)[: SCORED + 1]
    scoring.score(trainer.model, trainer.encoder, rows[-1:])
    began = time.perf_counter()
    scoring.score(trainer.model, trainer.encoder, rows[:-1])
    return {"seconds_per_tuned_row": round((clock.ends[-1] - clock.ends[0]) / (STEPS - 1) / BATCH, 4),
            "seconds_per_scored_row": round((time.perf_counter() - began) / (len(rows) - 1), 4),
            "device": plan.settings.device, "dtype": plan.settings.dtype}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
