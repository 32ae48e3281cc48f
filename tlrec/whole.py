"""Folders that several processes may want to make: by one at a time, whole or not at all, nothing left of a crash."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlrec import paths


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process makes or downloads anything in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: waiting for another process that makes something there", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def making(folder: Path) -> Iterator[Path | None]:
    """A folder beside `folder` to fill, renamed to it at the end; None where another process has made it meanwhile.

    What a killed process left of the same folder is removed. An empty `folder` gives way. InputError where its parent
    cannot be written to.
    """
    with alone_in(paths.writable_directory(folder.parent)):
        beginning = f".making-{folder.name}-"
        for left in folder.parent.glob(f"{beginning}*"):
            shutil.rmtree(left, ignore_errors=True)
        if folder.exists() and any(folder.iterdir()):
            yield None
            return
        place = folder.with_name(f"{beginning}{os.getpid()}")
        place.mkdir()
        try:
            yield place
            place.replace(folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)
