"""Training checkpoints that can be trusted: sealed when whole, bound to one request, looked at before they are loaded.

A checkpoint without its seal was never finished; one with another request belongs to another run, whose checkpoints
wait in EARLIER/ until its command is given again. Only folders named checkpoint-NUMBER are looked at.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tlrec import distributed, paths
from tlrec.errors import InputError
from tlrec.files import sha256, write_atomically

COMPLETE_FILE = "complete.json"  # written last: the run's identity, its seconds so far, and the hash of every file
TRAINER_STATE_FILE = "trainer_state.json"
LOCK_FILE = ".lock"
SET_ASIDE_DIR = "earlier"  # in the output folder: EARLIER/START_OF_THE_IDENTITY/checkpoint-NUMBER


@contextlib.contextmanager
def lock_output_dir(output: Path) -> Iterator[None]:
    """Holds the output folder for this run, of whose processes the first one has the lock; InputError in all of them
    where another run has it. The kernel frees the lock when the process ends, however it ends.

    The folder is made where it is missing, and goes with the lock's file where nothing was written into it.
    """
    made, file, refused = not output.exists(), None, None
    if distributed.is_main_process():
        try:
            file = _locked(paths.writable_directory(output) / LOCK_FILE)
        except InputError as error:
            refused = str(error)
    refused = distributed.gather([refused])[0]
    if refused:
        raise InputError(refused)
    try:
        yield
    finally:
        if file is not None:
            (output / LOCK_FILE).unlink(missing_ok=True)
            os.close(file)
            with contextlib.suppress(OSError):  # something was written
                made and output.rmdir()


def _locked(path: Path) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise InputError(f"{path.parent}: another run is tuning into this folder; wait for it or stop it") from None
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # its holder has ended and removed it in between


def mark_complete(folder: Path, identity: str, seconds: float) -> None:
    """Declare a checkpoint whole, after its files have reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE_FILE)
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    write_atomically(
        folder / COMPLETE_FILE, json.dumps({"identity": identity, "seconds": round(seconds, 1), "files": hashes})
    )


def latest_checkpoint(output: Path, identity: str) -> tuple[Path | None, float]:
    """The last whole checkpoint of this very run with the seconds that it took to get there, or (None, 0).

    Another run's whole checkpoints are set aside, since their numbers would mix with this run's; this run's are taken
    back from there. Half-written ones are removed.
    """
    whole, moved = {}, {}
    for folder in list_checkpoints(output):
        owner, seconds = _owner(folder)
        if owner is None:
            print(f"{folder}: half-written; removed")
            shutil.rmtree(folder)
        elif owner != identity:
            place = output / SET_ASIDE_DIR / owner[:16]
            _move(folder, place)
            moved.setdefault(place, []).append(folder.name)
        else:
            whole[step_of(folder)] = folder, seconds
    for place, names in moved.items():
        print(f"{output}: {', '.join(names)} of a run with other settings or data: set aside in {place}; the command "
              "that made them goes on from there, or remove them")
    for folder in list_checkpoints(output / SET_ASIDE_DIR / identity[:16]):
        owner, seconds = _owner(folder)
        if owner == identity and step_of(folder) not in whole:
            _move(folder, output)
            whole[step_of(folder)] = output / folder.name, seconds
    return whole[max(whole)] if whole else (None, 0.0)


def remove_old_checkpoints(output: Path, keep: int, best: int | None) -> None:
    """Remove the oldest checkpoints, until `keep` are left; the last one and that of the best step stay in any case."""
    found = list_checkpoints(output)
    spare = [folder for folder in found[:-1] if step_of(folder) != best]
    for folder in spare[: max(len(found) - max(keep, 1), 0)]:
        shutil.rmtree(folder)


def list_checkpoints(output: Path) -> list[Path]:
    """The folders checkpoint-NUMBER, lowest first."""
    found = [path for path in output.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), key=step_of)


def _move(folder: Path, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / folder.name, ignore_errors=True)  # of the same run and the same step
    folder.replace(place / folder.name)


def step_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def read_trainer_state(folder: Path) -> dict:
    return json.loads((folder / TRAINER_STATE_FILE).read_text())


def _owner(folder: Path) -> tuple[str | None, float]:
    """Identity of the run whose whole checkpoint this is, and its seconds; (None, 0) where it is not whole."""
    try:
        said = json.loads((folder / COMPLETE_FILE).read_text())
        named = re.fullmatch(r"\w+", said["identity"]) and folder.name == f"checkpoint-{step_of(folder)}"
        if named and TRAINER_STATE_FILE in said["files"]:
            if all(sha256(folder / name) == digest for name, digest in said["files"].items()):
                seconds = float(said["seconds"])
                return (said["identity"], seconds) if 0 <= seconds < 1e9 else (None, 0.0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        pass
    return None, 0.0
