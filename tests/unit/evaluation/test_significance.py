"""DeLong against its definition of 1988, an exact small case and MLstatkit; the jackknife by its coverage."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu, norm, t

from tlrec.evaluation import metrics, significance


def simulate(count, seed, users=10):
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
        labels, first, second, _ = simulate(70, seed)
        value, variance = delong_of_1988(labels, first, second)
        estimate = significance.delong_auc(labels, first, second)
        assert estimate.value == pytest.approx(value, abs=1e-12)
        assert estimate.value == pytest.approx(metrics.auc(labels, first) - metrics.auc(labels, second), abs=1e-12)
        assert (estimate.high - estimate.low) / 2 == pytest.approx(norm.ppf(0.975) * np.sqrt(variance), abs=1e-6)
        assert estimate.p == pytest.approx(2 * norm.sf(abs(value) / np.sqrt(variance)), abs=1e-9)


def test_delong_equals_mlstatkit():
    """The figures of MLstatkit 0.1.91 on PyPI: Delong_test(labels, first, second), whose difference is the second less
    the first, with the intervals of both AUCs. AUC once more by scipy's Mann-Whitney U."""
    labels = np.array([int(digit) for digit in "1101001011010011010110010110100011101001"])
    rows = np.arange(40)
    first = (7 * rows**2 + 3 * rows + 11 * labels) % 17 + 4.0 * labels
    second = (5 * rows**2 + 2 * rows) % 13 + 2.0 * labels
    estimate = significance.delong_auc(labels, first, second)
    assert estimate.value == pytest.approx(0.8671679197994988 - 0.6616541353383458, abs=1e-12)
    assert estimate.p == pytest.approx(0.07135247876336816, abs=1e-9)
    assert estimate.value / (estimate.high - estimate.value) == pytest.approx(1.8032275926030652 / 1.959964, abs=1e-9)
    for scores, low, high in ((first, 0.7450500575868172, 0.9892857820121804),
                              (second, 0.4853640145450498, 0.8379442561316419)):
        own = significance.delong_auc(labels, scores, np.zeros(40))  # against a constant: the AUC's own interval
        assert (own.low + 0.5, own.high + 0.5) == pytest.approx((low, high), abs=1e-7)
        statistic = mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
        assert metrics.auc(labels, scores) == statistic / (labels.sum() * (1 - labels).sum())


def test_delong_by_hand():
    """Positives 3 and 1, negatives 2 and 0 against a constant: components 1, 1/2 and 1/2, 1 against 1/2 throughout."""
    labels, first = np.array([1, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 0.0])
    estimate = significance.delong_auc(labels, first, np.zeros(4))
    assert estimate.value == 0.25  # AUC 3/4 against 1/2; variance 1/8 / 2 + 1/8 / 2 = 1/8
    assert estimate.high - estimate.value == pytest.approx(1.959964 * np.sqrt(1 / 8))


def test_delong_of_uauc_is_the_mean_over_users():
    labels, first, second, users = simulate(200, 3)
    parts = [delong_of_1988(*(array[users == user] for array in (labels, first, second))) for user in set(users)]
    estimate = significance.delong_uauc(labels, first, second, users)
    assert estimate.value == pytest.approx(np.mean([value for value, _ in parts]), abs=1e-12) and estimate.units == 10
    assert estimate.value == pytest.approx(
        np.subtract(*(metrics.user_means(labels, scores, users)[1].value for scores in (first, second))), abs=1e-12)
    error = np.sqrt(np.sum([variance for _, variance in parts])) / 10
    assert estimate.high - estimate.value == pytest.approx(1.959964 * error)


def test_delong_of_uauc_counts_the_users_it_takes():
    """A user with a single disliked row has an AUC and no DeLong variance: value and users are without this one."""
    labels, first, second, users = simulate(200, 3)
    labels, first, second = np.append(labels, [1, 0]), np.append(first, [9, 0]), np.append(second, [0, 9])
    users = np.append(users, ["x", "x"])
    estimate, mean = significance.delong_uauc(labels, first, second, users), significance.user_mean_difference(
        labels, first, second, users)
    assert (estimate.units, mean.units) == (10, 11)
    assert mean.value == pytest.approx((10 * estimate.value + 1) / 11)


def test_jackknife_and_delong_agree_on_independent_rows():
    """Of one level: 90% intervals would be 16% narrower, and a one-sided p half as large."""
    checked = 0
    for seed in range(12):
        labels, first, second, _ = simulate(600, seed)
        rows, exact = significance.auc_difference(labels, first, second), significance.delong_auc(labels, first, second)
        assert rows.value == pytest.approx(exact.value, abs=1e-12) and rows.units == 600
        assert rows.high - rows.low == pytest.approx(exact.high - exact.low, rel=0.01)
        weaker = second + np.linspace(0, 1, 12)[seed] * first  # from clearly worse to nearly equal
        rows, exact = significance.auc_difference(labels, first, weaker), significance.delong_auc(labels, first, weaker)
        if exact.p > 1e-3:
            assert rows.p == pytest.approx(exact.p, rel=0.05)
            checked += 1
    assert checked >= 2


