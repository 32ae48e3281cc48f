"""Coverage of 95% intervals on simulated test sets with as many users, and rows of each, as movie/test has, or fewer.

    python -m benchmarks.interval_coverage          # about two minutes on one core

Rules: the delete-one-user jackknife with t quantiles (tlrec.evaluation.intervals), the percentile bootstrap over users,
and rules that take rows as independent. Users differ in how much they like, which labels and scores share, and in how
well a system ranks for them. The truth of a figure is its mean over 4,000 other sets of the same sizes; that of a
difference of two systems drawn alike is 0. Writes results/reference/intervals/coverage.json and coverage.md.
"""

import itertools
from typing import NamedTuple

import numpy as np

from benchmarks import record
from tlrec import cli
from tlrec.evaluation import intervals, metrics, significance
from tlrec.evaluation.intervals import Estimate

SIZES = [10, 16, 22, 10, 53, 174, 51, 29, 132, 30, 98, 39, 97, 12, 69, 158]  # rows of each user of movie/test
SETS_FOR_TRUTH, RESAMPLES = 4_000, 2_000
COLUMNS = {"users": "{users}", "figure": "{figure}", "jackknife over users": "{jackknife:.1f}%",
           "percentile bootstrap over users": "{bootstrap:.1f}%", "rows as if independent": "{rows:.1f}%",
           "mean width: jackknife": "{jackknife_width:.3f}", "bootstrap": "{bootstrap_width:.3f}"}
NOTE = ("Share of simulated test sets whose nominal 95% interval holds the true value (give or take 1 point). Rows as "
        "if independent: for one AUC the jackknife over rows, for differences DeLong's test.")


class TestSet(NamedTuple):
    """Users, labels and the scores of one system of interest and two to be compared, of a simulated test set."""

    users: np.ndarray
    labels: np.ndarray
    scores: list[np.ndarray]


def main(simulations: int = 2_000, seed: int = 0, users: list[int] = (16, 10, 8, 5)) -> None:
    """Measure the share of simulations whose interval contains the true value.

    Args:
        simulations: number of simulated test sets
        seed: of the simulations
        users: numbers of users, of the sizes of movie/test's in their order, again from the first after the last
    """
    intervals.MIN_USERS = 2  # the intervals that are not given elsewhere are what is asked for
    measurements = [row for count in users for row in coverage(int(count), simulations, seed)]
    record.write("intervals", "coverage", "interval_coverage", COLUMNS, measurements,
                 f"{NOTE} {simulations:,} simulations, seed {seed}.", seed=seed, simulations=simulations,
                 sets_for_truth=SETS_FOR_TRUTH, resamples=RESAMPLES)


def coverage(count: int, simulations: int, seed: int) -> list[dict]:
    """One row a figure: percentages of coverage, mean widths of the intervals over users."""
    sizes = list(itertools.islice(itertools.cycle(SIZES), count))
    generator = np.random.default_rng(seed)
    figures = [_figures(simulate(generator, sizes)) for _ in range(SETS_FOR_TRUTH)]
    truth = dict(zip(("AUC", "UAUC", "GAUC"), np.nanmean(figures, axis=0), strict=True))
    hits: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for _ in range(simulations):
        test = simulate(generator, sizes)
        for figure, rules in estimates(test, generator).items():
            for rule, interval in rules.items():
                value = truth.get(figure, 0.0)
                hits.setdefault((figure, rule), []).append((interval[0] <= value <= interval[1],
                                                            interval[1] - interval[0]))
    means = {key: np.mean(outcomes, axis=0) for key, outcomes in hits.items()}
    return [{"users": count, "figure": figure, "truth": truth.get(figure, 0.0),
             **{rule: float(100 * means[figure, rule][0]) for name, rule in means if name == figure},
             **{f"{rule}_width": float(means[figure, rule][1]) for name, rule in means if name == figure}}
            for figure in dict.fromkeys(figure for figure, _ in means)]


