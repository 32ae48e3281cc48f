"""AUC and what must be read beside it: its intervals, per-user and stratified AUC, what the score owes to counting
liked titles, accuracy, log loss, calibration.

Undefined values (AUC of a single class, per-user AUC without users) are None.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tlrec.data.samples import liked_ratio
from tlrec.errors import InputError

RESAMPLES = 2_000
MIN_USERS = 10  # with fewer, the intervals over users cover too seldom (benchmarks/interval_coverage.py)
CALIBRATION_BINS = 10


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve; labels 0/1 and scores of shape (n,). None where there is only one class."""
    if labels.min() == labels.max():
        return None
    return float(weighted_auc(labels, scores, np.ones((1, len(labels))))[0])


def uauc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> tuple[float | None, int]:
    """Mean AUC over the users who have both classes, and how many they are."""
    values = list(auc_by_user(labels, scores, users).values())
    return (float(np.mean(values)) if values else None), len(values)


def auc_by_user(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> dict[str, float]:
    """AUC of each user who has both classes, users in order of first appearance."""
    values = {user: auc(labels[rows], scores[rows]) for user, rows in rows_by_user(users).items()}
    return {user: value for user, value in values.items() if value is not None}


def rows_by_user(users: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of each user, users in order of first appearance; users: shape (n,)."""
    codes, names = pd.factorize(users)
    order = np.argsort(codes, kind="stable")  # one sort: a pass over all rows for each user is too slow for many users
    return dict(zip(map(str, names), np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True))


def stratified_auc(labels: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> tuple[float | None, int]:
    """AUC over the (liked, disliked) pairs of rows within one stratum, and how many such pairs there are.

    strata: shape (n,), here the number of liked titles in the prompt: between rows of equal number, counting liked
    titles ranks nothing, so a system that only counts has 0.5.
    """
    wins, pairs = 0.0, 0
    for stratum in np.unique(strata):
        inside = strata == stratum
        likes = int(labels[inside].sum())
        pairs_inside = likes * (int(inside.sum()) - likes)
        value = auc(labels[inside], scores[inside])
        if value is not None:
            wins += value * pairs_inside
            pairs += pairs_inside
    return (wins / pairs if pairs else None), pairs


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation of two arrays of shape (n,), ties at their mean rank; None where either is constant."""
    if not np.ptp(first) or not np.ptp(second):
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None, seed: int = 0
) -> list[float] | None:
    """95% percentile bootstrap interval of the AUC, [low, high].

    clusters: shape (n,); whole clusters (users) are drawn with replacement. Without it, rows are. Resamples with a
    single class are left out; None where no resample has two, or where there are fewer than MIN_USERS clusters.
    """
    if too_few(clusters):
        return None
    drawn = resampled_weights(len(labels), clusters, seed)
    values = np.concatenate([weighted_auc(labels, scores, weights) for weights in drawn])
    values = values[~np.isnan(values)]
    return [float(v) for v in np.percentile(values, [2.5, 97.5])] if len(values) else None


def too_few(users: np.ndarray | None) -> bool:
    """Whether users (shape (n,); None: unknown) are fewer than an interval or test over users needs."""
    return users is not None and len(set(users)) < MIN_USERS


def _texts(users: np.ndarray) -> np.ndarray:
    """User ids as Python strings: an array of numpy's would give each the width of the longest."""
    return np.array([str(user) for user in users], dtype=object)


def resampled_weights(rows: int, clusters: np.ndarray | None, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn in each of 2,000 bootstrap resamples, shape (200, rows) at a time to bound memory.

    clusters: shape (rows,); whole clusters are drawn with replacement. Without it, rows are.
    """
    codes = np.arange(rows) if clusters is None else pd.factorize(_texts(clusters), sort=True)[0]
    count = codes.max() + 1
    generator = np.random.default_rng(seed)
    for _ in range(0, RESAMPLES, 200):
        yield generator.multinomial(count, np.full(count, 1 / count), size=200)[:, codes]


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC under each row of weights (resamples, n); ties count a half; NaN where a class has no weight."""
    order = np.argsort(scores, kind="stable")
    sorted_scores = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1]]))
    weights, positive = weights[:, order].astype(float), labels[order].astype(bool)
    likes = np.add.reduceat(weights * positive, starts, axis=1)
    dislikes = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(dislikes, axis=1) - dislikes
    pairs = likes.sum(axis=1) * dislikes.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (likes * (below + dislikes / 2)).sum(axis=1) / pairs


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
    by_user = auc_by_user(labels, scores, users) if users is not None else {}
    within, pairs = stratified_auc(labels, scores, counts[:, 0]) if counts is not None else (None, 0)
    return {
        "n": len(labels),
        "share_yes": float(labels.mean()),
        "auc": auc(labels, scores),
        "auc_interval_rows": auc_interval(labels, scores),
        "auc_interval_users": auc_interval(labels, scores, users) if users is not None else None,
        "users": len(set(users)) if users is not None else None,
        "uauc": float(np.mean(list(by_user.values()))) if by_user else None,
        "uauc_users": len(by_user),
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
    mean, count = uauc(labels, scores, users)
    return {"n": len(labels), "auc": auc(labels, scores), "uauc": mean, "uauc_users": count}


def format_figure(value: float | None, digits: int = 4, scale: float = 1) -> str:
    """A figure as text, times `scale`; `undefined` for None."""
    return "undefined" if value is None else f"{scale * value:.{digits}f}"


def format_interval(interval: Sequence[float] | None, digits: int = 4, scale: float = 1, between: str = " to ") -> str:
    """[low, high] as text; `undefined` for None."""
    return "undefined" if interval is None else between.join(format_figure(end, digits, scale) for end in interval)
