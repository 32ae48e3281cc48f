"""From interactions to samples: sliding windows, and the like/dislike text that the language model reads.

The rules are those of the published data (TALLRec, RecSys 2023, and TLRec): a user's interactions are sorted by the
timestamp compared as text, and every interaction from the eleventh on is a target with the ten before it as history.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd

from tlrec.errors import InputError

HISTORY_LENGTH = 10
SPLIT_ROWS = 10_000  # of all windows, the published splits keep the last that many
CSV_HEADER = ["user_id", "history_movie_id", "history_rating", "movie_id", "rating", "timestamp"]
_UNPREFERENCE = "\nUser Unpreference: "
_WRITTEN_BY = '" written by '
_PARTS = re.compile(
    r"\AUser Preference: (?P<liked>.*?)\nUser Unpreference: (?P<disliked>.*)"
    r"\nWhether the user will like the target (?P<noun>movie|book) (?P<target>.*)\Z",
    re.DOTALL,
)


class History(NamedTuple):
    """The parts of a sample's input: entries as they stand in the text, quotation marks and authors included."""

    liked: list[str]
    disliked: list[str]
    noun: str  # movie or book
    target: str  # everything after "the target movie ", question mark included

    def target_entry(self) -> str:
        """The target as a preference list would hold it: no question mark, nor Book-Crossing's outer quotes."""
        entry = self.target.removesuffix("?")
        outer = self.noun == "book" and entry.startswith('""') and entry.endswith('"')
        return entry[1:-1] if outer else entry


def instruction(noun: str) -> str:
    return (
        f"Given the user's preference and unpreference, identify whether the user will like the target {noun} by "
        'answering "Yes." or "No.".'
    )


def render(history: History) -> str:
    """The input text of a sample; the exact inverse of parse()."""
    return (
        f"User Preference: {', '.join(history.liked)}{_UNPREFERENCE}{', '.join(history.disliked)}"
        f"\nWhether the user will like the target {history.noun} {history.target}"
    )


def parse(text: str) -> History | None:
    """Split a sample's input text into its entries; None for text of another form (CoT, alpaca).

    A new entry starts at a comma, a space and a quotation mark, and a book's entry names its author. A movie title that
    itself holds `, "` is split in two, which changes counts but never the rendered text.
    """
    match = _PARTS.match(text)
    if match is None:
        return None
    noun = match["noun"]
    return History(_entries(match["liked"], noun), _entries(match["disliked"], noun), noun, match["target"])


def _entries(text: str, noun: str) -> list[str]:
    pieces = re.split(r', (?=")', text) if text else []
    if noun == "movie":
        return pieces
    entries: list[str] = []
    for piece in pieces:
        if entries and _WRITTEN_BY not in entries[-1]:  # the comma and the quotation mark stood in the title
            entries[-1] += f", {piece}"
        else:
            entries.append(piece)
    return entries


def book_entry(title: str, author: str) -> str:
    return f'"{title}{_WRITTEN_BY}{author}'


def book_parts(entry: str) -> tuple[str, str]:
    """(title, author) of a book's entry; the inverse of book_entry()."""
    title, _, author = entry[1:].partition(_WRITTEN_BY)
    return title, author


def windows(users: np.ndarray, timestamps: np.ndarray, last: int | None = None) -> np.ndarray:
    """Sliding windows over interactions.

    users, timestamps: arrays of shape (n,), in file order; timestamps are compared as text, ties keep file order.
    Returns interaction indices of shape (rows, 11): ten of history, then the target. Users follow one another in order
    of first appearance; with `last`, only the last that many rows are made.
    """
    user_codes, _ = pd.factorize(users)
    rows_per_user = np.maximum(np.bincount(user_codes) - HISTORY_LENGTH, 0)
    first_user = 0
    if last is not None:
        rows_from_here = np.cumsum(rows_per_user[::-1])[::-1]
        needed = np.flatnonzero(rows_from_here >= last)
        first_user = needed[-1] if len(needed) else 0
    interactions = np.flatnonzero(user_codes >= first_user)
    time_codes, _ = pd.factorize(pd.Series(timestamps[interactions]).astype(str), sort=True)
    order = interactions[np.lexsort((time_codes, user_codes[interactions]))]  # lexsort is stable
    if len(order) <= HISTORY_LENGTH:
        return np.empty((0, HISTORY_LENGTH + 1), dtype=np.int64)
    spans = np.lib.stride_tricks.sliding_window_view(order, HISTORY_LENGTH + 1)
    spans = spans[user_codes[spans[:, 0]] == user_codes[spans[:, -1]]]  # a window never crosses two users
    return spans if last is None else spans[max(len(spans) - last, 0) :]