def simulate(generator: np.random.Generator, sizes: list[int]) -> TestSet:
    """Labels follow a normal effect of the user; scores that effect, the label with a weight of the user's own, noise,
    and for the two systems to be compared an effect of their own per user."""
    users = np.repeat(np.arange(len(sizes)), sizes)
    effect = generator.normal(size=len(sizes))[users]
    labels = (generator.random(len(users)) < 1 / (1 + np.exp(-effect))).astype(int)
    scores = []
    for own in (0, 1, 1):
        weight, shift = 0.5 + generator.normal(size=len(sizes)) / 2, own * generator.normal(size=len(sizes))
        scores.append(effect + labels * weight[users] + shift[users] + generator.normal(size=len(users)))
    return TestSet(users, labels, scores)


def _figures(test: TestSet) -> list[float]:
    wins, pairs = metrics.pair_wins(test.labels, test.scores[0], test.users)
    both, rows = pairs > 0, np.bincount(test.users)
    by_user = wins[both] / pairs[both]
    auc = metrics.auc(test.labels, test.scores[0])
    return [np.nan if auc is None else auc, by_user.mean(), np.average(by_user, weights=rows[both])]


def estimates(test: TestSet, generator: np.random.Generator) -> dict[str, dict[str, tuple[float, float]]]:
    """The intervals of each figure by each rule."""
    users, labels, (first, *pair) = test
    rows = np.bincount(users)
    count = len(rows)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    matrices = [wins_of_users(labels, scores, users, count) for scores in test.scores]
    likes = np.bincount(users, labels)
    with np.errstate(invalid="ignore"):
        aucs, other = ((np.einsum("bu,uv,bv->b", drawn, matrix, drawn) / ((drawn @ likes) * (drawn @ (rows - likes))))
                       for matrix in (matrices[0], matrices[1] - matrices[2]))
    both = likes * (rows - likes) > 0
    by_user = [np.diag(matrix)[both] / (likes * (rows - likes))[both] for matrix in matrices]
    resampled = generator.multinomial(both.sum(), np.full(both.sum(), 1 / both.sum()), size=RESAMPLES)

    def of_users(values: np.ndarray, weights: np.ndarray) -> dict:
        return {"jackknife": _ends(intervals.user_mean(values, weights)),
                "bootstrap": _percentiles(resampled @ (values * weights) / (resampled @ weights))}

    gaps, equal, weights = by_user[1] - by_user[2], np.ones(both.sum()), rows[both].astype(float)
    jackknife = intervals.jackknife(metrics.auc(labels, first), metrics.auc_left_out(labels, first, users))
    over_rows = intervals.jackknife(metrics.auc(labels, first), metrics.auc_left_out(labels, first, None))
    return {
        "AUC": {"jackknife": _ends(jackknife), "bootstrap": _percentiles(aucs), "rows": _ends(over_rows)},
        "UAUC": of_users(by_user[0], equal),
        "GAUC": of_users(by_user[0], weights),
        "difference in AUC": {"jackknife": _ends(significance.auc_difference(labels, *pair, users)),
                              "bootstrap": _percentiles(other), "rows": _ends(significance.delong_auc(labels, *pair))},
        "difference in UAUC": of_users(gaps, equal) | {"rows": _ends(
            significance.delong_uauc(labels, *pair, users))},
        "difference in GAUC": of_users(gaps, weights),
    }


def wins_of_users(labels: np.ndarray, scores: np.ndarray, users: np.ndarray, count: int) -> np.ndarray:
    """Pairs that a liked row of one user wins against a disliked row of another, shape (users, users): of resamples of
    whole users the AUC is a quadratic form of it."""
    order = np.argsort(scores)  # the simulated scores have no ties
    users, liked = users[order], labels[order].astype(bool)
    below = np.cumsum((users[:, None] == np.arange(count)) & ~liked[:, None], axis=0)
    matrix = np.zeros((count, count))
    np.add.at(matrix, users[liked], below[liked])
    return matrix


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return low, high


def _ends(estimate: Estimate | None) -> tuple[float, float]:
    """An undefined interval is no interval: it misses, with a width of 0."""
    return (1.0, 1.0) if estimate is None or estimate.low is None else (estimate.low, estimate.high)


if __name__ == "__main__":
    cli.run(main)
