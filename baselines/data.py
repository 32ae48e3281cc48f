"""The id rows of a split -> arrays for sequence models.

Two kinds of files hold ids: the CSV view beside a split's JSON (rec_data/TARGET), and the CSV that TALLRec's book
baselines were trained on (baseline/books), which has no JSON beside it.
"""

import ast
import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines.config import PUBLISHED_ITEMS
from tlrec.data import preference_text, samples, sliding_windows, split_files
from tlrec.data.id_csv import MISSING
from tlrec.errors import InputError, first_line
from tlrec.evaluation.evaluate import SplitData, read_split
from tlrec.files import read_bytes

LENGTH = sliding_windows.HISTORY_LENGTH
BOOK_IDS = "baseline/books"  # under the home folder
BOOK_COLUMNS = {"user": "user_id", "history_item_id": "history_movie_id", "item_id": "movie_id"}  # theirs: ours
Array = Any  # np.ndarray, or a torch.Tensor on a device


class Split(NamedTuple):
    """One split, row for row."""

    data: SplitData
    items: list[list[str]]  # history, oldest first
    likes: list[list[int]]  # 1 liked, 0 disliked, for each history item
    targets: list[str]


class Batch(NamedTuple):
    """Rows as arrays for a model."""

    items: Array  # (n, LENGTH) item numbers
    likes: Array  # (n, LENGTH) float32, 1 liked, 0 disliked
    targets: Array  # (n,) item numbers
    labels: Array  # (n,) float32

    def take(self, rows: Array) -> "Batch":
        return Batch(*(column[rows] for column in self))

    def to(self, device: str) -> "Batch":
        """The numpy arrays as tensors on a device."""
        import torch

        return Batch(*(torch.from_numpy(column).to(device) for column in self))


def split_hashes(splits: Iterable[tuple[str, SplitData]]) -> dict[str, str | None]:
    """{NAME_sha256, NAME_ids_sha256} of (name, split), for a request."""
    return {f"{name}_{kind}": value for name, split in splits
            for kind, value in (("sha256", split.sha256), ("ids_sha256", split.ids_sha256))}


def read(path: Path) -> Split:
    """Read NAME.json and the NAME.csv beside it. InputError names the file and the row (counted from 0)."""
    split, view = read_split(path), path.with_suffix(".csv")
    if split.id_view is None:
        raise InputError(f"{view}: no such file, or left aside; baselines read its item ids, and {path.name} has "
                         "titles only")
    return _split(view, split)


def read_book_ids(path: Path) -> Split:
    """Read a published CSV of book ids. InputError names the file and the row (counted from 0)."""
    import pandas as pd

    content = read_bytes(path, f"fetch it with `python -m rec_data.published {BOOK_IDS}`")
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False).rename(columns=BOOK_COLUMNS)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not readable as CSV ({first_line(error)}); fetch it again") from None
    for column in ("user_id", "rating"):
        if column not in table:
            raise InputError(f"{path}: no column {column}; fetch it again")
    wrong = np.flatnonzero(~table["rating"].isin(["0", "1"]))
    if len(wrong) or table.empty:
        raise InputError(f"{path}: " + (f"row {wrong[0]} has a rating other than 0 and 1" if len(wrong) else "no rows"))
    data = SplitData(path, hashlib.sha256(content).hexdigest(), [], np.arange(len(table)),
                     table["rating"].to_numpy().astype(int), table, None, None, None, "book")
    split = _split(path, data)
    liked = np.array([sum(flags) for flags in split.likes])
    counts = np.stack([liked, np.array([len(flags) for flags in split.likes]) - liked], axis=1)
    return split._replace(data=replace(data, title_counts=counts))


def _split(view: Path, split: SplitData) -> Split:
    """The lists of an id view. InputError names its row."""
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


class Catalogue(NamedTuple):
    numbers: dict[str, int]  # of every item of the three splits, as target or in a history, by rising number
    count: int  # items of the output layer, of which some may occur nowhere


