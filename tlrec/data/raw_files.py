"""Raw data as published: a folder of files, or the zip or tar archive that holds them."""

import errno
import fnmatch
import functools
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
import pandas as pd

from tlrec.errors import InputError
from tlrec.files import sha256

# The texts that pandas reads as a missing value: the published files were made with pandas.
MISSING_VALUES = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
                  "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]


def parse_ratings(column: pd.Series, highest: int, name: str) -> np.ndarray:
    """A text column as numbers, shape (n,). InputError names file `name` and the first value not in 0 to `highest`."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    invalid = np.flatnonzero(~((numbers >= 0) & (numbers <= highest)))
    if len(invalid):
        row = invalid[0]
        raise InputError(f"{name}: rating {column.iloc[row]!r} of row {column.index[row]} is not a number from 0 to "
                         f"{highest}; download it again")
    return numbers


def read_csv(file: IO[bytes], name: str, **options: Any) -> pd.DataFrame:
    """A raw file's columns as text, by pandas. InputError names the file where it is not of the expected format."""
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, **options)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{name}: not the published format ({' '.join(str(error).split())}); is it complete and the "
                         "right file?") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas used unnamed columns as the index
        raise InputError(f"{name}: lines have more than {len(table.columns)} fields; is it the right file?")
    if table.empty:
        raise InputError(f"{name}: holds no rows; download it again")
    return table


class RawFiles:
    """Opens raw files by name, and hashes those that were read.

    source: a folder, or a .zip, .tar or .tar.gz that holds the files at any depth; a tar is read as a stream. Raises
    InputError where it does not exist.
    """

    def __init__(self, source: str | Path):
        self.source = Path(source)
        if not self.source.is_dir() and not self.source.is_file():  # reading a pipe may never end
            problem = "neither a folder nor a regular file" if self.source.exists() else "no such folder or archive"
            raise InputError(f"{source}: {problem}; give --raw_dir a folder or archive of raw files")
        self._opened: dict[Path, tuple[int, ...]] = {}  # in their order

    @functools.cached_property
    def names(self) -> list[str]:
        """Names of the files, without folders."""
        if self.source.is_dir():
            return sorted(os.listdir(self.source))
        with self._archive() as archive:
            names = archive.namelist() if isinstance(archive, zipfile.ZipFile) else archive.getnames()
            _check_members(self.source, names)
        return [name.rsplit("/", 1)[-1] for name in names]

    def choose(self, *names: str) -> str:
        """The first of these files that is there; where none is, the first name, which open() then refuses."""
        return next((name for name in names if name in self.names), names[0])

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """One file, opened in binary mode. InputError where it is missing or empty, or the archive is damaged."""
        if self.source.is_dir():
            path = self.source / name
            if path.exists() and not path.is_file():
                raise InputError(f"{path}: not a regular file; download it again")
            if not path.is_file():
                raise InputError(f"{path}: no such file; the folder holds {', '.join(self.names[:8]) or 'nothing'}")
            if not path.stat().st_size:
                raise InputError(f"{path}: empty; download it again")
            self._opened[path] = _version(path)
            with open(path, "rb") as file:
                yield file
            return
        if name not in self.names:
            raise InputError(f"{self.source}: no {name} in the archive, it holds {', '.join(self.names[:8])}")
        try:
            with self._archive() as archive, _member(archive, name) as stream:
                if stream is None:
                    raise InputError(f"{self.source}: {name} is empty; download the archive again")
                self._opened[self.source] = _version(self.source)
                yield stream
        except RuntimeError as error:  # zipfile asks for a password
            if "encrypted" not in str(error):
                raise
            raise InputError(f"{self.source}: {name} is encrypted; unpack the archive, and give its folder") from None

    def open_each(self, folder: str, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
        """(name, opened file) of each file of a folder, or of the tar of that name, read as a stream in its order."""
        if (self.source / folder).is_dir():
            for path in sorted((self.source / folder).glob(pattern)):
                with RawFiles(path.parent).open(path.name) as file:
                    self._opened[path] = _version(path)
                    yield path.name, file
            return
        with self.open(f"{folder}.tar") as stream, _damage(self.source), tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                if member.isfile() and fnmatch.fnmatch(name, pattern):
                    yield name, cast(BinaryIO, tar.extractfile(member))

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
        with _damage(self.source):
            if self.source.name.endswith((".tar", ".tar.gz", ".tgz")):
                with tarfile.open(self.source) as tar:
                    yield tar
                return
            try:
                archive = zipfile.ZipFile(self.source)
            except UnicodeDecodeError as error:  # a member's name; from a reader this would be about the content
                raise zipfile.BadZipFile(error) from None
            with archive:
                yield archive

    def sources(self) -> dict[str, dict]:
        """{file name: {"sha256", "bytes"}} of what was opened; of a folder one entry, the hash of its files' hashes.

        InputError where a file was replaced or edited since.
        """
        by_name: dict[str, dict] = {}
        for path, version in self._opened.items():
            if _version(path) != version:
                raise InputError(f"{path}: changed while it was read; run the command again")
            entry = {"sha256": sha256(path), "bytes": path.stat().st_size}
            if path.parent in (self.source, self.source.parent):
                by_name[path.name] = entry
                continue
            total = by_name.setdefault(f"{path.parent.name}/*", {"sha256": "", "bytes": 0})
            total["sha256"] = hashlib.sha256((total["sha256"] + entry["sha256"]).encode()).hexdigest()
            total["bytes"] += entry["bytes"]
        return by_name


@contextmanager
def _member(archive: zipfile.ZipFile | tarfile.TarFile, name: str) -> Iterator[BinaryIO | None]:
    """The first file of that name, at any depth; None where it is empty."""
    if isinstance(archive, zipfile.ZipFile):
        info = next(info for info in archive.infolist() if info.filename.rsplit("/", 1)[-1] == name)
        with archive.open(info) as stream:
            yield cast(BinaryIO, stream) if info.file_size else None
        return
    member = next(member for member in archive if member.name.rsplit("/", 1)[-1] == name)
    yield cast(BinaryIO, archive.extractfile(member)) if member.isfile() and member.size else None


@contextmanager
def _damage(source: Path) -> Iterator[None]:
    """InputError for what a damaged archive raises."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
            OSError) as error:
        # bzip2 reports damage without an error number; a damaged directory makes zipfile seek to nowhere (EINVAL)
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise InputError(f"{source}: not a valid archive ({error}); download it again") from None


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _check_members(archive: Path, names: list[str]) -> None:
    """InputError for a member outside the archive's folder (zip slip); nothing is unpacked here, but users may."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise InputError(f"{archive}: its member {name!r} points outside the archive; not used: download it again "
                             "from its publisher")
