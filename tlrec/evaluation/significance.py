"""Is one system better than another on the same rows? The paired difference of AUC and of UAUC, twice over.

- A bootstrap that draws whole users with replacement (rows, where users are unknown): what to expect of other users.
- DeLong's test (DeLong, DeLong & Clarke-Pearson, Biometrics 1988) by midranks, which is the fast form of Sun & Xu (IEEE
  Signal Processing Letters 2014): what to expect of other rows, as if each were independent of the others.
"""

import math
from typing import NamedTuple

import numpy as np

from tlrec.evaluation import metrics


class Difference(NamedTuple):
    """First system minus second: value, 95% interval, two-sided p, and the users or rows behind it.

    Interval and p are None where those are too few users (metrics.MIN_USERS), or where the differences do not vary.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    units: int


def bootstrap_auc(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None = None, seed: int = 0
) -> Difference | None:
    """Paired percentile bootstrap of the difference in AUC; None where a class is missing.

    labels 0/1, scores and clusters (users; None: every row for itself) of shape (n,). Both systems see the same draws.
    """
    auc_first, auc_second = metrics.auc(labels, first), metrics.auc(labels, second)
    if auc_first is None or auc_second is None:
        return None
    units = len(labels) if clusters is None else len(set(clusters))
    if metrics.too_few(clusters):
        return Difference(auc_first - auc_second, None, None, None, units)
    drawn = [metrics.weighted_auc(labels, first, weights) - metrics.weighted_auc(labels, second, weights)
             for weights in metrics.resampled_weights(len(labels), clusters, seed)]
    return _percentiles(auc_first - auc_second, np.concatenate(drawn), units)


def bootstrap_uauc(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray, seed: int = 0
) -> Difference | None:
    """Paired percentile bootstrap, over users, of the difference in UAUC; None where no user has both classes."""
    of_first, of_second = (metrics.auc_by_user(labels, scores, users) for scores in (first, second))
    if not of_first:
        return None
    gaps = np.array([of_first[user] - of_second[user] for user in of_first])
    if len(gaps) < metrics.MIN_USERS:
        return Difference(float(gaps.mean()), None, None, None, len(gaps))
    drawn = [weights @ gaps / len(gaps) for weights in metrics.resampled_weights(len(gaps), None, seed)]
    return _percentiles(gaps.mean(), np.concatenate(drawn), len(gaps))


def delong_auc(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference | None:
    """DeLong's test of the difference in AUC; None where a class has fewer than two rows. Arrays of shape (n,)."""
    moments = _delong_moments(labels, first, second)
    return None if moments is None else _normal(*moments, len(labels))


def delong_uauc(labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray) -> Difference | None:
    """DeLong's test of the difference in UAUC: the mean of the users' differences, each with its DeLong variance.

    It takes the users as given. The variance needs two rows of each class, so `units` (users) can be fewer than those
    of the UAUC; None where there is no such user.
    """
    moments = [_delong_moments(labels[rows], first[rows], second[rows])
               for rows in metrics.rows_by_user(users).values()]
    moments = [pair for pair in moments if pair is not None]
    if not moments:
        return None
    values, variances = np.array(moments).T
    if len(moments) < metrics.MIN_USERS:
        return Difference(float(values.mean()), None, None, None, len(moments))
    return _normal(values.mean(), variances.sum() / len(moments) ** 2, len(moments))


def delong_components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components: for each positive row the share of negatives below it, shape (positives,), and
    for each negative row the share of positives above it, shape (negatives,); ties count a half."""
    from scipy.stats import rankdata

    positive = labels.astype(bool)
    likes, dislikes = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    of_positives = (ranks[positive] - rankdata(scores[positive])) / dislikes
    of_negatives = 1 - (ranks[~positive] - rankdata(scores[~positive])) / likes
    return of_positives, of_negatives


def _delong_moments(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float] | None:
    """Difference in AUC and its variance; None where a class has fewer than two rows."""
    if min(labels.sum(), len(labels) - labels.sum()) < 2:
        return None
    pairs = zip(delong_components(labels, first), delong_components(labels, second), strict=True)
    of_positives, of_negatives = (one - other for one, other in pairs)
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return float(of_positives.mean()), float(variance)


def _normal(value: float, variance: float, units: int) -> Difference:
    error = math.sqrt(variance)
    if not error and value:  # as where each system ranks every pair alike: the normal approximation says nothing
        return Difference(float(value), None, None, None, units)
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error else 1.0
    return Difference(float(value), float(value - 1.959964 * error), float(value + 1.959964 * error), p, units)


def _percentiles(value: float, drawn: np.ndarray, units: int) -> Difference:
    """Percentile interval; p doubles the smaller tail, one draw added to each (Davison & Hinkley 1997)."""
    drawn = drawn[~np.isnan(drawn)]
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(float(value), float(low), float(high), min(1.0, 2 * tail / (len(drawn) + 1)), units)
