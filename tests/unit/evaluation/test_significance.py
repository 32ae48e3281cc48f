"""DeLong against its definition of 1988 and an exact small case, the bootstrap by its coverage."""

import numpy as np
import pytest
from scipy.stats import norm

from tlrec.evaluation import metrics, significance


def made(count, seed, users=10):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    first = np.round(generator.normal(size=count) + 0.8 * labels, 1)  # ties
    second = np.round(0.5 * first + generator.normal(size=count) + 0.2 * labels, 1)
    return labels, first, second, generator.integers(0, users, count).astype(str)


def delong_of_1988(labels, first, second):
    """All pairs of rows, the 2 x 2 covariances of the structural components, the contrast (1, -1)."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    v10, v01 = np.zeros((2, len(positive))), np.zeros((2, len(negative)))
    for system, scores in enumerate((first, second)):
        wins = np.array([[1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
                          for j in negative] for i in positive])
        v10[system], v01[system] = wins.mean(axis=1), wins.mean(axis=0)
    covariance = np.cov(v10) / len(positive) + np.cov(v01) / len(negative)
    contrast = np.array([1, -1])
    return contrast @ v10.mean(axis=1), contrast @ covariance @ contrast


def test_delong_equals_its_definition_over_all_pairs():
    for seed in range(5):
        labels, first, second, _ = made(70, seed)
        value, variance = delong_of_1988(labels, first, second)
        found = significance.delong_auc(labels, first, second)
        assert found.value == pytest.approx(value, abs=1e-12)
        assert found.value == pytest.approx(metrics.auc(labels, first) - metrics.auc(labels, second), abs=1e-12)
        assert (found.high - found.low) / 2 == pytest.approx(norm.ppf(0.975) * np.sqrt(variance), abs=1e-6)
        assert found.p == pytest.approx(2 * norm.sf(abs(value) / np.sqrt(variance)), abs=1e-9)


def test_delong_by_hand():
    """Positives 3 and 1, negatives 2 and 0 against a constant: components 1, 1/2 and 1/2, 1 against 1/2 throughout."""
    labels, first = np.array([1, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 0.0])
    found = significance.delong_auc(labels, first, np.zeros(4))
    assert found.value == 0.25  # AUC 3/4 against 1/2; variance 1/8 / 2 + 1/8 / 2 = 1/8
    assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(1 / 8))


def test_delong_of_uauc_is_the_mean_over_users():
    labels, first, second, users = made(200, 3)
    parts = [delong_of_1988(*(array[users == user] for array in (labels, first, second))) for user in set(users)]
    found = significance.delong_uauc(labels, first, second, users)
    assert found.value == pytest.approx(np.mean([value for value, _ in parts]), abs=1e-12) and found.units == 10
    assert found.value == pytest.approx(
        metrics.uauc(labels, first, users)[0] - metrics.uauc(labels, second, users)[0], abs=1e-12)
    error = np.sqrt(np.sum([variance for _, variance in parts])) / 10
    assert found.high - found.value == pytest.approx(1.959964 * error)


def test_bootstrap_and_delong_agree_on_independent_rows():
    """Of one level: 90% intervals would be 16% narrower, and a one-sided p half as large."""
    checked = 0
    for seed in range(12):
        labels, first, second, _ = made(600, seed)
        drawn, exact = significance.bootstrap_auc(labels, first, second), significance.delong_auc(labels, first, second)
        assert drawn.value == pytest.approx(exact.value, abs=1e-12)
        assert drawn.high - drawn.low == pytest.approx(exact.high - exact.low, rel=0.1)
        one = metrics.auc_interval(labels, first)
        of_one = significance.delong_auc(labels, first, np.zeros(600))  # against a constant: the AUC's own interval
        assert one[1] - one[0] == pytest.approx(of_one.high - of_one.low, rel=0.1)
        weaker = second + np.linspace(0, 1, 12)[seed] * first  # from clearly worse to nearly equal
        drawn, exact = significance.bootstrap_auc(labels, first, weaker), significance.delong_auc(labels, first, weaker)
        if 0.02 < exact.p < 0.7:
            assert drawn.p == pytest.approx(exact.p, rel=0.35)
            checked += 1
    assert checked >= 2


def test_comparisons_of_one_class_are_none_and_of_equal_systems_zero():
    labels, first, second, users = made(200, 0)
    assert significance.delong_auc(np.ones(200, int), first, second) is None
    assert significance.bootstrap_auc(np.ones(200, int), first, second) is None
    assert significance.bootstrap_uauc(np.ones(200, int), first, second, users) is None
    assert (
        significance.delong_uauc(np.array([1, 0, 0]), *np.ones((2, 3)), np.array(list("aaa"))) is None
    )  # one positive
    for found in (significance.delong_auc(labels, first, first), significance.delong_uauc(labels, first, first, users),
                  significance.bootstrap_auc(labels, first, first, users),
                  significance.bootstrap_uauc(labels, first, first, users)):
        assert found[:4] == (0, 0, 0, 1)


def test_tests_over_fewer_than_ten_users_give_no_p():
    labels, first, second, _ = made(200, 0)
    for count in (1, 2, 9):
        users = (np.arange(200) // 2 % count).astype(str)
        for found in (significance.bootstrap_auc(labels, first, second, users),
                      significance.bootstrap_uauc(labels, first, second, users),
                      significance.delong_uauc(labels, first, second, users)):
            assert found[1:] == (None, None, None, count) and np.isfinite(found.value)
    perfect = significance.delong_auc(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    assert perfect[:4] == (1, None, None, None)  # no variance: not a p of 0 from four rows


def test_swapping_systems_flips_the_sign():
    labels, first, second, users = made(120, 1)
    for function in (significance.bootstrap_auc, significance.bootstrap_uauc, significance.delong_uauc):
        one, other = function(labels, first, second, users), function(labels, second, first, users)
        assert (one.value, one.low) == pytest.approx((-other.value, -other.high)) and one.p == other.p


def test_intervals_cover_the_truth_with_user_effects():
    """Labels and both scores share an effect of the user, and the systems are alike but for noise: the true difference
    is 0. Of 200 intervals 95% should hold it: 190, with a standard deviation of 3; a percentile interval from 30 users
    holds it a little less often. In the other simulation the true difference is known: AUC 0.7602 - 0.5."""
    generator = np.random.default_rng(0)
    hits = {"auc": 0, "uauc": 0, "known": 0, "known, DeLong": 0}
    users = np.repeat(np.arange(30), 8)
    for seed in range(200):
        effect = np.repeat(generator.normal(size=30), 8)
        labels = (generator.random(240) < 1 / (1 + np.exp(-effect))).astype(int)
        first, second = (effect + np.repeat(generator.normal(size=30), 8) + labels + generator.normal(size=240)
                         for _ in range(2))
        found = significance.bootstrap_auc(labels, first, second, users, seed)
        hits["auc"] += found.low <= 0 <= found.high
        found = significance.bootstrap_uauc(labels, first, second, users, seed)
        hits["uauc"] += found.low <= 0 <= found.high
        coins, noise = generator.integers(0, 2, 120), generator.normal(size=120)
        informed = coins + generator.normal(size=120)  # AUC: Phi(1 / sqrt 2)
        truth = norm.cdf(1 / np.sqrt(2)) - 0.5
        found = significance.bootstrap_auc(coins, informed, noise, None, seed)
        hits["known"] += found.low <= truth <= found.high
        found = significance.delong_auc(coins, informed, noise)
        hits["known, DeLong"] += found.low <= truth <= found.high
    assert all(176 <= count <= 199 for count in hits.values()), hits


def test_bootstrap_over_users_is_wider_with_user_effects():
    generator = np.random.default_rng(1)
    users = np.repeat(np.arange(16), 40)
    effect = np.repeat(generator.normal(size=16), 40)
    labels = (generator.random(640) < 1 / (1 + np.exp(-effect))).astype(int)
    first, second = effect, np.repeat(generator.normal(size=16), 40)
    by_rows = significance.bootstrap_auc(labels, first, second)
    by_users = significance.bootstrap_auc(labels, first, second, users)
    assert by_users.high - by_users.low > 2 * (by_rows.high - by_rows.low)
    assert by_rows.units == 640 and by_users.units == 16
