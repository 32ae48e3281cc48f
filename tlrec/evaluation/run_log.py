"""The log of runs: results/runs.jsonl, one record a line, predictions beside it. record.py documents a record.

Tables and figures derive from the records alone.
"""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import uuid
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from tlrec import files, paths
from tlrec.errors import InputError

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "numpy", "scikit-learn")


def runs_file() -> Path:
    return paths.results_dir() / "runs.jsonl"


def append_record(record: dict, predictions: dict[str, list] | None = None) -> str:
    """Append one record (and write its predictions, a dict of columns); returns the run's id.

    A record is one line, appended under a lock and flushed to the disk. InputError where there is no room for it.
    """
    folder = paths.writable_directory(paths.results_dir())
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    if predictions:
        record = {**record, "predictions": f"predictions/{run_id}.csv"}
    record = {**record, "run_id": run_id, "time": now.isoformat(timespec="seconds")}
    line = json.dumps(paths.relative_to_home(record), allow_nan=False)
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
    """Append all of a line or nothing; InputError where the disk does not take it."""
    with FileLock(f"{path}.lock", poll_interval=0.005), open(path, "a+b", buffering=0) as file:
        end = _end_of_last_line(path, file)
        try:
            rest = line
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException as error:
            os.ftruncate(file.fileno(), end)
            if isinstance(error, OSError):
                raise InputError(f"{path}: the record cannot be saved ({error.strerror}); earlier ones are intact: "
                                 "make room, then give the same command again") from None
            raise


def _end_of_last_line(path: Path, file: BinaryIO) -> int:
    """Size in bytes of the complete lines. A tail that a killed process left unfinished is moved to NAME.torn."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    if _parse(tail) is not None:  # an editor left out the last newline
        return len(content) + file.write(b"\n")
    if tail:
        torn_path = path.with_name(f"{path.name}.torn")
        with open(torn_path, "ab") as torn:
            torn.write(tail + b"\n")
            torn.flush()
            os.fsync(torn.fileno())
        os.ftruncate(file.fileno(), end)
        print(f"notice: {path} ended in a line that a crash had torn; {len(tail):,} bytes set aside in {torn_path}",
              file=sys.stderr)
    return end


def _parse(line: bytes) -> dict | None:
    """The record in a line; None where there is none."""
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number in JSON")


def read_records(path: Path | None = None) -> list[dict]:
    """All records in order; none where there is no file yet. InputError names a broken line."""
    path = path or runs_file()
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")  # without the lock: a line that is being written counts from its newline on
    last = lines.pop()
    if _parse(last) is not None:
        lines.append(last)
    elif last:
        print(f"notice: {path} ends in an incomplete line (torn by a crash, or being written); left out",
              file=sys.stderr)
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parse(line)
        if record is None:
            raise InputError(f"{path}: line {number} is not a record in JSON; remove that line")
        records.append(record)
    return records


def find_record(request: dict) -> dict | None:
    """The latest record of exactly this request (what determines a result) whose predictions are there, if any is."""
    return next((record for record in reversed(read_records()) if record.get("request") == request and
                 (not record.get("predictions") or (paths.results_dir() / record["predictions"]).is_file())), None)


def environment() -> dict:
    """Versions, commit and machine, for a record."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"commit": git_commit(), "python": platform.python_version(), "versions": versions, "cores": os.cpu_count()}


def git_commit() -> str | None:
    """The checkout's commit, with `+changes` where tracked files differ from it; None outside a checkout."""
    git = ["git", "-C", str(paths.ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def peak_memory_gib() -> dict:
    """Peak resident memory of this process and, where CUDA was used, of the device, in GiB."""
    peak = {"host": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}  # Linux counts in KiB
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["cuda"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return peak
