"""Implementations of the same work, each in its own process, measured in turns.

Rounds alternate between the processes, so that other load on the machine affects all of them; the median round counts.
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

CEILING = "ceiling"  # the name of the process that measures the machine


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


def ceiling(dtype: str, size: int = 2048, seconds: float = 1.0) -> None:
    """Measure matrix products of size x size, in FLOP/s, as one of the workers."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    first, second = (torch.randn(size, size).to(device, getattr(torch, dtype)) for _ in range(2))

    def measure() -> dict:
        start, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds:
            torch.mm(first, second)[0, 0].item()  # waits for a GPU
            done += 1
        return {"flops_a_second": 2 * size**3 * done / spent}

    serve(measure)


def checked_dtype(name: str) -> str:
    """--dtype with `auto` resolved as the scripts do: bfloat16 where the processor has it. InputError for others."""
    if name not in ("auto", "bfloat16", "float32"):
        raise InputError(f"--dtype {name!r} is unknown; choose auto, bfloat16 or float32")
    from tlrec.model.base import resolve_dtype

    return str(resolve_dtype(name, "cpu")).removeprefix("torch.")


def whole_numbers(flag: str, words: list[str]) -> list[int]:
    """The values of a flag that takes positive whole numbers. InputError for others."""
    for word in words:
        if not (str(word).isdecimal() and 0 < int(word) < 10**9):
            raise InputError(f"--{flag} takes whole numbers from 1 on, not {word!r}")
    return [int(word) for word in words]


class Worker:
    """A process that evaluates `call`, an expression over a module of benchmarks, as `scoring.worker('ours', ...)`."""

    def __init__(self, call: str):
        self.errors = tempfile.TemporaryFile("w+")
        self.call = call
        self.process = subprocess.Popen(_python(call), cwd=paths.ROOT, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.first = self._result()

    def run(self) -> dict:
        print(file=self.stdin, flush=True)
        return self._result()

    def close(self) -> dict:
        """End it; its result after the last round, if it has one."""
        self.stdin.close()
        results = [json.loads(line[1:]) for line in self.stdout if line.startswith("@")]
        if self.process.wait():
            raise InputError(f"{self.call}: failed after its last round ({self._last_error()})")
        return results[-1] if results else {}

    def _result(self) -> dict:
        for line in self.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise InputError(f"{self.call}: ended without a result ({self._last_error()})")

    def _last_error(self) -> str:
        self.errors.seek(0)
        return _last_line(self.errors.read())


def run_once(call: str, **variables: str) -> dict:
    """Evaluate `call` in a process of its own, with more environment variables; the last result that it sent."""
    finished = subprocess.run(_python(call), cwd=paths.ROOT, env=os.environ | variables, capture_output=True, text=True)
    if finished.returncode:
        raise InputError(f"{call}: failed ({_last_line(finished.stderr)})")
    return json.loads(finished.stdout.splitlines()[-1].removeprefix("@"))


def take_turns(calls: dict[str, str], rounds: int) -> dict[str, dict]:
    """Run every call `rounds` times in turn: its median `seconds`, `flops` per round, `peak` GiB and its last results.

    With 0 rounds the first one counts, in which FLOPs are counted too: half the time, and a little slower.
    """
    workers = {name: Worker(call) for name, call in calls.items()}
    results: dict[str, list[dict]] = {name: [] if rounds else [worker.first] for name, worker in workers.items()}
    if not rounds and CEILING in workers:
        results[CEILING] = [workers[CEILING].run()]  # its first round is slow: it has one
    for _ in range(rounds):
        for name, worker in workers.items():
            results[name].append(worker.run())
    final = {name: worker.close() for name, worker in workers.items()}
    measured = {}
    for name, runs in results.items():
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]
                   if isinstance(runs[0][key], int | float)}
        measured[name] = runs[-1] | medians | final[name] | {
            "flops": workers[name].first["flops"], "peak": max(run["peak"] for run in runs),
            "all_seconds": [round(run["seconds"], 3) for run in runs],
            "losses": [run["loss"] for run in runs if "loss" in run],
        }
    return measured


def table(columns: dict[str, str], rows: list[dict]) -> str:
    """A Markdown table; columns: heading -> format of one row, as `{seconds:.2f}`, empty where the value is
    None or missing."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[_cell(template, row) for template in columns.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(template: str, row: dict) -> str:
    try:
        return template.format_map(row)
    except (TypeError, KeyError):  # None takes no number format
        return ""


def write(subject: str, name: str, module: str, tables: str, measurements: list[dict], note: str, **more: object
          ) -> None:
    """Write results/reference/SUBJECT/NAME.json and the table beside it, and print the table."""
    commit = run_log.git_commit()
    record = {
        "command": " ".join([f"python -m benchmarks.{module}", *sys.argv[1:]]),
        "commit": commit,
        "machine": f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}",
        **more,
        "measurements": measurements,
    }
    folder = paths.writable_directory(paths.results_dir() / "reference" / subject)
    files.write_atomically(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    head, plus, changes = (commit or "unknown").partition("+")
    source = f"`{record['command']}`, commit {head[:12]}{plus}{changes}, {record['machine']}. {note}"
    files.write_atomically(folder / f"{name}.md", f"{tables}\n{source}\n")
    print(f"{tables}\n{source}")


def _python(call: str) -> list[str]:
    return [sys.executable, "-c", f"from benchmarks import {call.split('.')[0]}; {call}"]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def _processor() -> str:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    return names[0] if names else platform.machine()
