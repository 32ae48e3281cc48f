"""The two views of a split, row for row: text (NAME.json, for language models) and ids (NAME.csv, for baselines)."""

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

import numpy as np
import pandas as pd

from tlrec.data.preference_text import History
from tlrec.errors import InputError
from tlrec.files import csv_line, open_atomically

ID_COLUMNS = ["user_id", "history_movie_id", "history_rating", "movie_id", "rating", "timestamp"]
MAX_ID = 1_000  # characters: numpy gives every id of an array the width of the longest


def check_id_lengths(path: Path | str, column: str, lengths: np.ndarray) -> None:
    """InputError for the first id of more than MAX_ID characters. lengths: of the ids of all rows, shape (n,)."""
    longer = np.flatnonzero(lengths > MAX_ID)
    if len(longer):
        raise InputError(f"{path}: {column} of row {longer[0]} has {int(lengths[longer[0]]):,} characters, an id has "
                         f"at most {MAX_ID:,}; is the file damaged?")


def id_row(user: str, items: Iterable, likes: Iterable, item: str, like: int, timestamp: str) -> list:
    """One row of the id view; the CSV holds its two lists as Python text, as published."""
    return [user, [str(i) for i in items], [int(like) for like in likes], str(item), int(like), timestamp]


def warm_rows(train: Path, rows: pd.DataFrame) -> np.ndarray | None:
    """Whether each row's user and item are the user and the target of rows of the id view `train`, shape (n,).

    rows: the id view of another split. None without ids of both.
    """
    try:
        known = pd.read_csv(train, dtype=str, keep_default_na=False, usecols=["user_id", "movie_id"])
    except (OSError, ValueError):  # pandas' own errors are ValueErrors
        return None
    if "movie_id" not in rows:
        return None
    return (rows["user_id"].isin(known["user_id"]) & rows["movie_id"].isin(known["movie_id"])).to_numpy()


def id_rows_from_text(histories: Iterable[History], labels: Iterable[int]) -> list[list]:
    """Id rows of samples without ids: an entry's text serves as item id, and the user id is blank.

    The history has the text's order, liked before disliked; the timestamp is empty.
    """
    rows = []
    for history, label in zip(histories, labels, strict=True):
        likes = [1] * len(history.liked) + [0] * len(history.disliked)
        entries = history.liked + history.disliked
        rows.append(id_row("", entries, likes, history.target_entry(), label, ""))
    return rows


def write_pairs(folder: Path, name: str, pairs: Iterable[tuple[dict[str, str], list | None]]) -> None:
    """Write both views of one split: NAME.json (indent 4, ASCII, no final newline) and NAME.csv (CRLF).

    pairs: (sample, id row), which need not fit in memory; None for rows of samples without users and items, which get
    no CSV.
    """
    # NAME.json is renamed last: where it exists, NAME.csv does too
    with open_atomically(folder / f"{name}.json") as text, open_atomically(folder / f"{name}.csv") as table:
        opening, ids = "[", True
        fields: tuple[str, ...] = ()
        table.write(csv_line(ID_COLUMNS))
        for record, row in pairs:
            if tuple(record) != fields:
                fields = tuple(record)
                form = ",\n".join(f"        {quoted(key).replace('%', '%%')}: %s" for key in fields)
            # as json.dump(indent=4) writes it, which is slower
            text.write(f"{opening}\n    {{\n{form % tuple(map(quoted, record.values()))}\n    }}")
            opening, ids = ",", row is not None
            if row is not None:
                table.write(csv_line(row))
        text.write("\n]" if opening == "," else "[]")
    if not ids:
        (folder / f"{name}.csv").unlink()