def sample(noun: str, titles: list[str], likes: list[int], target: str, liked: int) -> dict[str, str]:
    """One sample in the published form. `titles` and `target` are entries with their quotation marks."""
    sorted_out: tuple[list[str], list[str]] = [], []
    for title, like in zip(titles, likes, strict=True):
        sorted_out[not like].append(title)
    history = History(*sorted_out, noun, target)
    return {"instruction": instruction(noun), "input": render(history), "output": "Yes." if liked else "No."}


def csv_row(user: str, items: Iterable, likes: Iterable, item: str, like: int, timestamp: str) -> list:
    """One row of the id view; the CSV holds its two lists as Python text, as published."""
    return [user, [str(i) for i in items], [int(like) for like in likes], str(item), int(like), timestamp]


def sequences(
    spans: np.ndarray,
    noun: str,
    users: Sequence,
    items: np.ndarray,
    likes: np.ndarray,
    timestamps: Sequence,
    entry: Callable[[object], str],
) -> tuple[list[dict[str, str]], list[list]]:
    """Samples and id rows of windows: spans, shape (rows, 11), index the other arrays; `entry` gives an item's text."""
    samples, rows = [], []
    for span, item_span, like_span in zip(spans, items[spans].tolist(), likes[spans].tolist(), strict=True):
        history, target = item_span[:-1], item_span[-1]
        samples.append(
            sample(noun, [entry(item) for item in history], like_span[:-1], f"{entry(target)}?", like_span[-1])
        )
        rows.append(csv_row(users[span[-1]], history, like_span[:-1], target, like_span[-1], timestamps[span[-1]]))
    return samples, rows


def cut(count: int) -> dict[str, slice]:
    """Rows of train, valid and test: 8:1:1 in the given order."""
    first, second = int(count * 0.8), int(count * 0.9)
    return {"train": slice(0, first), "valid": slice(first, second), "test": slice(second, count)}


def id_rows(histories: Iterable[History], labels: Iterable[int], split: str) -> list[list]:
    """The id view of samples that come without ids: an entry's text is the item, every row is a user of its own.

    The history stands in the text's order, liked before disliked, and there is no timestamp.
    """
    rows = []
    for number, (history, label) in enumerate(zip(histories, labels, strict=True)):
        likes = [1] * len(history.liked) + [0] * len(history.disliked)
        entries = history.liked + history.disliked
        rows.append(csv_row(f"{split}-{number}", entries, likes, history.target_entry(), label, ""))
    return rows


def write_split(folder: Path, name: str, samples: list[dict[str, str]], rows: list[list] | None) -> None:
    """Write both views of one split, row for row: NAME.json (indent 4, ASCII, no final newline) and NAME.csv (CRLF).

    rows: None where the samples have no users and items.
    """
    if rows is not None and len(samples) != len(rows):
        raise ValueError(f"{name}: {len(samples)} samples beside {len(rows)} id rows")
    write_pairs(folder, name, zip(samples, rows or [None] * len(samples), strict=True))


def write_pairs(folder: Path, name: str, pairs: Iterable[tuple[dict[str, str], list | None]]) -> None:
    """write_split() for (sample, id row) pairs that are made one by one and never stand in memory together."""
    # the text comes last: a folder that has it has the ids as well
    with _renamed(folder / f"{name}.json") as text, _renamed(folder / f"{name}.csv") as table:
        opening, ids, fields = "[", True, ()
        table.write(_csv_line(CSV_HEADER))
        for record, row in pairs:
            if tuple(record) != fields:
                fields = tuple(record)
                form = ",\n".join(f"        {quoted(field).replace('%', '%%')}: %s" for field in fields)
            # what json.dump(indent=4) writes, without its slow path
            text.write(f"{opening}\n    {{\n{form % tuple(map(quoted, record.values()))}\n    }}")
            opening, ids = ",", row is not None
            if ids:
                table.write(_csv_line(row))
        text.write("\n]" if opening == "," else "[]")
    if not ids:
        (folder / f"{name}.csv").unlink()


def _csv_line(row: Iterable) -> str:
    """What csv.writer writes, several times faster on long fields."""
    return ",".join([_csv_field(str(field)) for field in row]) + "\r\n"


def _csv_field(text: str) -> str:
    if '"' in text:
        text = text.replace('"', '""')
    elif "," not in text and "\n" not in text and "\r" not in text:
        return text
    return f'"{text}"'


def write_csv(path: Path, rows: Iterable[Iterable]) -> None:
    with _renamed(path) as file:
        file.writelines(map(_csv_line, rows))


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target and rename, so that an interrupted run leaves no half file."""
    with _renamed(path) as file:
        file.write(text)


@contextmanager
def _renamed(path: Path) -> Iterator[TextIO]:
    with beside(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which is renamed to it at the end; InputError where there is no room."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two wrappers may prepare the same data
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise InputError(f"{path}: cannot be written ({error.strerror}); what was there is intact: make room, or "
                             "choose another place") from None
        raise
