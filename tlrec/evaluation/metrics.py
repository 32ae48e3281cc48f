"""AUC and what must be read beside it: its intervals, per-user and stratified AUC, what the score owes to counting
liked titles, accuracy, log loss, calibration.

Intervals are by the delete-one-user jackknife with t quantiles, which covers best (benchmarks/interval_coverage.py).

Undefined values (AUC of a single class, per-user AUC without users) are None.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tlrec.data.samples import liked_ratio
from tlrec.errors import InputError
from tlrec.evaluation import intervals
from tlrec.evaluation.intervals import Estimate

CALIBRATION_BINS = 10


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve, ties count a half; labels 0/1 and scores of shape (n,). None where there is only one
    class."""
    wins, pairs = pair_wins(labels, scores, np.zeros(len(labels), int))
    return float(wins[0] / pairs[0]) if pairs[0] else None


def pair_wins(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pairs that the liked row wins, a tie a half; all pairs) of a liked and a disliked row within each group.

    labels 0/1, scores and group numbers: shape (n,); both results: shape (highest group number + 1,). Exact: sums of
    halves.
    """
    order = np.lexsort((scores, groups))
    groups, scores, liked = groups[order], scores[order], labels[order].astype(bool)
    new = np.append(True, (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1]))  # where a block of ties begins
    starts = np.flatnonzero(new)
    likes, dislikes = (np.add.reduceat(rows.astype(float), starts) for rows in (liked, ~liked))
    likes_of, dislikes_of = (np.bincount(groups, rows) for rows in (liked, ~liked))
    of_block = groups[starts]
    below = np.cumsum(dislikes) - dislikes - (np.cumsum(dislikes_of) - dislikes_of)[of_block]
    return np.bincount(of_block, likes * (below + dislikes / 2)), likes_of * dislikes_of


def user_means(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray
) -> tuple[dict[str, float], Estimate | None, Estimate | None]:
    """AUC of each user who has both classes; its mean over them, UAUC; and its mean weighted by their rows, GAUC. The
    means are None without such users."""
    by_user = auc_by_user(labels, scores, users)
    aucs = np.array(list(by_user.values()))
    return (by_user, intervals.user_mean(aucs, np.ones(len(aucs))),
            intervals.user_mean(aucs, rows_of(by_user, users)))


def auc_by_user(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> dict[str, float]:
    """AUC of each user who has both classes, users in order of first appearance."""
    codes, names = pd.factorize(users)
    wins, pairs = pair_wins(labels, scores, codes)
    return {str(names[code]): float(wins[code] / pairs[code]) for code in np.flatnonzero(pairs)}


def rows_of(by_user: Iterable[str], users: np.ndarray) -> np.ndarray:
    """Number of rows of each user of `by_user`, in its order: the weights of GAUC. users: shape (n,)."""
    rows = Counter(map(str, users))
    return np.array([float(rows[user]) for user in by_user])


def rows_by_user(users: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of each user, users in order of first appearance; users: shape (n,)."""
    codes, names = pd.factorize(users)
    order = np.argsort(codes, kind="stable")  # one sort: a pass over all rows for each user is too slow for many users
    return dict(zip(map(str, names), np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True))


def stratified_auc(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> tuple[float | None, int]:
    """AUC over the pairs of a liked and a disliked row of equal counts, and how many such pairs there are.

    counts: liked and disliked titles in the prompt, shape (n, 2). No function of the two counts ranks anything between
    such rows, so a system that only counts has 0.5, however long the lists are.
    """
    strata = np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)
    wins, pairs = (of_strata.sum() for of_strata in pair_wins(labels, scores, strata))
    return (float(wins / pairs) if pairs else None), int(pairs)


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation of two arrays of shape (n,), ties at their mean rank; None where either is constant."""
    if not np.ptp(first) or not np.ptp(second):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def auc_left_out(labels: np.ndarray, scores: np.ndarray, users: np.ndarray | None) -> np.ndarray:
    """AUC without each user's rows in turn (users None: without each row), shape (users,); NaN where one class is left.

    Exact from one sort: the wins without a user are all wins, less those of the user's rows against every row, plus
    those between two rows of the user, which were taken off twice.
    """
    codes = np.arange(len(labels)) if users is None else pd.factorize(users)[0]
    liked = labels.astype(bool)
    of_likes, of_dislikes = row_wins(labels, scores)
    inside, _ = pair_wins(labels, scores, codes)
    of_user = np.bincount(codes[liked], of_likes, len(inside)) + np.bincount(codes[~liked], of_dislikes, len(inside))
    likes, dislikes = (np.bincount(codes, rows) for rows in (liked, ~liked))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (of_likes.sum() - of_user + inside) / ((liked.sum() - likes) * ((~liked).sum() - dislikes))


def stratified_auc_left_out(
    labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, users: np.ndarray
) -> np.ndarray:
    """stratified_auc() without each user's rows in turn, shape (users,); NaN where no pair is left.

    As in auc_left_out(): all wins, less those of the user's rows, plus those between two rows of the user.
    """
    strata = np.unique(counts, axis=0, return_inverse=True)[1].reshape(-1)
    ranks = np.unique(scores, return_inverse=True)[1].reshape(-1)
    width, codes, liked = ranks.max() + 1, pd.factorize(users)[0], labels.astype(bool)
    keys = strata * width + ranks  # a score below all those of the next stratum
    likes, dislikes = np.sort(keys[liked]), np.sort(keys[~liked])
    ends = strata * width, (strata + 1) * width
    others = np.where(liked, *(np.searchsorted(rows, ends[1]) - np.searchsorted(rows, ends[0])
                               for rows in (dislikes, likes)))
    below, above = (np.searchsorted(rows, keys) + np.searchsorted(rows, keys, "right") for rows in (dislikes, likes))
    wins = np.where(liked, below / 2 - np.searchsorted(dislikes, ends[0]), np.searchsorted(likes, ends[1]) - above / 2)
    numbers, groups = np.unique(codes * (strata.max() + 1) + strata, return_inverse=True)
    inside_wins, inside_pairs = pair_wins(labels, scores, groups.reshape(-1))
    of_group = numbers // (strata.max() + 1)  # its user
    left_wins, left_pairs = (total[liked].sum() - np.bincount(codes, total) + np.bincount(of_group, inside)
                             for total, inside in ((wins, inside_wins), (others, inside_pairs)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return left_wins / left_pairs


def row_wins(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each liked row the disliked rows that it beats, shape (likes,), and for each disliked row the liked rows that
    beat it, shape (dislikes,); ties count a half."""
    likes, dislikes = (scores[labels == label] for label in (1, 0))
    below, above = ((np.searchsorted(others, own) + np.searchsorted(others, own, "right")) / 2
                    for own, others in ((likes, np.sort(dislikes)), (dislikes, np.sort(likes))))
    return below, len(likes) - above


