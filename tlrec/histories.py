"""From interactions to samples: sliding windows, and the like/dislike text that the language model reads.

The rules are those of the published data (TALLRec, RecSys 2023, and TLRec): a user's interactions are sorted by the
timestamp compared as text, and every interaction from the eleventh on is a target with the ten before it as history.
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

HISTORY_LENGTH = 10
CSV_HEADER = ["user_id", "history_movie_id", "history_rating", "movie_id", "rating", "timestamp"]
_UNPREFERENCE = "\nUser Unpreference: "
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

    A new entry starts at a comma, a space and a quotation mark. A title that itself holds `, "` is split in two, which
    changes counts but never the rendered text.
    """
    match = _PARTS.match(text)
    if match is None:
        return None
    return History(_entries(match["liked"]), _entries(match["disliked"]), match["noun"], match["target"])


def _entries(text: str) -> list[str]:
    return re.split(r', (?=")', text) if text else []


def windows(users: np.ndarray, timestamps: np.ndarray, last: int | None = None) -> np.ndarray:
    """Sliding windows over interactions.

    users, timestamps: arrays of shape (n,), in file order; timestamps are compared as text, ties keep file order.
    Returns interaction indices of shape (rows, 11): ten of history, then the target. Users follow one another in order
    of first appearance; with `last`, only the last that many rows are made.
    """
    user_codes, _ = pd.factorize(users)
    rows_per_user = np.maximum(np.bincount(user_codes) - HISTORY_LENGTH, 0)
    interactions = np.arange(len(users))
    if last is not None:
        rows_from_here = np.cumsum(rows_per_user[::-1])[::-1]
        needed = np.flatnonzero(rows_from_here >= last)
        interactions = np.flatnonzero(user_codes >= (needed[-1] if len(needed) else 0))
    time_codes, _ = pd.factorize(pd.Series(timestamps[interactions]).astype(str), sort=True)
    order = interactions[np.lexsort((time_codes, user_codes[interactions]))]  # lexsort is stable
    if len(order) <= HISTORY_LENGTH:
        return np.empty((0, HISTORY_LENGTH + 1), dtype=np.int64)
    spans = np.lib.stride_tricks.sliding_window_view(order, HISTORY_LENGTH + 1)
    spans = spans[user_codes[spans[:, 0]] == user_codes[spans[:, -1]]]  # a window never crosses two users
    return spans if last is None else spans[max(len(spans) - last, 0) :]


def sample(noun: str, titles: list[str], likes: list[int], target: str, liked: int) -> dict[str, str]:
    """One sample in the published form. `titles` and `target` are entries with their quotation marks."""
    history = History(
        [title for title, like in zip(titles, likes, strict=True) if like],
        [title for title, like in zip(titles, likes, strict=True) if not like],
        noun,
        target,
    )
    return {"instruction": instruction(noun), "input": render(history), "output": "Yes." if liked else "No."}


def csv_row(user: str, items: Iterable, likes: Iterable, item: str, like: int, timestamp: str) -> list:
    """One row of the id view, lists written as Python text, as published."""
    return [user, str([str(i) for i in items]), str([int(like) for like in likes]), item, int(like), timestamp]


def write_split(folder: Path, name: str, samples: list[dict[str, str]], rows: list[list]) -> None:
    """Write both views of one split, row for row: NAME.json (indent 4, ASCII, no final newline) and NAME.csv (CRLF)."""
    if len(samples) != len(rows):
        raise ValueError(f"{name}: {len(samples)} samples beside {len(rows)} id rows")
    text = io.StringIO()
    csv.writer(text).writerows([CSV_HEADER, *rows])
    write_atomically(folder / f"{name}.csv", text.getvalue())
    write_atomically(folder / f"{name}.json", json.dumps(samples, indent=4))


def write_atomically(path: Path, text: str) -> None:
    """Write beside the target and rename, so that an interrupted run leaves no half file."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)
