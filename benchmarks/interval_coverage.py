"""Coverage of the 95% intervals on a test set of 16 users of the sizes of movie/test, or of fewer users.

    python -m benchmarks.interval_coverage
    python -m benchmarks.interval_coverage --users 5

Simulated data with a normal effect per user, shared by labels and scores, so that the true value is known: 0 for the
difference of two systems of the same quality, each with a normal effect of its own per user; for one AUC, its value on
20,000 simulated users. A few minutes on one core.
"""

import itertools

import numpy as np

from tlrec import cli
from tlrec.evaluation import metrics, significance

SIZES = [10, 16, 22, 10, 53, 174, 51, 29, 132, 30, 98, 39, 97, 12, 69, 158]  # rows of each user of movie/test


def main(simulations: int = 300, seed: int = 0, users: int = len(SIZES)) -> None:
    """Print the share of simulations whose interval contains the true value.

    Args:
        simulations: number of simulated test sets
        seed: of the simulations
        users: number of users, of the sizes of movie/test's in their order, again from the first after the last
    """
    metrics.MIN_USERS = 1  # the intervals that are not given elsewhere are what is asked for
    generator = np.random.default_rng(seed)
    sizes = list(itertools.islice(itertools.cycle(SIZES), users))
    names = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    effect, labels = users_and_labels(generator, [20] * 20_000)
    truth = metrics.auc(labels, score(generator, effect, labels))
    hits = dict.fromkeys(["AUC, users drawn", "AUC, rows drawn", "difference in AUC, users drawn",
                          "difference in AUC, DeLong", "difference in UAUC, users drawn",
                          "difference in UAUC, DeLong"], 0)
    for number in range(simulations):
        effect, labels = users_and_labels(generator, sizes)
        own = [np.repeat(generator.normal(size=len(sizes)), sizes) for _ in range(2)]
        scores = score(generator, effect, labels)
        pair = [score(generator, effect, labels) + shift for shift in own]
        intervals = [
            (truth, metrics.auc_interval(labels, scores, names, number)),
            (truth, metrics.auc_interval(labels, scores, None, number)),
            *((0, (difference.low, difference.high)) for difference in (
                significance.bootstrap_auc(labels, *pair, names, number), significance.delong_auc(labels, *pair),
                significance.bootstrap_uauc(labels, *pair, names, number),
                significance.delong_uauc(labels, *pair, names))),
        ]
        for name, (value, (low, high)) in zip(hits, intervals, strict=True):
            hits[name] += low <= value <= high
    for name, count in hits.items():
        print(f"{name:32} {100 * count / simulations:.0f}%")


def users_and_labels(generator: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The user effect of each row and a label drawn from it, shape (sum of sizes,)."""
    effect = np.repeat(generator.normal(size=len(sizes)), sizes)
    return effect, (generator.random(len(effect)) < 1 / (1 + np.exp(-effect))).astype(int)


def score(generator: np.random.Generator, effect: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return effect + labels / 2 + generator.normal(size=len(effect))


if __name__ == "__main__":
    cli.run(main)