def auc_interval(labels: np.ndarray, scores: np.ndarray, users: np.ndarray | None = None) -> list[float] | None:
    """95% jackknife interval of the AUC, [low, high], within 0 and 1.

    users: shape (n,); each user's rows are left out in turn. Without it, each row is. None where the AUC or one of
    those without a user is undefined, or where there are fewer than intervals.MIN_USERS users.
    """
    value = auc(labels, scores)
    return None if value is None or intervals.too_few(users) else intervals.clipped(
        intervals.jackknife(value, auc_left_out(labels, scores, users)))


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray) -> list[list[float]]:
    """[rows, mean probability, share of Yes] of each of ten equal-width bins with rows: a reliability diagram."""
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    inside = [bins == number for number in np.unique(bins)]
    return [[int(rows.sum()), float(probabilities[rows].mean()), float(labels[rows].mean())] for rows in inside]


def calibration_error(bins: list[list[float]]) -> float:
    """Expected calibration error (Guo et al., 2017) from calibration_bins."""
    return sum(rows * abs(mean - share) for rows, mean, share in bins) / sum(rows for rows, _, _ in bins)


def evaluate(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray | None, counts: np.ndarray | None = None,
    probabilities: bool = True,
) -> dict:
    """All figures of a record. labels 0/1, scores, users (or None): shape (n,).

    scores: probabilities of "Yes", or (not `probabilities`) any finite numbers: those keep their rank for every AUC and
    are clipped to [0, 1] for accuracy, log loss and calibration error alone, and have no calibration_bins, even where
    they happen to lie in [0, 1].
    counts: (n, 2) liked and disliked titles (samples.title_counts); None where the prompts have no such lists.
    """
    if not np.isfinite(scores).all():
        raise InputError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite; nothing is recorded")
    inside = np.clip(scores, 0, 1)
    if probabilities and not np.array_equal(scores, inside):
        raise ValueError("probabilities outside [0, 1]")
    clipped = np.clip(inside, 1e-12, 1 - 1e-12)
    bins = calibration_bins(labels, inside)
    by_user, mean, mean_by_rows = user_means(labels, scores, users) if users is not None else ({}, None, None)
    within, pairs = stratified_auc(labels, scores, counts) if counts is not None else (None, 0)
    return {
        "n": len(labels),
        "share_yes": float(labels.mean()),
        "auc": auc(labels, scores),
        "auc_interval_rows": auc_interval(labels, scores),
        "auc_interval_users": auc_interval(labels, scores, users) if users is not None else None,
        "users": len(set(users)) if users is not None else None,
        "interval_rule": intervals.RULE,
        "uauc": mean and mean.value,
        "uauc_interval": intervals.clipped(mean),
        "uauc_users": len(by_user),
        "gauc": mean_by_rows and mean_by_rows.value,
        "gauc_interval": intervals.clipped(mean_by_rows),
        "auc_by_user": by_user if users is not None else None,
        "stratified_auc": within,
        "stratified_pairs": pairs,
        "spearman_liked_ratio": spearman(scores, liked_ratio(counts)) if counts is not None else None,
        "accuracy": float(((inside > 0.5) == labels).mean()),
        "log_loss": float(-np.mean(np.log(np.where(labels == 1, clipped, 1 - clipped)))),
        "calibration_error": calibration_error(bins),
        "calibration_bins": bins if probabilities else None,
    }


def evaluate_subset(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> dict:
    """The figures of some of the rows, as SubsetMetrics has them."""
    by_user, mean, _ = user_means(labels, scores, users)
    return {"n": len(labels), "auc": auc(labels, scores), "uauc": mean.value if mean else None,
            "uauc_users": len(by_user)}


def format_figure(value: float | None, digits: int = 4, scale: float = 1) -> str:
    """A figure as text, times `scale`; `undefined` for None."""
    return "undefined" if value is None else f"{scale * value:.{digits}f}"


def format_interval(interval: Sequence[float] | None, digits: int = 4, scale: float = 1, between: str = " to ") -> str:
    """[low, high] as text; `undefined` for None."""
    return "undefined" if interval is None else between.join(format_figure(end, digits, scale) for end in interval)
