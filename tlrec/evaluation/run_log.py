"""The record: one line of JSON per run in results/runs.jsonl, predictions beside it.

Tables and figures derive from the record alone.
"""

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
from typing import BinaryIO

import numpy as np

from tlrec import files, paths
from tlrec.errors import InputError

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "numpy", "scikit-learn")
_BLOCK = 1 << 16  # bytes


def runs_file() -> Path:
    return paths.results_dir() / "runs.jsonl"


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
    return append_record({**common, **record}, {name: np.asarray(values).tolist() for name, values in columns.items()})


def append_record(record: dict, predictions: dict[str, list] | None = None) -> str:
    """Append one record (and write its predictions, a dict of columns); returns the run's id.

    A record is one line under a lock, flushed to the disk, so that processes do not tear each other's lines. InputError
    where there is no room for it.
    """
    folder = paths.writable_directory(paths.results_dir())
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    if predictions:
        record = {**record, "predictions": f"predictions/{run_id}.csv"}
    said = {**paths.relative_to_home(record), "run_id": run_id, "time": now.isoformat(timespec="seconds")}
    line = json.dumps(said, allow_nan=False)
    if predictions:
        table = zip(*predictions.values(), strict=True)
        files.write_csv(paths.writable_directory(folder / "predictions") / f"{run_id}.csv", [predictions, *table])
    try:
        _append_line(runs_file(), line.encode() + b"\n")
    except InputError:
        (folder / "predictions" / f"{run_id}.csv").unlink(missing_ok=True)
        raise
    return run_id


def _append_line(path: Path, line: bytes) -> None:
    """Add a line whole or not at all; InputError where the disk does not take it."""
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = _whole_end(path, file)
        try:
            written = line
            while written:
                written = written[file.write(written) :]
            os.fsync(file.fileno())
        except BaseException as error:
            os.ftruncate(file.fileno(), end)
            if isinstance(error, OSError):
                raise InputError(f"{path}: the record cannot be saved ({error.strerror}); earlier ones are intact: "
                                 "make room, then give the same command again") from None
            raise


def _whole_end(path: Path, file: BinaryIO) -> int:
    """Where the last whole line ends, in bytes. What a killed process left behind it is moved to NAME.torn."""
    size = file.seek(0, os.SEEK_END)
    end = size
    tail = b""
    while end and not tail.startswith(b"\n"):  # back to the last newline, block by block
        start = max(end - _BLOCK, 0)
        file.seek(start)
        block = file.read(end - start)
        cut = block.rfind(b"\n")
        tail = block[max(cut, 0) :] + tail
        end = start
    tail = tail.removeprefix(b"\n")
    if not tail:
        return size
    if _is_record(tail):  # an editor left out the last newline
        return size + file.write(b"\n")
    torn = path.with_name(f"{path.name}.torn")
    with open(torn, "ab") as aside:
        aside.write(tail + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    os.ftruncate(file.fileno(), size - len(tail))
    print(f"notice: {path} ended in a line that a crash had torn; {len(tail):,} bytes set aside in {torn}",
          file=sys.stderr)
    return size - len(tail)


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line, parse_constant=_no_number), dict)
    except (ValueError, RecursionError):
        return False


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def read_records(path: Path | None = None) -> list[dict]:
    """All records in order; none where there is no file yet. InputError names a broken line."""
    path = path or runs_file()
    if not path.exists():
        return []
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # nobody is in the middle of a line
        lines = file.read().split(b"\n")
    last = lines.pop()
    if _is_record(last):
        lines.append(last)
    elif last:
        print(f"notice: {path} ends in a line that a crash has torn; it is left out", file=sys.stderr)
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not _is_record(line):
            raise InputError(f"{path}: line {number} is not a record in JSON; remove that line")
        records.append(json.loads(line))
    return records


def find_record(request: dict) -> dict | None:
    """The latest record of exactly this request (what determines a result) whose predictions are there, if any is."""
    return next((record for record in reversed(read_records()) if record.get("request") == request and
                 (not record.get("predictions") or (paths.results_dir() / record["predictions"]).is_file())), None)


def environment() -> dict:
    """Versions, commit and machine, for a record."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": git_commit(),
        "python": platform.python_version(),
        "versions": versions,
        "cores": os.cpu_count(),
    }


def git_commit() -> str | None:
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
