"""Columns of a file of ratings or items as text, and the numbers, answers and times in them.

An error names the file, the row and the column.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tlrec.data.id_view import MISSING
from tlrec.errors import InputError

CATEGORY = pa.dictionary(pa.int32(), pa.string())


class Table(NamedTuple):
    """Columns by role, all text (dictionary-encoded except timestamps), and how the file names and counts them."""

    path: Path
    names: dict[str, str]  # column name by role
    columns: dict[str, pa.ChunkedArray]
    first_row: int  # number of the first row: 2 where a header is row 1

    def where(self, role: str, row: int) -> str:
        return f"{self.path}: row {row + self.first_row}, column {self.names[role]}"

    def codes(self, role: str) -> tuple[np.ndarray, list[str]]:
        """(codes of shape (rows,), the text of each code). InputError names the first row without a value."""
        array = self.columns[role].combine_chunks()
        self._check_complete(role)
        codes, texts = array.indices.to_numpy(zero_copy_only=False), array.dictionary.to_pylist()
        missing = [code for code, text in enumerate(texts) if role == "user" and text.strip().casefold() in MISSING]
        if missing:
            row = int(np.flatnonzero(codes == missing[0])[0])
            raise InputError(f"{self.where(role, row)}: {texts[missing[0]]!r} names no user; every row needs one")
        return codes, texts

    def texts(self, role: str) -> list[str]:
        """One stripped text a row, empty where there is none."""
        return [str(text or "").strip() for text in self.columns[role].cast(pa.string()).to_pylist()]

    def numbers(self, role: str, parse: Callable[[str], float], expected: str) -> np.ndarray:
        """A column of few distinct values, parsed; shape (rows,). InputError names the first row that does not parse.
        """
        codes, texts = self.codes(role)
        values = np.array([_parsed(parse, text) for text in texts])
        wrong = np.flatnonzero(np.isnan(values)[codes])
        if len(wrong):
            raise InputError(f"{self.where(role, wrong[0])}: {texts[codes[wrong[0]]][:40]!r} is not {expected}")
        return values[codes]

    def times(self) -> np.ndarray:
        """The timestamps as numbers that sort by time, shape (rows,): as they are, or seconds of ISO dates."""
        self._check_complete("timestamp")
        column = pc.utf8_trim_whitespace(self.columns["timestamp"])
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64()).to_numpy()
        encoded = column.combine_chunks().dictionary_encode()
        codes, texts = encoded.indices.to_numpy(), encoded.dictionary.to_pandas()
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(float)
        if np.isfinite(numbers[codes[0]]):
            values, expected = numbers, "a number"
        else:
            dates = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
            values, expected = dates.to_numpy("datetime64[us]").astype(float), "an ISO date, as 2014-04-03 12:30"
            values[dates.isna()] = np.nan
        wrong = np.flatnonzero(~np.isfinite(values)[codes])
        if len(wrong):
            raise InputError(f"{self.where('timestamp', wrong[0])}: {texts[codes[wrong[0]]][:40]!r} is not {expected}")
        return values[codes]

    def _check_complete(self, role: str) -> None:
        column = self.columns[role]
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise InputError(f"{self.where(role, row)}: no value; every row needs one")


def _parsed(parse: Callable[[str], float], text: str) -> float:
    try:
        value = parse(text.strip())
    except (ValueError, KeyError):
        return np.nan
    return value if np.isfinite(value) else np.nan


def answer(text: str) -> float:
    """A label: 1 liked, 0 disliked. KeyError for another text."""
    return {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0, "yes": 1, "no": 0}[text.lower()]
