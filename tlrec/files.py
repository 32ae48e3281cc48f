"""Files on disk: hashes, JSON, CSV, atomic writes, and directories created atomically under a lock."""

import contextlib
import fcntl
import functools
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from tlrec import paths
from tlrec.errors import InputError, first_line

Model = TypeVar("Model")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def joint_sha256(digests: list[str]) -> str:
    """The hash of one file as it is; of several, the hash of their hashes, one after another."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def git_blob_id(path: str | Path) -> str:
    """Git's blob id of a file: sha1 of 'blob <size>\\0' and the content."""
    with open(path, "rb") as file:
        head = hashlib.sha1(f"blob {os.path.getsize(path)}\0".encode())
        return hashlib.file_digest(file, lambda: head).hexdigest()


def content_id(path: str | Path, like: str) -> str:
    """The id of a file of the same kind as `like`: a sha256 (64 digits), as of Git LFS, or a git blob id (40)."""
    return sha256(path) if len(like) == 64 else git_blob_id(path)


def read_bytes(path: Path, need: str) -> bytes:
    """The content of a regular file. InputError where it is missing (ending in `need`) or cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe may never end
        raise InputError(f"{path}: not a regular file (a folder, a pipe or a device); name a file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {need}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    check_lfs_pointer(path, content)
    return content


def check_lfs_pointer(path: Path, content: bytes) -> None:
    """InputError where a file's first bytes are those of a Git LFS pointer, as in a clone made without git-lfs."""
    if content.startswith(LFS_POINTER):
        raise InputError(f"{path}: a Git LFS pointer instead of the file; run `git lfs pull` in the clone that it is "
                         "from, or download the file itself")


def parse_json(content: bytes, path: Path | str, cure: str = "make or download it again") -> Any:
    """JSON of a file whose bytes were read, unchecked. InputError, ending in `cure`, where it is not valid."""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); {cure}") from None


def read_json(path: Path, need: str, cure: str = "make or download it again") -> Any:
    """The content of a JSON file, unchecked. InputError where it is missing (ending in `need`) or broken (in `cure`).
    """
    return parse_json(read_bytes(path, need), path, cure)


def read_optional_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file, or another value in it. InputError where it is not
    valid JSON."""
    content = read_json(path, "") if path.is_file() else {}
    return content if isinstance(content, dict) else {}


@functools.cache
def _type_adapter(model: type[Model]) -> TypeAdapter[Model]:
    return TypeAdapter(model)


def validate(model: type[Model], payload: object, path: Path | str, cure: str) -> Model:
    """A payload, parsed or as the bytes of its JSON, as a pydantic model or dataclass; InputError names the first wrong
    field."""
    adapter = _type_adapter(model)  # type: ignore[arg-type]
    try:
        return adapter.validate_json(payload) if isinstance(payload, bytes) else adapter.validate_python(payload)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; {cure}") from None
    names = [str(part) for part in first["loc"]]  # with the branches of unions, such as `int` and `list[str]`
    field = ".".join(name for name in names if name.isidentifier() and name not in ("int", "float", "str"))
    value = str(first["input"])[:60]
    if first["type"] == "missing":
        raise InputError(f"{path}: {field} is missing; {cure}")
    wrong = re.sub(r" or (an )?instance of \w+$", "", first["msg"].removeprefix("Value error, "))
    raise InputError(f"{path}: {f'{field} is {value!r}: ' if field else ''}{wrong}; {cure}")


def safetensors_names(path: Path) -> list[str]:
    """Tensor names, read from the header alone. InputError where the header does not fit the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a valid safetensors file ({error}); tune or download it again") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a temporary file beside `path` and rename it, so that an interrupted run leaves no partial file."""
    with open_atomically(path) as file:
        file.write(text)


def write_csv(path: Path, rows: Iterable[Iterable]) -> None:
    with open_atomically(path) as file:
        file.writelines(map(csv_line, rows))


def csv_line(row: Iterable) -> str:
    """One line as csv.writer writes it, several times faster on long fields."""
    return ",".join([_csv_field(str(field)) for field in row]) + "\r\n"


def _csv_field(text: str) -> str:
    if '"' in text:
        text = text.replace('"', '""')
    elif "," not in text and "\n" not in text and "\r" not in text:
        return text
    return f'"{text}"'


@contextmanager
def open_atomically(path: Path) -> Iterator[TextIO]:
    with partial_file(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end. InputError where it cannot be written (disk full).

    Locked while it is written, so that what a killed process has left is known, and removed by the next one.
    """
    for leftover in _numbered(path.parent, f"{path.name}.", ".partial"):
        with contextlib.suppress(OSError), open(leftover, "r+b") as file:  # BlockingIOError: it is being written
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime > 1:  # a new one may not be locked yet
                leftover.unlink()
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two processes may prepare the same data
    try:
        with open(partial, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield partial
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise InputError(f"{path}: cannot be written ({error.strerror}); the old file is unchanged; free some "
                             "space, or choose another folder") from None
        raise


@contextmanager
def directory_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, waiting for any other process that has it; the kernel frees it when a process ends.

    The lock is flock on the folder itself: it leaves no lock file among the data.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not lock(handle, folder):
            print(f"{folder}: locked by another process that writes there; waiting", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_file_locks(folder: Path) -> None:
    """InputError where the file system of `folder` has no locks: ask before the work whose result needs one."""
    with tempfile.TemporaryFile(dir=folder) as file:
        lock(file.fileno(), folder)


def lock(handle: int, path: Path) -> bool:
    """Lock an open file; False where another process has it. InputError, which names `path`, where the file system has
    no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise no_file_locks(path, error) from None
    return True


def no_file_locks(path: Path, error: Exception) -> InputError:
    """The refusal of a file or folder whose file system raised this error for a lock."""
    reason = getattr(error, "strerror", None) or first_line(error)
    return InputError(f"{path}: this file system has no file locks (flock: {reason}); put TLREC_HOME and the output "
                      "folders on a local disk")


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """SIGTERM raises SystemExit inside, so that what was begun is removed, as after Ctrl-C; in the main thread only."""
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def build_directory(folder: Path) -> Iterator[Path | None]:
    """A temporary folder to fill, renamed to `folder` at the end; None where another process has created it meanwhile.

    Leftovers of a killed process are removed, and an empty `folder` is replaced; SIGTERM leaves none. InputError where
    its parent is not writable.
    """
    with exit_on_sigterm(), directory_lock(paths.writable_directory(folder.parent)):
        prefix = f".making-{folder.name}-"
        for leftover in _numbered(folder.parent, prefix):
            shutil.rmtree(leftover, ignore_errors=True)
        if folder.exists() and any(folder.iterdir()):
            yield None
            return
        temporary = folder.with_name(f"{prefix}{os.getpid()}")
        temporary.mkdir()
        try:
            yield temporary
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _numbered(folder: Path, prefix: str, suffix: str = "") -> list[Path]:
    """The paths in `folder` that are named prefix, a process id, suffix."""
    paths_there = folder.glob(f"{glob.escape(prefix)}*{suffix}")
    return [path for path in paths_there if path.name.removeprefix(prefix).removesuffix(suffix).isdecimal()]
