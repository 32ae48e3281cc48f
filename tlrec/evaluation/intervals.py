"""Intervals and tests over users: the delete-one jackknife with the quantiles of Student's t.

Of the rules compared by benchmarks/interval_coverage.py it covers best, for one figure and for differences.
"""

from typing import NamedTuple

import numpy as np

RULE = "jackknife"  # in records
MIN_USERS = 10  # with fewer, an interval over users covers but spans about a third of the range, or more


class Estimate(NamedTuple):
    """A figure, or the difference of two systems' figures: value, 95% interval, two-sided p, and the users or rows
    behind it.

    Interval and p are None where those are too few (MIN_USERS), or where nothing varies.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    units: int


def too_few(users: np.ndarray | None) -> bool:
    """Whether users (shape (n,); None: unknown) are fewer than an interval or test over users needs."""
    return users is not None and len(set(users)) < MIN_USERS


def jackknife(value: float, left_out: np.ndarray) -> Estimate:
    """95% interval and p of a figure by the delete-one jackknife, with the quantiles of Student's t.

    left_out: the figure without each user (or row) in turn, shape (units,); NaN where it is undefined, and then there
    is no interval. Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 11.
    """
    from scipy.stats import t

    units = len(left_out)
    error = float(np.sqrt((units - 1) / units * np.square(left_out - left_out.mean()).sum())) if units > 1 else np.nan
    if not np.isfinite(error) or (not error and value):
        return Estimate(float(value), None, None, None, units)
    half = float(t.ppf(0.975, units - 1)) * error
    p = float(2 * t.sf(abs(value) / error, units - 1)) if error else 1.0
    return Estimate(float(value), float(value - half), float(value + half), p, units)


def user_mean(by_user: np.ndarray, weights: np.ndarray) -> Estimate | None:
    """Weighted mean over users with its jackknife over them: UAUC (weights 1) and GAUC (weights: rows).

    by_user, weights: shape (users,). None without users; no interval from fewer than MIN_USERS.
    """
    if not len(by_user):
        return None
    value, rest = np.average(by_user, weights=weights), weights.sum() - weights
    if len(by_user) < MIN_USERS:
        return Estimate(float(value), None, None, None, len(by_user))
    return jackknife(value, (weights @ by_user - weights * by_user) / rest)


def clipped(estimate: Estimate | None) -> list[float] | None:
    """The interval of an AUC within 0 and 1, [low, high]; None where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return [max(0.0, estimate.low), min(1.0, estimate.high)]
