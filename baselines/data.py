"""The id view of a split -> arrays for sequence models.

Item numbers: 0 is padding, 1 an item outside the training catalogue, 2 and above the catalogue. The catalogue is every
item of the whole training file, as target or in a history, at every shot count: ids carry no labels.
"""

import ast
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlrec.data import preference_text, split_files, windows
from tlrec.data.id_view import MISSING
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import SplitData, read_split

PADDING, UNKNOWN, FIRST = 0, 1, 2
DISLIKED, LIKED = 1, 2  # flags of history items; 0 is padding
LENGTH = windows.HISTORY_LENGTH
Array = Any  # np.ndarray, or a torch.Tensor on a device


class Split(NamedTuple):
    """One split, both views, row for row."""

    data: SplitData
    items: list[list[str]]  # history, oldest first
    likes: list[list[int]]  # 1 liked, 0 disliked, for each history item
    targets: list[str]


class Batch(NamedTuple):
    """Rows as arrays for a model; each history is right-padded."""

    items: Array  # (n, LENGTH) item numbers
    flags: Array  # (n, LENGTH) DISLIKED, LIKED or 0
    lengths: Array  # (n,)
    targets: Array  # (n,) item numbers
    labels: Array  # (n,) float32

    def take(self, rows: Array) -> "Batch":
        return Batch(*(column[rows] for column in self))

    def to(self, device: str) -> "Batch":
        """The numpy arrays as tensors on a device."""
        import torch

        return Batch(*(torch.from_numpy(column).to(device) for column in self))


def read(path: Path) -> Split:
    """Read NAME.json and the NAME.csv beside it. InputError names the file and the row (counted from 0)."""
    split, view = read_split(path), path.with_suffix(".csv")
    if split.id_view is None:
        raise InputError(f"{view}: no such file, or left aside; baselines read its item ids, and {path.name} has "
                         "titles only")
    for column in split_files.ID_COLUMNS[1:4]:
        if column not in split.id_view:
            raise InputError(f"{view}: no column {column}; make the data again")
    items, likes = ([_words(view, row, text, kind) for row, text in enumerate(split.id_view[column])]
                    for column, kind in (("history_movie_id", str), ("history_rating", int)))
    for row, (history, flags) in enumerate(zip(items, likes, strict=True)):
        if len(history) != len(flags):
            raise InputError(f"{view}: row {row} has {len(history)} history items but {len(flags)} ratings")
        if not set(flags) <= {0, 1}:
            raise InputError(f"{view}: row {row} has a history rating other than 0 and 1")
    return Split(split, items, likes, split.id_view["movie_id"].tolist())


def _words(view: Path, row: int, text: str, kind: type) -> list:
    """A list written as Python text, as published: "['1', '2']"; a missing one is empty."""
    if text.strip().casefold() in MISSING:
        return []
    try:
        values = ast.literal_eval(text)
        if not isinstance(values, list):
            raise ValueError
        return [kind(value) for value in values]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise InputError(f"{view}: row {row}: {text[:40]!r} is not a list of ids or ratings") from None


def catalogue(split: Split) -> dict[str, int]:
    """Item number of every item of a training file, from FIRST on in the order of the sorted ids."""
    return {item: FIRST + i for i, item in enumerate(sorted(set(split.targets).union(*split.items)))}


def encode(split: Split, numbers: dict[str, int]) -> Batch:
    """A split in the catalogue's item numbers; of a history longer than LENGTH only the latest items."""
    items, flags = np.zeros((2, len(split.items), LENGTH), dtype=np.int64)
    lengths = np.array([min(len(history), LENGTH) for history in split.items])
    for row, (history, likes) in enumerate(zip(split.items, split.likes, strict=True)):
        items[row, : lengths[row]] = [numbers.get(item, UNKNOWN) for item in history[-LENGTH:]]
        flags[row, : lengths[row]] = [LIKED if like else DISLIKED for like in likes[-LENGTH:]]
    targets = np.array([numbers.get(item, UNKNOWN) for item in split.targets])
    return Batch(items, flags, lengths, targets, split.data.labels.astype(np.float32))


def unknown_counts(encoded: Batch) -> dict[str, int]:
    """Number of targets and history items outside the training catalogue."""
    return {"targets": int((encoded.targets == UNKNOWN).sum()), "history_items": int((encoded.items == UNKNOWN).sum())}


def titles(split: Split, catalogue: dict[str, int]) -> list[str]:
    """Title of each catalogue item (of a book, with its author), in the order of item numbers, from the training file.

    The target gives its title itself; history entries are matched to ids within the liked and the disliked list. A
    title that contains `, "` splits its list, so such a list is skipped; InputError where an item has no title.
    """
    by_item: dict[str, str] = {}
    for row, sample in enumerate(split.data.rows):
        text = preference_text.parse(sample.input)
        if text is None:
            raise InputError(f"{split.data.path}: record {row} has no preference lists to read titles from")
        for entries, flag in ((text.liked, 1), (text.disliked, 0)):
            ids = [item for item, like in zip(split.items[row], split.likes[row], strict=True) if like == flag]
            if len(ids) == len(entries):
                by_item |= zip(ids, entries, strict=True)
    for sample, item in zip(split.data.rows, split.targets, strict=True):
        by_item[item] = preference_text.parse(sample.input).target_entry()
    missing = [item for item in catalogue if item not in by_item]
    if missing:
        raise InputError(f"{split.data.path}: no title for item {missing[0]}; make the data again")
    if text.noun == "book":
        return [" written by ".join(preference_text.book_parts(by_item[item])) for item in catalogue]
    return [by_item[item].strip('"') for item in catalogue]
