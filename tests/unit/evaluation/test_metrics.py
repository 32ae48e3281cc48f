import time
import tracemalloc

import numpy as np
import pytest
from conftest import refused
from scipy import stats
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tlrec.data import samples
from tlrec.evaluation import intervals, metrics, significance
from tlrec.evaluation.evaluate import print_figures
from tlrec.evaluation.record_schema import Metrics


def simulate(count=400, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    scores = np.round(generator.random(count) + 0.3 * labels, 1) / 1.3  # many ties
    return labels, scores, generator.integers(0, 12, count).astype(str)


def test_auc_equals_scikit_learn_with_ties():
    for seed in range(5):
        labels, scores, _ = simulate(seed=seed)
        assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_pair_wins_equal_scikit_learn_within_each_group():
    labels, scores, users = simulate()
    groups = users.astype(int)
    wins, pairs = metrics.pair_wins(labels, scores, groups)
    for group in range(12):
        inside = groups == group
        assert pairs[group] == labels[inside].sum() * (1 - labels[inside]).sum()
        assert wins[group] / pairs[group] == pytest.approx(roc_auc_score(labels[inside], scores[inside]), abs=1e-12)


def test_auc_left_out_equals_scikit_learn_without_each_user_or_row():
    labels, scores, users = simulate(150)
    for codes, given in ((users, users), (np.arange(150), None)):
        names = list(dict.fromkeys(codes))
        expected = [roc_auc_score(labels[codes != name], scores[codes != name]) for name in names]
        assert metrics.auc_left_out(labels, scores, given) == pytest.approx(expected, abs=1e-12)
    one_like = np.array([1, 0, 0])
    assert np.isnan(metrics.auc_left_out(one_like, np.array([3.0, 1.0, 2.0]), None)[0])
    assert metrics.auc_interval(one_like, np.array([3.0, 1.0, 2.0])) is None


def test_stratified_auc_left_out_equals_the_figure_without_each_user():
    labels, scores, users = simulate(150)
    scores = scores.round(1)  # with ties
    counts = np.random.default_rng(3).integers(0, 3, (150, 2))
    expected = [metrics.stratified_auc(labels[users != name], scores[users != name], counts[users != name])[0]
                for name in dict.fromkeys(users)]
    left_out = metrics.stratified_auc_left_out(labels, scores, counts, users)
    assert left_out == pytest.approx(expected, abs=1e-12) and len(set(left_out)) > 3
    pair = np.array([1, 0])
    assert np.isnan(metrics.stratified_auc_left_out(pair, pair, np.zeros((2, 2)), np.array(["a", "b"]))).all()


def test_auc_and_uauc_of_one_class_are_none():
    figures = metrics.evaluate(np.ones(5, int), np.linspace(0.1, 0.9, 5), np.array(list("aabbc")))
    assert [figures[name] for name in ("auc", "auc_interval_rows", "auc_interval_users", "uauc")] == [None] * 4
    assert figures["uauc_users"] == 0 and figures["accuracy"] == 0.4


def test_uauc_is_the_mean_over_users_with_both_classes():
    labels = np.array([1, 0, 1, 0, 1, 1])
    scores = np.array([0.9, 0.1, 0.2, 0.8, 0.5, 0.6])
    _, mean, _ = metrics.user_means(labels, scores, np.array(["a", "a", "b", "b", "c", "c"]))
    assert (mean.value, mean.units) == (0.5, 2)
    names = np.array(list("aabbbb"))
    figures = metrics.evaluate(labels, np.array([0.9, 0.1, 0.2, 0.8, 0.5, 0.6]), names)
    assert figures["uauc"] == (1 + 0) / 2 and figures["gauc"] == (2 * 1 + 4 * 0) / 6  # weighted by the users' rows
    assert metrics.auc_by_user(labels, scores, np.array(list("aabbcc"))) == {"a": 1.0, "b": 0.0}


def test_uauc_of_many_users_is_fast():
    """One user a row, as in the published book data and any larger crawl; with a pass over all rows for each user this
    takes minutes."""
    labels, scores = np.arange(30_000) % 2, np.arange(30_000) / 30_000
    users = np.array([f"test-{number // 2}" for number in range(30_000)], dtype=object)
    began = time.process_time()
    by_user, mean, by_rows = metrics.user_means(labels, scores, users)
    assert len(by_user) == mean.units == 15_000 and mean.value == by_rows.value == 1
    assert significance.delong_uauc(labels, scores, -scores, users) is None  # it wants two rows of each answer
    assert time.process_time() - began < 10


def test_auc_interval_covers_the_truth_and_is_wider_over_users():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        labels = generator.integers(0, 2, 150)
        scores = generator.normal(size=150) + labels  # true AUC: Phi(1 / sqrt 2) = 0.7602
        low, high = metrics.auc_interval(labels, scores)
        covered += low <= 0.7602 <= high
    assert 181 <= covered <= 198  # 190 expected, standard deviation 3
    users = np.repeat(np.arange(10), 40)
    labels = (generator.random(400) < np.repeat(np.linspace(0.1, 0.9, 10), 40)).astype(int)
    scores = np.repeat(np.linspace(0.1, 0.9, 10), 40) + 0.01 * generator.random(400)
    rows, clusters = metrics.auc_interval(labels, scores), metrics.auc_interval(labels, scores, users)
    assert clusters[1] - clusters[0] > rows[1] - rows[0]


def test_jackknife_of_a_mean_is_the_t_interval():
    values = np.random.default_rng(0).normal(0.6, 0.1, 16)
    for weights in (np.ones(16), np.full(16, 7.0)):
        estimate = intervals.user_mean(values, weights)
        low, high = stats.t.interval(0.95, 15, values.mean(), stats.sem(values))
        assert estimate[:4] == pytest.approx((values.mean(), low, high, stats.ttest_1samp(values, 0).pvalue))
    assert intervals.user_mean(np.array([]), np.array([])) is None
    assert intervals.jackknife(0.5, np.full(9, 0.5))[1:4] == (None, None, None)  # nothing varies
    assert intervals.clipped(intervals.Estimate(0.9, 0.7, 1.1, 0, 9)) == [0.7, 1]


def test_fewer_than_ten_users_have_no_interval_over_users(capsys):
    labels, scores = np.tile([0, 1], 30), np.linspace(0.1, 0.9, 60)
    for count, given in ((1, False), (2, False), (9, False), (10, True)):
        users = np.arange(60) // 2 % count
        figures = metrics.evaluate(labels, np.where(users == 0, 1 - scores, scores), users.astype(str))
        for name in ("auc_interval_users", "uauc_interval", "gauc_interval"):
            assert figures["users"] == count and (figures[name] is not None) == given
        assert figures["auc_interval_rows"] is not None
        print_figures(Metrics(**figures))
        assert (f"none from {count} users, at least 10 are needed" in capsys.readouterr().out) != given


def test_one_long_user_id_takes_little_memory():
    labels, scores = np.tile([0, 1], 500), np.linspace(0.1, 0.9, 1000)
    users = np.array([f"u{row % 20}" for row in range(1000)], dtype=object)
    short = metrics.auc_interval(labels, scores, users)
    tracemalloc.start()
    assert metrics.auc_interval(labels, scores, np.where(users == "u3", "u3" + "x" * 2_000_000, users)) == short
    assert tracemalloc.get_traced_memory()[1] < 500e6  # numpy's own strings took 8 GB
    tracemalloc.stop()


def test_stratified_auc_by_brute_force_over_all_pairs():
    for seed in range(4):
        labels, scores, _ = simulate(150, seed)
        counts = np.random.default_rng(seed).integers(0, 4, (150, 2))
        wins = [(scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in range(150) for j in range(150)
                if labels[i] and not labels[j] and (counts[i] == counts[j]).all()]
        value, pairs = metrics.stratified_auc(labels, scores, counts)
        assert pairs == len(wins) and value == pytest.approx(np.mean(wins), abs=1e-12)
    assert metrics.stratified_auc(np.array([1, 0]), np.array([0.1, 0.2]), np.array([[0, 1], [0, 2]])) == (None, 0)


@pytest.mark.parametrize("score", [
    lambda liked, disliked: liked, lambda liked, disliked: -disliked, lambda liked, disliked: liked * disliked,
    lambda liked, disliked: liked / np.maximum(liked + disliked, 1)])
def test_stratified_auc_of_the_two_counts_is_one_half_where_lengths_vary(score):
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 8, (400, 2))
    labels = (generator.random(400) < samples.liked_ratio(counts)).astype(int)
    figures = metrics.evaluate(labels, score(*counts.T).astype(float), None, counts, probabilities=False)
    assert figures["stratified_auc"] == 0.5 and figures["auc"] != 0.5
    assert figures["stratified_pairs"] > 300


def test_spearman_equals_scipy_with_ties():
    _, first, second = simulate()
    second = second.astype(int) + first
    assert metrics.spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert metrics.spearman(first, np.ones(400)) is None


def test_evaluate_scores_that_are_no_probabilities():
    labels, scores, users = simulate()
    counts = np.random.default_rng(1).integers(0, 8, (400, 2))
    figures = metrics.evaluate(labels, scores, users, counts)
    stretched = metrics.evaluate(labels, 30 * scores - 10, users, counts, probabilities=False)
    for name in ("auc", "uauc", "stratified_auc", "auc_interval_users", "spearman_liked_ratio"):
        assert stretched[name] == pytest.approx(figures[name], abs=1e-12)
    inside = np.clip(30 * scores - 10, 0, 1)
    assert stretched["calibration_error"] == metrics.calibration_error(metrics.calibration_bins(labels, inside))
    assert stretched["calibration_bins"] is None and sum(rows for rows, _, _ in figures["calibration_bins"]) == 400
    assert stretched["accuracy"] == ((inside > 0.5) == labels).mean() and np.isfinite(stretched["log_loss"])
    by_chance = metrics.evaluate(labels, scores, users, counts, probabilities=False)  # in [0, 1], yet none
    assert by_chance == figures | {"calibration_bins": None}
    with pytest.raises(ValueError, match="outside"):
        metrics.evaluate(labels, 30 * scores - 10, users, counts)
    refused("1 of 400", metrics.evaluate, labels, np.append(scores[1:], np.nan), users, counts)


def test_calibration_and_log_loss_by_hand():
    labels, probabilities = np.array([1, 0, 1, 1]), np.array([0.95, 0.95, 0.15, 0.15])
    figures = metrics.evaluate(labels, probabilities, None)
    assert figures["calibration_error"] == pytest.approx((abs(1.9 - 1) + abs(0.3 - 2)) / 4)
    assert figures["calibration_bins"] == [[2, pytest.approx(0.15), 1.0], [2, pytest.approx(0.95), 0.5]]
    assert figures["log_loss"] == pytest.approx(-np.log([0.95, 0.05, 0.15, 0.15]).mean())
    assert figures["uauc"] is None and figures["auc_interval_users"] is None


def test_auc_and_uauc_ignore_the_order_of_rows():
    labels, scores, users = simulate()
    order = np.random.default_rng(3).permutation(len(labels))
    assert metrics.auc(labels, scores) == metrics.auc(labels[order], scores[order])
    for mean, other in zip(metrics.user_means(labels, scores, users)[1:],
                           metrics.user_means(labels[order], scores[order], users[order])[1:], strict=True):
        assert mean == pytest.approx(other, abs=1e-12)
