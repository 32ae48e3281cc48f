"""Training checkpoints: owned by one run, marked complete, validated before they are loaded.

Only folders named checkpoint-NUMBER are looked at. Each of ours names its run's fingerprint from its first moment on,
and is complete with complete.json. Nothing of another run, or of unknown origin, is removed: it is set aside in
earlier/, from where the command of that run takes it back.
"""

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field, ValidationError

from tlrec import distributed, paths
from tlrec.errors import InputError
from tlrec.files import check_file_locks, sha256, write_atomically
from tlrec.model.adapter_manifest import MachineChoice

FINGERPRINT_FILE = "fingerprint.txt"  # of the run's request; written first
COMPLETE_FILE = "complete.json"  # written last
TRAINER_STATE_FILE = "trainer_state.json"
LOCK_FILE = ".lock"
SET_ASIDE_DIR = "earlier"  # in the output folder: earlier/START_OF_THE_FINGERPRINT/checkpoint-NUMBER
UNKNOWN_RUN = "unknown"  # in earlier/: what carries no fingerprint
LOCK_SECONDS = 0.2  # a lock file that its holder has just removed is opened anew in this time


class CompleteMark(BaseModel, strict=True, frozen=True, allow_inf_nan=False):
    """complete.json in a checkpoint."""

    seconds: Annotated[float, Field(ge=0, lt=1e9, description="wall time of the run up to here")]
    files: dict[str, str] = Field(description="sha256 of every file, by its path in the checkpoint")
    machine: MachineChoice = Field(description="of the run; a resumed one takes it")


@contextlib.contextmanager
def lock_output_dir(output: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the output folder for this run; the main process has the lock for all of its processes.

    InputError in all of them where another run has it, or `check` raises it under the lock. The kernel frees the lock
    when the process ends, however it ends. A folder that was created here is removed again where nothing was written
    into it.
    """
    created, error_text = not output.exists(), None
    lock = FileLock(output / LOCK_FILE, timeout=LOCK_SECONDS)
    try:
        if distributed.is_main_process():
            try:
                check_file_locks(paths.writable_directory(output))
                lock.acquire()
                check()
            except Timeout:
                error_text = f"{output}: another run is tuning into this folder; wait for it or stop it"
            except InputError as error:
                error_text = str(error)
        error_text = distributed.gather([error_text])[0]
        if error_text:
            raise InputError(error_text)
        yield
    finally:
        if lock.is_locked:
            if (output / LOCK_FILE).is_file() and not (output / LOCK_FILE).stat().st_size:  # else a user's file
                (output / LOCK_FILE).unlink()
            lock.release()
        if created:
            with contextlib.suppress(OSError):  # something was written
                output.rmdir()


def begin_checkpoint(folder: Path, fingerprint: str) -> None:
    """Create the folder of a checkpoint as this run's own."""
    folder.mkdir(exist_ok=True)
    write_atomically(folder / FINGERPRINT_FILE, fingerprint)


def mark_complete(folder: Path, seconds: float, machine: MachineChoice) -> None:
    """Declare a checkpoint complete, after its files have reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE_FILE)
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    mark = CompleteMark(seconds=round(seconds, 1), files=hashes, machine=machine)
    write_atomically(folder / COMPLETE_FILE, mark.model_dump_json())


def latest_checkpoint(output: Path, fingerprint: str) -> tuple[Path | None, float]:
    """The last complete checkpoint of this very run with the seconds that it took to get there, or (None, 0).

    All others are set aside, since their numbers would mix with this run's; this run's are taken back from there.
    Incomplete ones of this run are removed.
    """
    own: dict[int, tuple[Path, float]] = {}
    for folder in _numbered(output):
        owner = read_fingerprint(folder)
        if owner != fingerprint:
            target = _move(folder, output / SET_ASIDE_DIR / (owner or UNKNOWN_RUN)[:16])
            origin = "of a run with other settings or data, whose command resumes there" if owner else (
                "not a checkpoint of these scripts")
            print(f"{folder}: {origin}; set aside as {target}")
        elif mark := _read_mark(folder):
            own[step_of(folder)] = folder, mark.seconds
        else:
            print(f"{folder}: half-written checkpoint of this run; removed")
            shutil.rmtree(folder)
    for earlier in sorted(output.glob(f"{SET_ASIDE_DIR}/{fingerprint[:16]}*")):
        for folder in list_checkpoints(earlier):
            mark = _read_mark(folder)
            if mark and read_fingerprint(folder) == fingerprint and step_of(folder) not in own:
                own[step_of(folder)] = _move(folder, output), mark.seconds
    return own[max(own)] if own else (None, 0.0)


def recorded_choice(output: Path, fingerprint: str) -> MachineChoice | None:
    """What the machine chose for this run, from its last complete checkpoint, which may be set aside."""
    folders = [folder for parent in (output, *sorted(output.glob(f"{SET_ASIDE_DIR}/{fingerprint[:16]}*")))
               for folder in list_checkpoints(parent) if read_fingerprint(folder) == fingerprint]
    marks = (_read_mark(folder) for folder in sorted(folders, key=step_of, reverse=True))
    return next((mark.machine for mark in marks if mark), None)


def remove_old_checkpoints(output: Path, fingerprint: str, keep: int, best: int | None) -> None:
    """Remove a run's oldest checkpoints, until `keep` are left; the last one and that of the best step always stay."""
    folders = [folder for folder in list_checkpoints(output) if read_fingerprint(folder) == fingerprint]
    removable = [folder for folder in folders[:-1] if step_of(folder) != best]
    for folder in removable[: max(len(folders) - max(keep, 1), 0)]:
        shutil.rmtree(folder)


def list_checkpoints(output: Path) -> list[Path]:
    """The folders checkpoint-NUMBER, lowest first."""
    return [path for path in _numbered(output) if path.is_dir() and not path.is_symlink()]


def _numbered(output: Path) -> list[Path]:
    """Whatever is named checkpoint-NUMBER, lowest first."""
    named = [path for path in output.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(named, key=step_of)


def _move(folder: Path, parent: Path) -> Path:
    """Move a folder into `parent`, or where that holds one of its name into `parent`-2, -3 ...; its new path."""
    numbers = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    targets = (parent.with_name(f"{parent.name}{number}") / folder.name for number in numbers)
    target = next(path for path in targets if not os.path.lexists(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(target)


def step_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def read_fingerprint(folder: Path) -> str | None:
    """The fingerprint of the run that a checkpoint belongs to; None for what no run of ours has begun."""
    try:
        text = (folder / FINGERPRINT_FILE).read_text()
    except (OSError, ValueError):
        return None
    own = re.fullmatch(r"\w+", text) and folder.name == f"checkpoint-{step_of(folder)}" and not folder.is_symlink()
    return text if own else None


def _read_mark(folder: Path) -> CompleteMark | None:
    """A checkpoint's complete.json; None unless the checkpoint is complete and its files are those that were written.
    """
    try:
        mark = CompleteMark.model_validate_json((folder / COMPLETE_FILE).read_bytes())
        complete = {TRAINER_STATE_FILE, FINGERPRINT_FILE} <= mark.files.keys() and all(
            sha256(folder / name) == digest for name, digest in mark.files.items())
    except (OSError, ValueError, ValidationError):
        return None
    return mark if complete else None
