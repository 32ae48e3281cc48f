"""The log of runs: results/runs.jsonl, one record a line, predictions beside it. record_schema.py documents a record.

Tables and figures derive from the records alone.
"""

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import mmap
import os
import platform
import resource
import subprocess
import sys
import uuid
from collections.abc import Iterator
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
    folder = paths.results_dir()
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    record = {**record, "run_id": run_id, "time": now.isoformat(timespec="seconds")}
    table = ""
    if predictions:
        table = "".join(map(files.csv_line, [predictions, *zip(*predictions.values(), strict=True)]))
        record |= {"predictions": f"predictions/{run_id}.csv",
                   "predictions_sha256": hashlib.sha256(table.encode()).hexdigest()}
    line = json.dumps(paths.relative_to_home(record), allow_nan=False)
    paths.writable_directory(folder / "predictions" if table else folder)
    if table:
        files.write_atomically(folder / "predictions" / f"{run_id}.csv", table)
    try:
        _append_line(runs_file(), line.encode() + b"\n")
    except InputError:
        (folder / "predictions" / f"{run_id}.csv").unlink(missing_ok=True)
        raise
    return run_id


def check_appendable() -> None:
    """InputError where a record could not be appended: ask before hours of scoring."""
    files.check_file_locks(paths.writable_directory(paths.results_dir()))
    if runs_file().exists():
        open(runs_file(), "ab").close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the log. InputError where its file system has no locks."""
    lock = FileLock(f"{path}.lock", poll_interval=0.005, fallback_to_soft=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise files.no_file_locks(path.parent, error) from None
    try:
        yield
    finally:
        lock.release()


def _append_line(path: Path, line: bytes) -> None:
    """Append all of a line or nothing; InputError where the disk does not take it."""
    with _locked(path), open(path, "a+b", buffering=0) as file:
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
    size = os.fstat(file.fileno()).st_size
    if not size:
        return 0
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
        end = content.rfind(b"\n") + 1
        tail = content[end:]
    if parse_record(tail) is not None:  # an editor left out the last newline
        return size + file.write(b"\n")
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


def parse_record(line: bytes) -> dict | None:
    """The record in a line; None where there is none."""
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number in JSON")


def read_records(path: Path | None = None) -> list[dict]:
    """All records in order, unchecked; none where there is no file yet. InputError names a broken line."""
    path = path or runs_file()
    records = {number: parse_record(line) for number, line in read_lines(path)}
    for number, record in records.items():
        if record is None:
            raise InputError(f"{path}: line {number} is not a record in JSON; remove that line")
    return [record for record in records.values() if record is not None]


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1 on, line) of every line that is not blank; none where there is no file yet."""
    if not path.exists():
        return
    with open(path, "rb") as file:  # without the lock: a line that is being written counts from its newline on
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and parse_record(line) is None:
                print(f"notice: {path} ends in an incomplete line (torn by a crash, or being written); left out",
                      file=sys.stderr)
            elif line.strip():
                yield number, line


def find_record(request: dict) -> dict | None:
    """The latest record of exactly this request (what determines a result) with its predictions as they were written.

    Only lines that hold every entry of the request, as append_record() writes it, are parsed.
    """
    entries = sorted((json.dumps({name: value})[1:-1].encode() for name, value in request.items()), key=len)[::-1]
    lines = [line for _, line in read_lines(runs_file()) if all(entry in line for entry in entries)]
    records = (record for record in map(parse_record, reversed(lines)) if record and record.get("request") == request)
    return next(filter(predictions_are_intact, records), None)


def predictions_are_intact(record: dict) -> bool:
    """Whether the record's predictions lie beside the log as they were written; so it is where there are none."""
    name = record.get("predictions")
    path = paths.results_dir() / str(name)
    return not name or path.is_file() and files.sha256(path) == record.get("predictions_sha256")


def environment() -> dict:
    """Versions, commit and machine, for a record."""
    return {"commit": git_commit(), "python": platform.python_version(), "versions": versions(*PACKAGES),
            "cores": os.cpu_count()}


def versions(*packages: str) -> dict[str, str | None]:
    """The version of each package; None where it is not installed."""
    installed: dict[str, str | None] = dict.fromkeys(packages)
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed


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
