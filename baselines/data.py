"""The id view of a split -> arrays for sequence models.

Item numbers: 0 is padding, 1 an item outside the training catalogue, 2 and above the catalogue. The catalogue is every
item of the whole training file, as target or in a history, at every shot count: ids carry no labels.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlrec.data import preference_text, samples, views, windows
from tlrec.errors import InputError

PADDING, UNKNOWN, FIRST = 0, 1, 2
DISLIKED, LIKED = 1, 2  # flags of history items; 0 is padding
LENGTH = windows.HISTORY_LENGTH


class Split(NamedTuple):
    """One split, both views, row for row."""

    path: Path
    rows: list[samples.Sample]
    users: np.ndarray  # (n,)
    items: list[list[str]]  # history, oldest first
    likes: list[list[int]]  # 1 liked, 0 disliked, for each history item
    targets: list[str]
    labels: np.ndarray  # (n,), 1 liked, 0 disliked


class Encoded(NamedTuple):
    """Arrays for a model; each history is right-padded."""

    items: np.ndarray  # (n, LENGTH) item numbers
    flags: np.ndarray  # (n, LENGTH) DISLIKED, LIKED or 0
    lengths: np.ndarray  # (n,)
    targets: np.ndarray  # (n,) item numbers
    labels: np.ndarray  # (n,) float32

    def take(self, rows: list[int]) -> "Encoded":
        return Encoded(*(column[rows] for column in self))


@dataclass(frozen=True)
class Catalogue:
    numbers: dict[str, int]  # item id -> item number, from FIRST on

    def __len__(self) -> int:
        return len(self.numbers)

    def encode(self, split: Split) -> Encoded:
        """Item numbers of a split; of a history longer than LENGTH only the latest items."""
        count = len(split.rows)
        items, flags = np.zeros((count, LENGTH), dtype=np.int64), np.zeros((count, LENGTH), dtype=np.int64)
        lengths = np.array([min(len(history), LENGTH) for history in split.items])
        for row, (history, likes) in enumerate(zip(split.items, split.likes, strict=True)):
            items[row, : lengths[row]] = [self.numbers.get(item, UNKNOWN) for item in history[-LENGTH:]]
            flags[row, : lengths[row]] = [LIKED if like else DISLIKED for like in likes[-LENGTH:]]
        targets = np.array([self.numbers.get(item, UNKNOWN) for item in split.targets])
        return Encoded(items, flags, lengths, targets, split.labels.astype(np.float32))


def read(path: str | Path) -> Split:
    """Read NAME.json and the NAME.csv beside it. InputError names the file and the row (counted from 0)."""
    path = Path(path)
    rows = samples.read_samples(path, answers_only=True)
    users = samples.user_ids(path, rows)
    view = path.with_suffix(".csv")
    if users is None:
        raise InputError(f"{view}: no such file; baselines read item ids, and {path.name} has titles only")
    table = pd.read_csv(view, dtype=str, keep_default_na=False)
    for column in views.ID_COLUMNS[1:4]:
        if column not in table:
            raise InputError(f"{view}: no column {column}; make the data again")
    items = [_words(view, row, text, str) for row, text in enumerate(table["history_movie_id"])]
    likes = [_words(view, row, text, int) for row, text in enumerate(table["history_rating"])]
    for row, (history, flags) in enumerate(zip(items, likes, strict=True)):
        if len(history) != len(flags):
            raise InputError(f"{view}: row {row} has {len(history)} history items but {len(flags)} ratings")
        if not set(flags) <= {0, 1}:
            raise InputError(f"{view}: row {row} has a history rating other than 0 and 1")
    labels = np.array([sample.label for sample in rows])
    return Split(path, rows, users, items, likes, table["movie_id"].tolist(), labels)


def _words(view: Path, row: int, text: str, kind: type) -> list:
    """A list written as Python text, as published: "['1', '2']"."""
    try:
        values = ast.literal_eval(text)
        if not isinstance(values, list):
            raise ValueError
        return [kind(value) for value in values]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise InputError(f"{view}: row {row}: {text[:40]!r} is not a list of ids or ratings") from None


def catalogue(split: Split) -> Catalogue:
    """Every item of a training file, numbered in the order of its sorted ids."""
    return Catalogue({item: FIRST + i for i, item in enumerate(sorted(set(split.targets).union(*split.items)))})


def unknown_counts(encoded: Encoded) -> dict[str, int]:
    """Number of targets and history items outside the training catalogue."""
    return {"targets": int((encoded.targets == UNKNOWN).sum()), "history_items": int((encoded.items == UNKNOWN).sum())}


def titles(split: Split, items: Catalogue) -> list[str]:
    """Title of each catalogue item (of a book, with its author), in the order of item numbers, from the training file.

    The target gives its title itself; history entries are matched to ids within the liked and the disliked list. A
    title that contains `, "` splits its list, so such a list is skipped; InputError where an item has no title.
    """
    by_item: dict[str, str] = {}
    for row, sample in enumerate(split.rows):
        text = preference_text.parse(sample.input)
        if text is None:
            raise InputError(f"{split.path}: record {row} has no preference lists to read titles from")
        for entries, flag in ((text.liked, 1), (text.disliked, 0)):
            ids = [item for item, like in zip(split.items[row], split.likes[row], strict=True) if like == flag]
            if len(ids) == len(entries):
                by_item |= zip(ids, entries, strict=True)
    for sample, item in zip(split.rows, split.targets, strict=True):
        by_item[item] = preference_text.parse(sample.input).target_entry()
    missing = [item for item in items.numbers if item not in by_item]
    if missing:
        raise InputError(f"{split.path}: no title for item {missing[0]}; do its text and {split.path.stem}.csv agree?")
    if text.noun == "book":
        return [" written by ".join(preference_text.book_parts(by_item[item])) for item in items.numbers]
    return [by_item[item].strip('"') for item in items.numbers]
