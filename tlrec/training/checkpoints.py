"""Training checkpoints: marked complete, bound to one run by its fingerprint, validated before they are loaded.

A checkpoint without complete.json was never finished; one with another fingerprint belongs to another run, whose
checkpoints wait in earlier/ until its command is given again. Only folders named checkpoint-NUMBER are looked at.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlrec import distributed, paths
from tlrec.errors import InputError
from tlrec.files import sha256, write_atomically

COMPLETE_FILE = "complete.json"  # written last
TRAINER_STATE_FILE = "trainer_state.json"
LOCK_FILE = ".lock"
SET_ASIDE_DIR = "earlier"  # in the output folder: earlier/START_OF_THE_FINGERPRINT/checkpoint-NUMBER
LOCK_SECONDS = 0.2  # a lock file that its holder has just removed is opened anew in this time


class CompleteMark(BaseModel):
    """complete.json in a checkpoint."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    fingerprint: Annotated[str, Field(pattern=r"^\w+$", description="of the run's request")]
    seconds: Annotated[float, Field(ge=0, lt=1e9, description="wall time of the run up to here")]
    files: dict[str, str] = Field(description="sha256 of every file, by its path in the checkpoint")


@contextlib.contextmanager
def lock_output_dir(output: Path) -> Iterator[None]:
    """Hold the output folder for this run; the main process has the lock for all of its processes.

    InputError in all of them where another run has it. The kernel frees the lock when the process ends, however it
    ends. A folder that was created here is removed again where nothing was written into it.
    """
    created, error_text = not output.exists(), None
    lock = FileLock(output / LOCK_FILE, timeout=LOCK_SECONDS)
    if distributed.is_main_process():
        try:
            paths.writable_directory(output)
            lock.acquire()
        except Timeout:
            error_text = f"{output}: another run is tuning into this folder; wait for it or stop it"
        except InputError as error:
            error_text = str(error)
    error_text = distributed.gather([error_text])[0]
    if error_text:
        raise InputError(error_text)
    try:
        yield
    finally:
        if lock.is_locked:
            (output / LOCK_FILE).unlink(missing_ok=True)
            lock.release()
            if created:
                with contextlib.suppress(OSError):  # something was written
                    output.rmdir()


def mark_complete(folder: Path, fingerprint: str, seconds: float) -> None:
    """Declare a checkpoint complete, after its files have reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != COMPLETE_FILE)
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    mark = CompleteMark(fingerprint=fingerprint, seconds=round(seconds, 1), files=hashes)
    write_atomically(folder / COMPLETE_FILE, mark.model_dump_json())


def latest_checkpoint(output: Path, fingerprint: str) -> tuple[Path | None, float]:
    """The last complete checkpoint of this very run with the seconds that it took to get there, or (None, 0).

    Another run's complete checkpoints are set aside, since their numbers would mix with this run's; this run's are
    taken back from there. Incomplete ones are removed.
    """
    own: dict[int, tuple[Path, float]] = {}
    for folder in list_checkpoints(output):
        mark = _read_mark(folder)
        if mark is None:
            print(f"{folder}: half-written checkpoint; removed")
            shutil.rmtree(folder)
        elif mark.fingerprint != fingerprint:
            target = output / SET_ASIDE_DIR / mark.fingerprint[:16]
            _move(folder, target)
            print(f"{folder}: of a run with other settings or data; set aside in {target}, from where the command that "
                  "wrote it resumes")
        else:
            own[step_of(folder)] = folder, mark.seconds
    for folder in list_checkpoints(output / SET_ASIDE_DIR / fingerprint[:16]):
        mark = _read_mark(folder)
        if mark and mark.fingerprint == fingerprint and step_of(folder) not in own:
            _move(folder, output)
            own[step_of(folder)] = output / folder.name, mark.seconds
    return own[max(own)] if own else (None, 0.0)


def remove_old_checkpoints(output: Path, keep: int, best: int | None) -> None:
    """Remove the oldest checkpoints, until `keep` are left; the last one and that of the best step stay in any case."""
    folders = list_checkpoints(output)
    removable = [folder for folder in folders[:-1] if step_of(folder) != best]
    for folder in removable[: max(len(folders) - max(keep, 1), 0)]:
        shutil.rmtree(folder)


def list_checkpoints(output: Path) -> list[Path]:
    """The folders checkpoint-NUMBER, lowest first."""
    folders = [path for path in output.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted((path for path in folders if path.is_dir() and not path.is_symlink()), key=step_of)


def _move(folder: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target / folder.name, ignore_errors=True)  # of the same run and the same step
    folder.replace(target / folder.name)


def step_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _read_mark(folder: Path) -> CompleteMark | None:
    """A checkpoint's complete.json; None unless the checkpoint is complete and its files are those that were written.
    """
    try:
        mark = CompleteMark.model_validate_json((folder / COMPLETE_FILE).read_bytes())
        complete = folder.name == f"checkpoint-{step_of(folder)}" and TRAINER_STATE_FILE in mark.files and all(
            sha256(folder / name) == digest for name, digest in mark.files.items())
    except (OSError, ValueError, ValidationError):
        return None
    return mark if complete else None