def test_differences_of_means_are_paired_t_tests_over_users():
    labels, first, second, users = simulate(200, 3)
    of_first, of_second = (metrics.auc_by_user(labels, scores, users) for scores in (first, second))
    gaps = np.array([of_first[user] - of_second[user] for user in of_first])
    estimate = significance.user_mean_difference(labels, first, second, users)
    half = t.ppf(0.975, 9) * gaps.std(ddof=1) / np.sqrt(10)
    assert estimate[:3] == pytest.approx((gaps.mean(), gaps.mean() - half, gaps.mean() + half)) and estimate.units == 10
    by_rows = significance.user_mean_difference(labels, first, second, users, by_rows=True)
    rows = np.array([(users == user).sum() for user in of_first])
    assert by_rows.value == pytest.approx(np.average(gaps, weights=rows)) and by_rows.value != estimate.value


def test_holm_by_its_closed_form():
    """Holm's own rule: p times the number of tests that are not smaller, never less than a smaller one's."""
    assert significance.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert significance.holm([0.5, 0.9]) == [1, 1] and significance.holm([None]) == [None] and not significance.holm([])
    p = np.random.default_rng(0).random(20) ** 3
    adjusted = significance.holm(list(p))
    expected = [max(min(1, p[j] * (p >= p[j]).sum()) for j in range(20) if p[j] <= p[i]) for i in range(20)]
    assert adjusted == pytest.approx(expected)
    assert (np.array(adjusted) >= false_discovery_control(p) - 1e-12).all()  # stricter than Benjamini-Hochberg's


def test_comparisons_of_one_class_are_none_and_of_equal_systems_zero():
    labels, first, second, users = simulate(200, 0)
    assert significance.delong_auc(np.ones(200, int), first, second) is None
    assert significance.auc_difference(np.ones(200, int), first, second) is None
    assert significance.user_mean_difference(np.ones(200, int), first, second, users) is None
    assert (
        significance.delong_uauc(np.array([1, 0, 0]), *np.ones((2, 3)), np.array(list("aaa"))) is None
    )  # one positive
    for estimate in (significance.delong_auc(labels, first, first),
                     significance.delong_uauc(labels, first, first, users),
                     significance.auc_difference(labels, first, first, users),
                     significance.user_mean_difference(labels, first, first, users)):
        assert estimate[:4] == (0, 0, 0, 1)


def test_tests_over_fewer_than_ten_users_give_no_p():
    labels, first, second, _ = simulate(200, 0)
    for count in (1, 2, 9):
        users = (np.arange(200) // 2 % count).astype(str)
        for estimate in (significance.auc_difference(labels, first, second, users),
                         significance.user_mean_difference(labels, first, second, users),
                         significance.delong_uauc(labels, first, second, users)):
            assert estimate[1:] == (None, None, None, count) and np.isfinite(estimate.value)
    perfect = significance.delong_auc(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    assert perfect[:4] == (1, None, None, None)  # no variance: not a p of 0 from four rows


def test_swapping_systems_flips_the_sign():
    labels, first, second, users = simulate(120, 1)
    for function in (significance.auc_difference, significance.user_mean_difference, significance.delong_uauc):
        one, other = function(labels, first, second, users), function(labels, second, first, users)
        assert (one.value, one.low) == pytest.approx((-other.value, -other.high)) and one.p == other.p


def test_intervals_cover_the_truth_with_user_effects():
    """Labels and both scores share an effect of the user, and the systems are alike but for noise: the true difference
    is 0. Of 200 intervals 95% should hold it: 190, with a standard deviation of 3. In the other simulation the true
    difference is known: AUC 0.7602 - 0.5."""
    generator = np.random.default_rng(0)
    hits = {"auc": 0, "uauc": 0, "gauc": 0, "known": 0, "known, DeLong": 0}
    users = np.repeat(np.arange(30), 8)
    truth = norm.cdf(1 / np.sqrt(2)) - 0.5
    for _ in range(200):
        effect = np.repeat(generator.normal(size=30), 8)
        labels = (generator.random(240) < 1 / (1 + np.exp(-effect))).astype(int)
        first, second = (effect + np.repeat(generator.normal(size=30), 8) + labels + generator.normal(size=240)
                         for _ in range(2))
        coins, noise = generator.integers(0, 2, 120), generator.normal(size=120)
        informed = coins + generator.normal(size=120)  # AUC: Phi(1 / sqrt 2)
        for name, value, estimate in (
            ("auc", 0, significance.auc_difference(labels, first, second, users)),
            ("uauc", 0, significance.user_mean_difference(labels, first, second, users)),
            ("gauc", 0, significance.user_mean_difference(labels, first, second, users, by_rows=True)),
            ("known", truth, significance.auc_difference(coins, informed, noise)),
            ("known, DeLong", truth, significance.delong_auc(coins, informed, noise)),
        ):
            hits[name] += estimate.low <= value <= estimate.high
    assert all(180 <= count <= 199 for count in hits.values()), hits


def test_intervals_over_users_are_wider_with_user_effects():
    generator = np.random.default_rng(1)
    users = np.repeat(np.arange(16), 40)
    effect = np.repeat(generator.normal(size=16), 40)
    labels = (generator.random(640) < 1 / (1 + np.exp(-effect))).astype(int)
    first, second = effect, np.repeat(generator.normal(size=16), 40)
    by_rows = significance.auc_difference(labels, first, second)
    by_users = significance.auc_difference(labels, first, second, users)
    assert by_users.high - by_users.low > 2 * (by_rows.high - by_rows.low)
    assert by_rows.units == 640 and by_users.units == 16
