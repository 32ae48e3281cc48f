"""Raw data as its publishers hand it out: a folder of files, or the zip archive that holds them."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from tlrec.errors import InputError
from tlrec.files import sha256

# What pandas, which the published files were made with, takes for a missing value.
MISSING_VALUES = [
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
]
MISSING_VALUES += ["NA", "NULL", "NaN", "None", "n/a", "nan", "null"]

def parse_ratings(column: pd.Series, highest: int, name: str) -> np.ndarray:
    """A text column as numbers from 0 to `highest`, shape (n,). InputError names the file and the first other value."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= highest)))
    if len(wrong):
        raise InputError(f"{name}: rating {column.iloc[wrong[0]]!r} of row {column.index[wrong[0]]} is not a number "
                         f"from 0 to {highest}; download it again")
    return numbers


class RawFiles:
    """Opens raw files by name and remembers which were read.

    place: a folder, or a .zip in which the files may lie at any depth. Raises InputError where it does not exist.
    """

    def __init__(self, place: str | Path):
        self.place = Path(place)
        if not self.place.exists():
            raise InputError(f"{place}: no such folder or archive; --raw_dir takes the folder or .zip of the raw files")
        self._hashes: dict[Path, Future] = {}
        self._pool = ThreadPoolExecutor(1)  # hashing runs beside the reading

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The bytes of one file. InputError where it is missing or empty, or the archive turns out to be damaged."""
        if self.place.is_dir():
            path = self.place / name
            if not path.is_file():
                there = ", ".join(sorted(os.listdir(self.place))[:8]) or "nothing"
                raise InputError(f"{path}: no such file; the folder holds {there}")
            if not path.stat().st_size:
                raise InputError(f"{path}: empty; download it again")
            self._hash(path)
            with open(path, "rb") as file:
                yield file
            return
        with self._opening(name):
            archive = zipfile.ZipFile(self.place)
        with archive:
            member = self._member(archive, name)
            with self._opening(name):
                file = archive.open(member)
            try:
                with file:
                    yield file
            except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:  # damage seen while reading
                raise self._damaged(error) from None
            except OSError as error:  # bzip2's word for it has no number
                if error.errno is not None:
                    raise
                raise self._damaged(error) from None

    @contextmanager
    def _opening(self, name: str) -> Iterator[None]:
        """What opening an archive or a member raises where it is damaged: its names and offsets may be any bytes."""
        try:
            yield
        except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError) as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.filename is not None:  # the disk's fault
                raise
            raise self._damaged(error) from None
        except RuntimeError as error:  # zipfile's word for a password
            if "encrypted" not in str(error):
                raise
            raise InputError(f"{self.place}: {name} is encrypted; unpack it, and name the folder") from None

    def _member(self, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
        _check_members(self.place, archive.namelist())
        members = [member for member in archive.infolist() if member.filename.rsplit("/", 1)[-1] == name]
        if not members:
            raise InputError(f"{self.place}: no {name} in the archive, it holds {', '.join(archive.namelist()[:8])}")
        if not members[0].file_size:
            raise InputError(f"{self.place}: {name} is empty; download the archive again")
        self._hash(self.place)
        return members[0]

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self.place}: not a whole zip archive ({error}); download it again")

    def _hash(self, path: Path) -> None:
        if path not in self._hashes:
            self._hashes[path] = self._pool.submit(sha256, path)

    def sources(self) -> dict[str, dict]:
        """{file name: {"sha256", "bytes"}} of what was opened."""
        hashed = self._hashes.items()
        return {path.name: {"sha256": found.result(), "bytes": path.stat().st_size} for path, found in hashed}


def _check_members(place: Path, names: list[str]) -> None:
    """InputError for an archive made to be unpacked outside its folder; nothing is unpacked here, but others would."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise InputError(f"{place}: its member {name!r} points outside the archive; not used: download it again "
                             "from its publisher")
