"""Is one system better than another on the same rows? The paired difference of AUC, UAUC, GAUC and stratified AUC.

- The jackknife over users (rows, where users are unknown): what to expect of other users.
- DeLong's test (DeLong, DeLong & Clarke-Pearson, Biometrics 1988) by its structural components: what to expect of other
  rows, as if each were independent of the others.
"""

import math
from collections.abc import Sequence

import numpy as np

from tlrec.evaluation import intervals, metrics
from tlrec.evaluation.intervals import Estimate


def auc_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray | None = None
) -> Estimate | None:
    """First minus second in AUC, with its jackknife over users (None: over rows); None where a class is missing.

    labels 0/1, scores and users of shape (n,).
    """
    auc_first, auc_second = metrics.auc(labels, first), metrics.auc(labels, second)
    if auc_first is None or auc_second is None:
        return None
    value = auc_first - auc_second
    if intervals.too_few(users):
        return Estimate(value, None, None, None, len(set(users if users is not None else ())))
    return intervals.jackknife(
        value, metrics.auc_left_out(labels, first, users) - metrics.auc_left_out(labels, second, users))


def user_mean_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray, by_rows: bool = False
) -> Estimate | None:
    """First minus second in UAUC, or (by_rows) in GAUC, with its jackknife over users; None where no user has both
    classes."""
    of_first, of_second = (metrics.auc_by_user(labels, scores, users) for scores in (first, second))
    gaps = np.array([of_first[user] - of_second[user] for user in of_first])
    return intervals.user_mean(gaps, metrics.rows_of(of_first, users) if by_rows else np.ones(len(gaps)))


def stratified_auc_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, counts: np.ndarray, users: np.ndarray
) -> Estimate | None:
    """First minus second in stratified AUC, with its jackknife over users; None where no two rows of different labels
    have equal counts.

    counts: liked and disliked titles in each prompt, shape (n, 2).
    """
    of_first, of_second = (metrics.stratified_auc(labels, scores, counts)[0] for scores in (first, second))
    if of_first is None or of_second is None:
        return None
    if intervals.too_few(users):
        return Estimate(of_first - of_second, None, None, None, len(set(users)))
    left_out = (metrics.stratified_auc_left_out(labels, scores, counts, users) for scores in (first, second))
    return intervals.jackknife(of_first - of_second, next(left_out) - next(left_out))


def delong_auc(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Estimate | None:
    """DeLong's test of the difference in AUC; None where a class has fewer than two rows. Arrays of shape (n,)."""
    moments = _delong_moments(labels, first, second)
    return None if moments is None else _normal(*moments, len(labels))


def delong_uauc(labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray) -> Estimate | None:
    """DeLong's test of the difference in UAUC: the mean of the users' differences, each with its DeLong variance.

    It takes the users as given. The variance needs two rows of each class, so `value` and `units` are those of the
    users who have them, who can be fewer than those of the UAUC; None where there is no such user.
    """
    moments = [_delong_moments(labels[rows], first[rows], second[rows])
               for rows in metrics.rows_by_user(users).values()]
    moments = [pair for pair in moments if pair is not None]
    if not moments:
        return None
    values, variances = np.array(moments).T
    if len(moments) < intervals.MIN_USERS:
        return Estimate(float(values.mean()), None, None, None, len(moments))
    return _normal(values.mean(), variances.sum() / len(moments) ** 2, len(moments))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 1979) over the tests that have a p."""
    defined = sorted((p, number) for number, p in enumerate(p_values) if p is not None)
    adjusted, largest = list(p_values), 0.0
    for rank, (p, number) in enumerate(defined):
        adjusted[number] = largest = max(largest, min(1.0, (len(defined) - rank) * p))
    return adjusted


def _delong_moments(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float] | None:
    """Difference in AUC and its variance; None where a class has fewer than two rows."""
    likes = int(labels.sum())
    dislikes = len(labels) - likes
    if min(likes, dislikes) < 2:
        return None
    pairs = zip(metrics.row_wins(labels, first), metrics.row_wins(labels, second), strict=True)
    of_likes, of_dislikes = ((one - other) / count for (one, other), count in zip(pairs, (dislikes, likes),
                                                                                 strict=True))
    variance = of_likes.var(ddof=1) / likes + of_dislikes.var(ddof=1) / dislikes
    return float(of_likes.mean()), float(variance)


def _normal(value: float, variance: float, units: int) -> Estimate:
    error = math.sqrt(variance)
    if not error and value:  # as where each system ranks every pair alike: the normal approximation says nothing
        return Estimate(float(value), None, None, None, units)
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error else 1.0
    return Estimate(float(value), float(value - 1.959964 * error), float(value + 1.959964 * error), p, units)
