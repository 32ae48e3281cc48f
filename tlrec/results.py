"""The record: one line of JSON per run in results/runs.jsonl, predictions beside it.

Tables and figures derive from the record alone.
"""

import csv
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlrec import paths
from tlrec.errors import InputError

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "numpy", "scikit-learn")


def runs_file() -> Path:
    return paths.results() / "runs.jsonl"


def append_evaluation(
    record: dict, test_path: Path, picked: Sequence[int], users: Sequence | None, labels: Sequence[int],
    scores: dict[str, Sequence[float]],
) -> str:
    """Append one evaluation: `record` over what every evaluation says, with its predictions; returns the run's id.

    picked: numbers of the scored rows in the test file; users (None where unknown), labels and each of the scores have
    one value per scored row.
    """
    common = {
        "kind": "evaluation", "base_model": None, "chain": [], "rows_of_chain": [], "shots": None, "seed": None,
        "train_domain": None, "tuning_seconds": 0, "test_domain": test_path.resolve().parent.name,
        "peak_memory_gib": peak_memory_gib(), **environment(),
    }
    columns = {"row": picked, **({} if users is None else {"user_id": users}), "label": labels, **scores}
    return append({**common, **record}, {name: np.asarray(values).tolist() for name, values in columns.items()})


def append(record: dict, predictions: dict[str, list] | None = None) -> str:
    """Append one record (and write its predictions, a dict of columns); returns the run's id.

    A record is one write under a lock, flushed to the disk, so that processes do not tear each other's lines.
    """
    folder = paths.writable_directory(paths.results())
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    if predictions:
        with open(paths.writable_directory(folder / "predictions") / f"{run_id}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(predictions)
            writer.writerows(zip(*predictions.values(), strict=True))
        record = {**record, "predictions": f"predictions/{run_id}.csv"}
    said = {**paths.portable(record), "run_id": run_id, "time": now.isoformat(timespec="seconds")}
    line = json.dumps(said, allow_nan=False)
    with open(runs_file(), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return run_id


def read(path: Path | None = None) -> list[dict]:
    """All records in order; none where there is no file yet. InputError names a broken line."""
    path = path or runs_file()
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            raise InputError(f"{path}: line {number} is not JSON; remove that line") from None
    return records


def find(request: dict) -> dict | None:
    """The latest record of exactly this request (what determines a result), if there is one."""
    return next((record for record in reversed(read()) if record.get("request") == request), None)


def environment() -> dict:
    """Versions, commit and machine, for a record."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": versions,
        "cores": os.cpu_count(),
    }


def commit() -> str | None:
    """The checkout's commit, with `+changes` where tracked files differ from it; None outside a checkout."""
    git = ["git", "-C", str(paths.ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if changes.strip() else "")


def peak_memory_gib() -> dict:
    """Peak resident memory of this process and, where CUDA was used, of the device, in GiB."""
    peak = {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}  # Linux counts in KiB
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["cuda"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return peak
