"""Columns of a file of ratings or items as text, and the numbers, likes, times and entries in them.

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

from tlrec.data import preference_text
from tlrec.data.id_csv import MISSING
from tlrec.errors import InputError

LIKE_FROM = 4  # of five
EPOCH = 3e8  # seconds since 1970, in 1979; ten times as many are in 2065
MAX_TITLE = 10_000  # characters: a history of ten such titles is still a sample
UNIX_DATE = "%a %b %d %H:%M:%S %z %Y"  # Goodreads': Tue Nov 17 11:37:35 -0800 2009
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

    def check_texts(self) -> None:
        """InputError names the first text with a NUL, which no reader of the data takes."""
        for role, column in self.columns.items():
            if column.type == CATEGORY and column.num_chunks:
                bad = pc.match_substring(column.chunk(0).dictionary, "\0")  # as of all chunks: they are unified
                if pc.any(bad).as_py():
                    rows = pc.is_in(column.cast(pa.string()), column.chunk(0).dictionary.filter(bad)).to_numpy()
                    raise InputError(f"{self.where(role, int(rows.argmax()))}: holds a NUL character; remove it")

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
        """The timestamps as numbers that sort by time, shape (rows,): as they are, or microseconds of ISO dates and of
        dates as Unix prints them."""
        self._check_complete("timestamp")
        column = pc.utf8_trim_whitespace(self.columns["timestamp"])
        with contextlib.suppress(pa.ArrowInvalid):
            whole_numbers = column.cast(pa.int64()).to_numpy()
            self._check_unit(whole_numbers)
            return whole_numbers
        encoded = column.combine_chunks().dictionary_encode()
        codes, texts = encoded.indices.to_numpy(), encoded.dictionary.to_pandas()
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(float)
        if np.isfinite(numbers[codes[0]]):
            values, expected = numbers, "a number"
            self._check_unit(numbers[codes])
        else:
            form = "ISO8601" if texts[codes[0]][:1].isdigit() else UNIX_DATE
            dates = pd.to_datetime(texts, format=form, errors="coerce", utc=True).dt.tz_localize(None)
            values, expected = dates.to_numpy("datetime64[us]").astype(float), "an ISO date, as 2014-04-03 12:30"
            values[dates.isna()] = np.nan
        wrong = np.flatnonzero(~np.isfinite(values)[codes])
        if len(wrong):
            raise InputError(f"{self.where('timestamp', wrong[0])}: {texts[codes[wrong[0]]][:40]!r} is not {expected}")
        return values[codes]

    def _check_unit(self, times: np.ndarray) -> None:
        """InputError names the first time in another unit than most: milliseconds among seconds since 1970."""
        largest = np.nanmax(times, initial=0)
        none = np.flatnonzero(times == 0)
        if len(none) and np.median(times) > EPOCH:
            print(f"{self.where('timestamp', none[0])}: 0 among times since 1970; {len(none):,} such rows count as the "
                  "earliest", flush=True)
        if largest < 1000 * EPOCH or np.nanmin(times) > largest / 100:
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.floor(np.log10(times / EPOCH))  # 0: seconds, 3: milliseconds, 6, 9
        power[~np.isin(power, (0, 3, 6, 9))] = np.nan  # no time between 1979 and 2065
        units, counts = np.unique(power[~np.isnan(power)], return_counts=True)
        if len(units) > 1:
            row = int(np.flatnonzero(power == units[np.argmin(counts)])[0])
            raise InputError(f"{self.where('timestamp', row)}: {times[row]:.0f} is in another unit than most times "
                             "(milliseconds among seconds?); write all in one")

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


def read_likes(table: Table, like_from: float | None, unrated: float | None) -> tuple[np.ndarray, str]:
    """(1 liked, 0 disliked, -1 `unrated` of each row, the rule). InputError where a scale other than of five needs
    --like_from, or all answers are the same.
    """
    if "rating" not in table.names:
        if "label" not in table.names:
            raise InputError(f"{table.path}: no column is known as rating or label; name it with --rating or --label")
        for flag, value in (("unrated", unrated), ("like_from", like_from)):
            if value is not None:
                raise InputError(f"{table.path}: --{flag} is a rating, but no column is one; name it with --rating")
        labels = table.numbers("label", answer, "1, 0, true, false, yes or no")
        if (labels == labels[0]).all():
            raise InputError(f"{table.path}: all labels in column {table.names['label']} are {labels[0]:g}; both "
                             "answers are needed")
        return labels.astype(np.int8), f"like = column {table.names['label']}"
    values = table.numbers("rating", float, "a number")
    highest = values[values != unrated].max(initial=0)
    if like_from is None and highest > 5:
        raise InputError(f"{table.path}: ratings in column {table.names['rating']} reach {highest:g}; say from "
                         "which one on an item is liked, as --like_from 7")
    like_from = LIKE_FROM if like_from is None else like_from
    none = "" if unrated is None else f"; {unrated:g} is no rating"
    likes = np.where(values == unrated, -1, values >= like_from)
    rated = values[values != unrated]
    if len({*likes.tolist()} - {-1}) < 2:
        span = f"from {rated.min():g} to {highest:g}" if len(rated) else "no ratings"
        raise InputError(f"{table.path}: {'all' if likes.max() > 0 else 'no'} ratings in column "
                         f"{table.names['rating']} are likes, with like = rating >= {like_from:g} of {span}; give a "
                         "--like_from between two of the ratings, or --label where 1 stands for liked")
    label = table.names.get("label")
    unused = f"; column {label} is not used, --label {label} takes it" if label else ""
    return likes.astype(np.int8), f"like = {table.names['rating']} >= {like_from:g}{none}{unused}"


def read_entries(catalogue: Table, noun: str) -> dict[str, str]:
    """The text of each item with a title, its first; with the author or brand where they are known.

    Double quotes of a title become '' where preference_text.parse() would not read the entry as one. What is rewritten
    or not used is printed. InputError where most items have several titles.
    """
    codes, names = catalogue.codes("item")
    titles = catalogue.columns["title"].combine_chunks()
    spellings = pd.factorize(np.array([" ".join(text.split()).casefold() for text in titles.dictionary.to_pylist()]))[0]
    title_codes = np.append(spellings, -1)[titles.indices.fill_null(-1).to_numpy()]  # one of all spellings
    titled = np.flatnonzero(title_codes >= 0)
    first = titled[np.unique(codes[titled], return_index=True)[1]]  # in the order of their codes
    columns = {role: catalogue.texts(role) for role in ("title", "author", "brand") if role in catalogue.names}
    by_author = noun == "book" or any(columns.get("author", ()))
    entries: dict[str, str] = {}
    changed = []
    for row in np.sort(first).tolist():
        title, author, brand = (" ".join(columns[role][row].split()) if role in columns else ""
                                for role in ("title", "author", "brand"))
        if len(title) + len(author) + len(brand) > MAX_TITLE:
            raise InputError(f"{catalogue.where('title', row)}: {len(title) + len(author) + len(brand):,} characters "
                             f"of title, author and brand; an item has at most {MAX_TITLE:,}")
        if title:
            title = f"{title} ({brand})" if brand else title
            if not preference_text.is_separable(title, author, noun, by_author):
                changed.append(row)
                title, author = title.replace('"', "''"), author.replace('"', "''")
            entries[names[codes[row]]] = preference_text.entry(title, author)
    others = titled[title_codes[titled] != title_codes[first][np.searchsorted(codes[first], codes[titled])]]
    if len(others):
        several = len(np.unique(codes[others]))
        found = f"{several:,} items have more than one {catalogue.names['title']}"
        if 2 * several > len(first):
            raise InputError(f"{catalogue.where('title', others[0])}: another one than before for item "
                             f"{names[codes[others[0]]]!r}; {found}: name the column of the items' titles with --title")
        print(f"{catalogue.path}: {found}; the first counts; row {others[0] + catalogue.first_row} has another",
              flush=True)
    if changed:
        print(f"{catalogue.path}: double quotes of {len(changed):,} titles are written as '', so that an entry ends "
              f"where its own quotes do; the first is row {changed[0] + catalogue.first_row}", flush=True)
    return entries
