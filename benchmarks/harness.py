"""Ways of doing the same work, each in a process of its own, that take turns on the machine.

Rounds alternate between the ways, so that what else the machine does meets all of them; the median round counts.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log

CEILING = "ceiling"  # the name of the way that measures the machine


class Turns:
    """In a way's process: a first round with its operations counted, then one round per line of stdin."""

    def __init__(self):
        self.began = 0.0
        self.counter = None

    def begin(self) -> bool:
        """Waits for the turn; whether there is one."""
        from torch.utils.flop_counter import FlopCounterMode

        if self.counter is None:
            self.counter = FlopCounterMode(display=False)
            self.counter.__enter__()
            self.counting = there_is = True
        else:
            there_is = bool(sys.stdin.readline())
        self.began = time.perf_counter()
        return there_is

    def end(self, said: dict) -> None:
        said |= {"seconds": time.perf_counter() - self.began, "peak": run_log.peak_memory_gib()["host"]}
        if self.counting:
            self.counting = False
            self.counter.__exit__(None, None, None)
            said["flops"] = self.counter.get_total_flops()
        print("@" + json.dumps(said), flush=True)


def serve(round_of: Callable[[], dict]) -> None:
    turns = Turns()
    while turns.begin():
        turns.end(round_of())


def last_words(said: dict) -> None:
    """What a way found after its last turn."""
    print("@" + json.dumps(said), flush=True)


def ceiling(dtype: str, size: int = 2048, seconds: float = 1.0) -> None:
    """A process that measures matrix products of size x size, in FLOP/s, as one of the ways."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    first, second = (torch.randn(size, size).to(device, getattr(torch, dtype)) for _ in range(2))

    def measure() -> dict:
        began, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - began) < seconds:
            torch.mm(first, second)[0, 0].item()  # waits for a GPU
            done += 1
        return {"flops_a_second": 2 * size**3 * done / spent}

    serve(measure)


def checked_dtype(name: str) -> str:
    """--dtype, `auto` resolved as the scripts do: bfloat16 only where the processor has it. InputError for others."""
    if name not in ("auto", "bfloat16", "float32"):
        raise InputError(f"--dtype {name!r} is unknown; choose auto, bfloat16 or float32")
    from tlrec.model.base import resolve_dtype

    return str(resolve_dtype(name, "cpu")).removeprefix("torch.")


def whole_numbers(flag: str, words: list[str]) -> list[int]:
    """The values of a flag that takes whole numbers from 1 on. InputError for others."""
    for word in words:
        if not (str(word).isdecimal() and 0 < int(word) < 10**9):
            raise InputError(f"--{flag} takes whole numbers from 1 on, not {word!r}")
    return [int(word) for word in words]


def check_least(**flags: tuple[int, int]) -> None:
    """InputError where a flag's value is below its least one; flags: value and least value by name."""
    for flag, (value, least) in flags.items():
        if value < least:
            raise InputError(f"--{flag} {value}: must be at least {least}")


class Way:
    """A process that runs `call`, an expression over a module of benchmarks, as `scoring.worker('ours', ...)`."""

    def __init__(self, call: str):
        code = f"from benchmarks import {call.split('.')[0]}; {call}"
        self.errors = tempfile.TemporaryFile("w+")
        self.call = call
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=paths.ROOT, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.first = self._answer()

    def run(self) -> dict:
        print(file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise InputError(f"{self.call}: ended without an answer ({self._complaint()})")

    def _complaint(self) -> str:
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["it said nothing"])[-1]

    def close(self) -> dict:
        """Its last words, if it has any."""
        self.process.stdin.close()
        said = [json.loads(line[1:]) for line in self.process.stdout if line.startswith("@")]
        if self.process.wait():
            raise InputError(f"{self.call}: failed after its last turn ({self._complaint()})")
        return said[-1] if said else {}


def take_turns(calls: dict[str, str], rounds: int) -> dict[str, dict]:
    """Every way `rounds` times in turn: its median `seconds`, `flops` a round, `peak` GiB and its last answers.

    With 0 rounds the first one counts, in which operations are counted too: half the time, and a little slower.
    """
    ways = {name: Way(call) for name, call in calls.items()}
    taken: dict[str, list[dict]] = {name: [] if rounds else [way.first] for name, way in ways.items()}
    if not rounds and CEILING in ways:
        taken[CEILING] = [ways[CEILING].run()]  # its first round is slow: it has one
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way.run())
    last = {name: way.close() for name, way in ways.items()}
    found = {}
    for name, runs in taken.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]
                  if isinstance(runs[0][key], int | float)}
        found[name] = runs[-1] | middle | last[name] | {
            "flops": ways[name].first["flops"], "peak": max(run["peak"] for run in runs),
            "all_seconds": [round(run["seconds"], 3) for run in runs],
            "losses": [run["loss"] for run in runs if "loss" in run],
        }
    return found


def write(name: str, module: str, tables: str, measurements: list[dict], note: str, **more) -> None:
    """The record and its table under results/reference/speed/, and the table on the screen."""
    record = {
        "command": " ".join([f"python -m benchmarks.{module}", *sys.argv[1:]]),
        "commit": run_log.git_commit(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}",
        **more,
        "measurements": measurements,
    }
    folder = paths.writable_directory(paths.results_dir() / "reference" / "speed")
    files.write_atomically(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    commit, _, changes = (record["commit"] or "unknown").partition("+")
    said = f"`{record['command']}`, commit {commit[:12]}{'+' * bool(changes)}{changes}, {record['machine']}. {note}"
    files.write_atomically(folder / f"{name}.md", f"{tables}\n{said}\n")
    print(f"{tables}\n{said}")


def _processor() -> str:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return names[0] if names else platform.machine()
