"""Implementations of the same work, each in its own process, measured in turns.

Rounds alternate between the processes, so that other load on the machine affects all of them; the median round counts.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.evaluation.config import ModelConfig
from tlrec.model.base_model import resolve_dtype_name


class Turns:
    """The worker's side: a first round in which FLOPs are counted, then one round per line of stdin."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        self.start = 0.0
        self.counter = FlopCounterMode(display=False)
        self.rounds = 0

    def begin(self) -> bool:
        """Wait for the next round; False where there is none."""
        if self.rounds == 0:
            self.counter.__enter__()
        elif not sys.stdin.readline():
            return False
        self.rounds += 1
        self.start = time.perf_counter()
        return True

    def end(self, result: dict) -> None:
        result |= {"seconds": time.perf_counter() - self.start, "peak": run_log.peak_memory_gib()["host"]}
        if self.rounds == 1:
            self.counter.__exit__(None, None, None)
            result["flops"] = self.counter.get_total_flops()
        send(result)


def serve(run_round: Callable[[], dict]) -> None:
    turns = Turns()
    while turns.begin():
        turns.end(run_round())


def send(result: dict) -> None:
    """Send a result to the benchmark's process."""
    print("@" + json.dumps(result), flush=True)


def checked_dtype(name: str, base: Path) -> str:
    """--dtype with `auto` resolved as the scripts do. InputError for an unknown one."""
    ModelConfig(dtype=name).check()
    import torch

    return resolve_dtype_name(name, "cuda" if torch.cuda.is_available() else "cpu", base)


def whole_numbers(flag: str, words: list[str]) -> list[int]:
    """The values of a flag that takes positive whole numbers. InputError for others."""
    for word in words:
        if not (str(word).isdecimal() and 0 < int(word) < 10**9):
            raise InputError(f"--{flag} takes whole numbers from 1 on, not {word!r}")
    return [int(word) for word in words]


class Worker:
    """A process that evaluates `call`, an expression over a module of benchmarks, as `scoring.worker('ours', ...)`.

    first: the first result that it sends.
    """

    def __init__(self, call: str):
        self.errors = tempfile.TemporaryFile("w+")
        self.call = call
        words = [sys.executable, "-c", f"from benchmarks import {call.split('.')[0]}; {call}"]
        modules = os.pathsep.join([str(paths.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": modules}, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.first = self._result()

    def run(self) -> dict:
        print(file=self.process.stdin, flush=True)
        return self._result()

    def close(self) -> dict:
        """End it; its result after the last round, if it has one."""
        self.process.stdin.close()
        results = [json.loads(line[1:]) for line in self.process.stdout if line.startswith("@")]
        if self.process.wait():
            raise self._failed("failed after its last round")
        return results[-1] if results else {}

    def _result(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise self._failed("ended without a result")

    def _failed(self, problem: str) -> InputError:
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or ["no output"]
        return InputError(f"{self.call}: {problem} ({lines[-1]})")


def compare(calls: dict[str, str], repeats: int = 1) -> list[dict]:
    """Evaluate each implementation's call `repeats` times in turn, each time in a process of its own.

    Returns a summary() of each, in the first with how many times as fast as the second it is. AssertionError where
    the results differ in their `sha256`.
    """
    runs: dict[str, list[dict]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            worker = Worker(call)
            worker.close()
            runs[name].append(worker.first)
    results = {run["sha256"] for of_call in runs.values() for run in of_call}
    assert len(results) == 1, f"the implementations {', '.join(calls)} give different results"
    rows = [{"implementation": name, "runs": repeats} | summary(of_call) for name, of_call in runs.items()]
    for first, second in itertools.pairwise(rows):
        first |= {f"faster_by_{unit}": second[unit] / first[unit] for unit in ("seconds", "cpu_seconds")}
    return rows


def timed(work: Callable[[], str]) -> None:
    """Run `work`, and send wall-clock and CPU seconds, peak resident memory, and the hash that it returns."""
    start, cpu_start = time.perf_counter(), time.process_time()
    digest = work()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak_kib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    send({"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3), "peak_mib": round(peak_kib / 1024),
          "peak_gib": round(peak_kib / 2**20, 2), "sha256": digest})


def summary(runs: list[dict]) -> dict:
    """The last of several runs, with the median of each number, and the maximum of each `peak...`."""
    medians = {key: statistics.median(run[key] for run in runs) for key, value in runs[0].items()
               if isinstance(value, int | float)}
    return runs[-1] | medians | {key: max(run[key] for run in runs) for key in medians if key.startswith("peak")}


def take_turns(calls: dict[str, str], dtype: str, rounds: int) -> tuple[dict[str, dict], float]:
    """Run every call `rounds` times in turn, and measure the machine's ceiling in between.

    With 0 rounds the first one counts, in which FLOPs are counted too: half the time, and a little slower. Returns each
    call's summary(), with its GFLOP/s, their share of the ceiling and the seconds of every round; the ceiling, GFLOP/s.
    """
    machine = Worker(f"ceiling.worker({dtype!r})")
    workers = {name: Worker(call) for name, call in calls.items()}
    ceilings = [machine.run()] if not rounds else []  # its first round is slow
    results: dict[str, list[dict]] = {name: [] if rounds else [worker.first] for name, worker in workers.items()}
    for _ in range(rounds):
        for name, worker in workers.items():
            results[name].append(worker.run())
        ceilings.append(machine.run())
    machine.close()
    ceiling = summary(ceilings)["flops_a_second"]
    measured = {}
    for name, runs in results.items():
        median = summary(runs)
        speed = workers[name].first["flops"] / median["seconds"]
        measured[name] = median | workers[name].close() | {
            "gflops": round(speed / 1e9, 1), "of_ceiling": round(speed / ceiling, 3),
            "all_seconds": [round(run["seconds"], 3) for run in runs],
            "losses": [run["loss"] for run in runs if "loss" in run],
        }
    return measured, round(ceiling / 1e9, 1)
