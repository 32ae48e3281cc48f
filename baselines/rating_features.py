"""What controls read of a prompt's counts and of other rows' answers: liked-ratio, item-mean and user-mean."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tlrec.data import preference_text, samples
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import SplitData

SHRINKAGE = 5  # rows of the mean that every item and user starts with
FOLDS = 5


class Rows(NamedTuple):
    """What controls read of n rows."""

    items: np.ndarray  # (n,) the target
    labels: np.ndarray  # (n,) 1 liked, 0 disliked
    counts: np.ndarray  # (n, 2) liked and disliked titles of the prompt
    users: np.ndarray | None  # (n,)

    def take(self, rows: np.ndarray) -> "Rows":
        return Rows(*(None if column is None else column[rows] for column in self))


def read_rows(*splits: SplitData) -> list[Rows]:
    """The rows of each split, read with needs_titles; items are ids where all splits have them, else texts."""
    return [Rows(items, split.labels, split.title_counts, split.users)
            for split, items in zip(splits, target_items(*splits), strict=True)]


def join(*parts: Rows) -> Rows:
    return Rows(*(None if any(column is None for column in columns) else np.concatenate(columns)
                  for columns in zip(*parts, strict=True)))


def target_items(*splits: SplitData) -> list[np.ndarray]:
    """Target item of each row of each split, shape (n,): the id of the CSV views, or the text entry where one has no
    view."""
    views = [split.id_view for split in splits if split.id_view is not None]
    if len(views) < len(splits):
        return [np.array([preference_text.parse(row.input).target_entry() for row in split.rows], dtype=object)
                for split in splits]
    for split, view in zip(splits, views, strict=True):
        if "movie_id" not in view:
            raise InputError(f"{split.path.with_suffix('.csv')}: no movie_id column; make the data again")
    return [view["movie_id"].to_numpy(dtype=object) for view in views]


def feature(name: str, train: Rows, test: Rows) -> np.ndarray:
    """liked-ratio, item-mean or user-mean of the test rows, shape (m,)."""
    if name == "liked-ratio":
        return samples.liked_ratio(test.counts)
    keys, wanted = (rows.items if name == "item-mean" else rows.users for rows in (train, test))
    return item_mean(keys, train.labels, wanted)


def held_out_feature(name: str, train: Rows) -> np.ndarray:
    """The feature of each training row, its means from the other folds, shape (n,)."""
    if name == "liked-ratio":
        return samples.liked_ratio(train.counts)
    return held_out_item_mean(train.items if name == "item-mean" else train.users, train.labels)


def item_mean(items: np.ndarray, labels: np.ndarray, wanted: np.ndarray, mean: float | None = None) -> np.ndarray:
    """Share of likes of each of the `wanted` items, shape (m,), from training rows of shape (n,), shrunk towards `mean`
    (default: that of the labels)."""
    mean = labels.mean() if mean is None else mean
    grouped = pd.Series(labels).groupby(items).agg(["sum", "size"])
    shrunk = (grouped["sum"] + SHRINKAGE * mean) / (grouped["size"] + SHRINKAGE)
    return pd.Series(wanted).map(shrunk).fillna(mean).to_numpy(dtype=float)


def held_out_item_mean(items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """item_mean of each training row from the other folds, shape (n,): a row's own label must not be its feature.

    All folds shrink towards the mean of all rows; that of the other folds would fall where a fold's labels rise, and
    the regression would learn it.
    """
    fold = np.arange(len(items)) % min(FOLDS, len(items))
    means = np.empty(len(items))
    for number in np.unique(fold):
        inside = fold == number
        means[inside] = item_mean(items[~inside], labels[~inside], items[inside], labels.mean())
    return means
