"""Sliding windows over interactions: ten items of history, then the target item.

The rules are those of the published data (TALLRec, RecSys 2023, and TLRec): a user's interactions are sorted by the
timestamp compared as text, and every interaction from the eleventh on is a target with the ten before it as history.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tlrec.data.preference_text import make_sample
from tlrec.data.split_files import id_row

HISTORY_LENGTH = 10
MAX_SPLIT_ROWS = 10_000  # the published splits keep the last 10,000 of all windows


def sliding_windows(users: np.ndarray, timestamps: np.ndarray, last: int | None = None) -> np.ndarray:
    """Sliding windows over interactions.

    users, timestamps: arrays of shape (n,), in file order; timestamps are compared as text, ties keep file order.
    Returns interaction indices of shape (rows, 11): ten of history, then the target. Users are in the order of their
    first appearance. last: return only the last `last` rows.
    """
    user_codes, _ = pd.factorize(users)
    rows_per_user = np.maximum(np.bincount(user_codes) - HISTORY_LENGTH, 0)
    first_user = 0
    if last is not None:
        rows_from_user_on = np.cumsum(rows_per_user[::-1])[::-1]
        needed = np.flatnonzero(rows_from_user_on >= last)
        first_user = needed[-1] if len(needed) else 0
    interactions = np.flatnonzero(user_codes >= first_user)
    time_codes, _ = pd.factorize(pd.Series(timestamps[interactions]).astype(str), sort=True)
    order = interactions[np.lexsort((time_codes, user_codes[interactions]))]  # lexsort is stable
    if len(order) <= HISTORY_LENGTH:
        return np.empty((0, HISTORY_LENGTH + 1), dtype=np.int64)
    spans = np.lib.stride_tricks.sliding_window_view(order, HISTORY_LENGTH + 1)
    spans = spans[user_codes[spans[:, 0]] == user_codes[spans[:, -1]]]  # a window never crosses two users
    return spans if last is None else spans[max(len(spans) - last, 0) :]


def rated_before(users: np.ndarray) -> np.ndarray:
    """Number of the same user's interactions before each, shape (n,). users: codes of shape (n,), grouped."""
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    return np.arange(len(users)) - np.repeat(starts, np.diff(starts, append=len(users)))


def padded_windows(order: np.ndarray, before: np.ndarray, targets: np.ndarray, length: int) -> np.ndarray:
    """Windows whose history may be shorter than `length`: shape (rows, length + 1), -1 where there is none.

    order: interactions, grouped by user and sorted by time, shape (n,); before: rated_before() of them; targets:
    positions in `order`, shape (rows,).
    """
    steps = np.arange(-length, 1)
    spans = order[np.maximum(targets[:, None] + steps, 0)]
    return np.where(-steps <= before[targets, None], spans, -1)


def samples_from_windows(
    spans: np.ndarray,
    noun: str,
    users: Sequence,
    items: np.ndarray,
    likes: np.ndarray,
    timestamps: Sequence,
    entry: Callable[[object], str],
) -> tuple[list[dict[str, str]], list[list]]:
    """Samples and id rows of windows.

    spans: shape (rows, length + 1), indices into the other arrays, -1 where the history is shorter. entry: an item's
    text, from its id.
    """
    samples, rows = [], []
    starts = (spans < 0).sum(axis=1).tolist()
    for span, start, item_span, like_span in zip(
            spans, starts, items[spans].tolist(), likes[spans].tolist(), strict=True):
        history, liked, target = item_span[start:-1], like_span[start:-1], item_span[-1]
        samples.append(
            make_sample(noun, [entry(item) for item in history], liked, f"{entry(target)}?", like_span[-1])
        )
        rows.append(id_row(users[span[-1]], history, liked, target, like_span[-1], timestamps[span[-1]]))
    return samples, rows


def split_slices(count: int) -> dict[str, slice]:
    """Rows of train, valid and test: 8:1:1 in the order given."""
    first, second = int(count * 0.8), int(count * 0.9)
    return {"train": slice(0, first), "valid": slice(first, second), "test": slice(second, count)}
