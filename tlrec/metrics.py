"""AUC and what must be read beside it: its intervals, per-user AUC, accuracy, log loss, calibration.

Undefined values (AUC of a single class, per-user AUC without users) are None.
"""

import numpy as np

RESAMPLES = 2_000
CALIBRATION_BINS = 10


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve; labels 0/1 and scores of shape (n,). None where there is only one class."""
    value = _weighted_auc(labels, scores, np.ones((1, len(labels))))[0]
    return None if np.isnan(value) else float(value)


def uauc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> tuple[float | None, int]:
    """Mean AUC over the users who have both classes, and how many they are."""
    values = [auc(labels[users == user], scores[users == user]) for user in dict.fromkeys(users)]
    defined = [value for value in values if value is not None]
    return (float(np.mean(defined)) if defined else None), len(defined)


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None, seed: int = 0
) -> list[float] | None:
    """95% percentile bootstrap interval of the AUC, [low, high].

    clusters: shape (n,); whole clusters (users) are drawn with replacement. Without it, rows are. Resamples with a
    single class are left out; None where no resample has two.
    """
    _, codes = np.unique(np.arange(len(labels)) if clusters is None else clusters.astype(str), return_inverse=True)
    count = codes.max() + 1
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(0, RESAMPLES, 200):  # in parts, to bound memory
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=200)
        values.append(_weighted_auc(labels, scores, drawn[:, codes]))
    values = np.concatenate(values)
    values = values[~np.isnan(values)]
    return [float(v) for v in np.percentile(values, [2.5, 97.5])] if len(values) else None


def _weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
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


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error over ten equal-width bins (Guo et al., 2017)."""
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=probabilities - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def evaluate(labels: np.ndarray, probabilities: np.ndarray, users: np.ndarray | None) -> dict:
    """All figures of a record. labels 0/1, probabilities of "Yes", users (or None): shape (n,)."""
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    per_user, counted = uauc(labels, probabilities, users) if users is not None else (None, 0)
    return {
        "n": len(labels),
        "share_yes": float(labels.mean()),
        "auc": auc(labels, probabilities),
        "auc_interval_rows": auc_interval(labels, probabilities),
        "auc_interval_users": auc_interval(labels, probabilities, users) if users is not None else None,
        "uauc": per_user,
        "uauc_users": counted,
        "accuracy": float(((probabilities > 0.5) == labels).mean()),
        "log_loss": float(-np.mean(np.log(np.where(labels == 1, clipped, 1 - clipped)))),
        "calibration_error": calibration_error(labels, probabilities),
    }
