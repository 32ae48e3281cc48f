"""The ratings that are targets of train, valid and test: by time, by user, leave-last-out, or as a column has it; and
the rows of their windows."""

from itertools import pairwise

import numpy as np

from rec_data.column_values import Table
from tlrec.data import datasets, sliding_windows
from tlrec.data.dataset_record import Split

METHODS = ("time", "user", "leave-last-out")
NAMES = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
RULES = {
    "time": "the last {rows} windows of all users by the time of their target, cut 8:1:1",
    "user": "users in order of first appearance; their last {rows} windows, cut 8:1:1 between two users",
    "leave-last-out": "a user's last rating is a target of test, the one before of valid; of each split the last by "
                      "time, 8:1:1 of {rows}",
    "column": "as column {column} of the ratings has it; of each split the last by time, 8:1:1 of {rows}",
}


def rule(split: str, rows: int, column: str | None) -> str:
    """What was done, for dataset.json."""
    text = RULES[split].format(rows=f"{rows:,}", column=column)
    return text.replace("last -1 ", "").replace("of each split the last by time, 8:1:1 of -1", "all of them")


def choose_targets(
    split: str, order: np.ndarray, before: np.ndarray, users: np.ndarray, times: np.ndarray, parts: np.ndarray | None,
    min_history: int, rows: int,
) -> dict[str, np.ndarray]:
    """Positions in `order` of the targets of train, valid and test."""
    eligible = np.flatnonzero(before >= min_history)
    if split in ("time", "user"):
        if split == "time":
            eligible = eligible[np.argsort(times[order[eligible]], kind="stable")]
        chosen = eligible if rows == -1 else eligible[-rows:]
        cuts = [part.stop for part in sliding_windows.split_slices(len(chosen)).values()][:2]
        if split == "user" and len(chosen):
            owners = users[order[chosen]]
            cuts = [int(np.argmax(owners == owners[cut])) for cut in cuts]
        return dict(zip(datasets.SPLITS, np.split(chosen, cuts), strict=True))
    if parts is None:
        last = np.append(before[1:] == 0, True)  # of their user
        parts = np.zeros(len(users))
        parts[order[np.append(last[1:], False) & ~last]] = 1
        parts[order[last]] = 2
    targets = {}
    shares = sliding_windows.split_slices(rows)
    for code, (name, share) in enumerate(shares.items()):
        of_part = eligible[parts[order[eligible]] == code]
        if rows != -1 and len(of_part) > share.stop - share.start:
            latest = np.argsort(times[order[of_part]], kind="stable")[share.start - share.stop :]
            of_part = of_part[np.sort(latest)]
        targets[name] = of_part
    return targets


def tied_cuts(targets: dict[str, np.ndarray], times: np.ndarray) -> list[str]:
    """A line for each cut that falls among rows of one time. times: of the ratings that the targets are positions of.
    """
    lines = []
    for earlier, later in pairwise(datasets.SPLITS):
        before, after = times[targets[earlier]], times[targets[later]]
        if len(before) and len(after) and before[-1] == after[0]:
            counts = int((before == before[-1]).sum()), int((after == after[0]).sum())
            lines.append(f"the cut between {earlier} and {later} falls among rows of one time: {counts[0]:,} of "
                         f"{earlier} and {counts[1]:,} of {later} share it")
    return lines


def leaks(targets: dict[str, np.ndarray], before: np.ndarray, history_length: int) -> list[str]:
    """A line for each split whose histories hold targets of a later one, with their answers. before: as rated_before()
    gives it, of the ratings that the targets are positions of."""
    lines = []
    for number, name in enumerate(datasets.SPLITS[:-1], 1):
        later = np.zeros(len(before), dtype=np.int64)
        later[np.concatenate([targets[split] for split in datasets.SPLITS[number:]])] = 1
        sums = np.append(0, later.cumsum())  # of all positions before each
        positions = targets[name]
        held = sums[positions] > sums[positions - np.minimum(before[positions], history_length)]
        if held.any():
            lines.append(f"leakage: {held.sum():,} of {len(held):,} rows of {name} have a target of "
                         f"{' or '.join(datasets.SPLITS[number:])} in their history, with its answer; a split by time "
                         "has none")
    return lines


def drop_cold(targets: dict[str, np.ndarray], users: np.ndarray, items: np.ndarray) -> int:
    """Keep the warm targets of valid and test; returns how many were dropped. users, items: in the targets' order."""
    train, dropped = targets["train"], 0
    for name in ("valid", "test"):
        positions = targets[name]
        warm = np.isin(users[positions], users[train]) & np.isin(items[positions], items[train])
        targets[name], dropped = positions[warm], dropped + int((~warm).sum())
    return dropped


def make_split(
    spans: np.ndarray, noun: str, users: np.ndarray, user_names: list[str], items: np.ndarray, item_names: list[str],
    likes: np.ndarray, table: Table, entries: dict[str, str],
) -> Split:
    """The rows of one split; text is made of the ratings in its windows alone."""
    used = np.unique(spans[spans >= 0])
    positions = np.where(spans < 0, -1, np.searchsorted(used, spans))
    samples, rows = sliding_windows.samples_from_windows(
        positions, noun, [user_names[code] for code in users[used].tolist()],
        np.array([item_names[code] for code in items[used].tolist()], dtype=object), likes[used],
        table.columns["timestamp"].take(used).to_pylist(), entries.__getitem__)
    return Split(len(samples), zip(samples, rows, strict=True))