def catalogue(target: str, splits: list[Split]) -> Catalogue:
    """Published ids are the item numbers of the published output layer; other ids are numbered in their order."""
    ids = set().union(*(split.targets for split in splits), *(items for split in splits for items in split.items))
    count = PUBLISHED_ITEMS.get(target, 0)
    if all(item.isdecimal() and len(item) < 10 and int(item) < count for item in ids):
        return Catalogue({item: int(item) for item in sorted(ids, key=int)}, count)
    return Catalogue({item: number for number, item in enumerate(sorted(ids))}, len(ids))


def encode(split: Split, catalogue: Catalogue) -> Batch:
    """A split in the catalogue's item numbers: the latest LENGTH items of a history; a shorter one is filled with its
    last item and that item's rating, as published. An empty one, which the published data has not, is filled with the
    number behind the last item's, disliked."""
    def filled(values: list, empty: int) -> list:
        return values[-LENGTH:] + (values[-1:] or [empty]) * (LENGTH - len(values))

    numbers, padding = catalogue
    items = np.array([filled([numbers[item] for item in history], padding) for history in split.items])
    likes = np.array([filled(flags, 0) for flags in split.likes], dtype=np.float32)
    return Batch(items, likes, np.array([numbers[item] for item in split.targets]),
                 split.data.labels.astype(np.float32))


def draw_rows(count: int, shots: int, seed: int, rule: str) -> np.ndarray:
    """Numbers of the training rows of a few-shot cell, shape (shots,).

    rule: `pandas`, sample(random_state=seed), as TALLRec's baselines drew them; `llm`, the rows that the language model
    is tuned on for that seed.
    """
    import pandas as pd

    if rule == "llm":
        return np.array(samples.shuffled_rows(count, seed, shots))
    return np.array(pd.Series(range(count)).sample(shots, random_state=seed))


def titles(splits: list[Split], numbers: dict[str, int]) -> list[str]:
    """Title of each item (with its author where the text has one), in the order of `numbers`, from the splits' texts.

    The target gives its title itself; history entries are matched to ids within the liked and the disliked list. A
    title that contains `, "` splits its list, so such a list is skipped; InputError where an item has no title.
    """
    by_item: dict[str, str] = {}
    for split in splits:
        for row, sample in enumerate(split.data.rows):
            text = preference_text.parse(sample.input)
            if text is None:
                raise InputError(f"{split.data.path}: record {row} has no preference lists to read titles from")
            for entries, flag in ((text.liked, 1), (text.disliked, 0)):
                ids = [item for item, like in zip(split.items[row], split.likes[row], strict=True) if like == flag]
                if len(ids) == len(entries):
                    by_item |= zip(ids, entries, strict=True)
    for split in splits:
        for sample, item in zip(split.data.rows, split.targets, strict=True):
            by_item[item] = preference_text.parse(sample.input).target_entry()
    missing = [item for item in numbers if item not in by_item]
    if missing:
        raise InputError(f"{splits[0].data.path}: no title for item {missing[0]}; make the data again")
    return [preference_text.without_quotes(by_item[item]) for item in numbers]


def book_titles(raw_dir: str, numbers: dict[str, int]) -> list[str]:
    """Title and author of each item of the published book ids, in the order of `numbers`, from BX-Books.csv.

    An id is the number of the book's row in that file, counted from 0 without broken lines. InputError where the file
    has fewer rows.
    """
    from rec_data.book_crossing import read_table
    from tlrec.data.raw_files import RawFiles

    books, _ = read_table(RawFiles(raw_dir), "BX-Books.csv", ["Book-Title", "Book-Author"])
    last = max(numbers.values())
    if last >= len(books):
        raise InputError(f"BX-Books.csv: {len(books):,} books, but the ids go to {last}; give --raw_dir the full file")
    chosen = books.iloc[list(numbers.values())].fillna("")
    return [f"{title} written by {author}" for title, author in
            zip(chosen["Book-Title"], chosen["Book-Author"], strict=True)]
