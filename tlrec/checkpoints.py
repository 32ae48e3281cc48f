"""Training checkpoints that can be trusted: sealed when whole, bound to one request, looked at before they are loaded.

A checkpoint without its seal was never finished; one with another request belongs to another run.
"""

import json
import os
import shutil
from pathlib import Path

from tlrec.histories import write_atomically
from tlrec.samples import sha256

SEAL = "complete.json"  # written last: the run's identity, its seconds so far, and the hash of every file
STATE = "trainer_state.json"


def seal(folder: Path, identity: str, seconds: float) -> None:
    """Declare a checkpoint whole, after its files have reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    write_atomically(folder / SEAL, json.dumps({"identity": identity, "seconds": round(seconds, 1), "files": hashes}))


def latest(output: Path, identity: str) -> tuple[Path | None, float]:
    """The last whole checkpoint of this very run with the seconds that it took to get there, or (None, 0).

    Removes every other run's checkpoints, and half-written ones: their numbers would mix with this run's.
    """
    whole = {}
    for folder in output.glob("checkpoint-*"):
        seconds = _seconds(folder, identity)
        if seconds is None:
            print(f"{folder}: half-written, or of another run; removed")
            shutil.rmtree(folder)
        else:
            whole[step(folder)] = folder, seconds
    return whole[max(whole)] if whole else (None, 0.0)


def step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def state(folder: Path) -> dict:
    return json.loads((folder / STATE).read_text())


def _seconds(folder: Path, identity: str) -> float | None:
    """Seconds of a whole checkpoint of this run; None for any other."""
    try:
        said = json.loads((folder / SEAL).read_text())
        whole = said["identity"] == identity and STATE in said["files"] and folder.name == f"checkpoint-{step(folder)}"
        if whole and all(sha256(folder / name) == digest for name, digest in said["files"].items()):
            return float(said["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None
