"""When each optimiser step ended, for what measures a tuning's speed."""

import time
from collections.abc import Callable

import transformers


class StepClock(transformers.TrainerCallback):
    """ends: seconds at the end of each optimiser step, by `now`; losses: as logged."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, args, state, control, **_):
        self.ends.append(self._now())

    def on_log(self, args, state, control, logs=None, **_):
        self.losses += [float(logs["loss"])] if logs and "loss" in logs else []
