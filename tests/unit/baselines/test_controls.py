import numpy as np
import pytest
from conftest import make_rows, write_split
from sklearn.preprocessing import TargetEncoder

from baselines import controls, rating_features
from tlrec.data import preference_text, samples
from tlrec.evaluation import metrics
from tlrec.evaluation.evaluate import read_split


@pytest.fixture(scope="module")
def made():
    generator = np.random.default_rng(0)
    items = generator.integers(0, 30, 300).astype(str)
    return items, generator.integers(0, 2, 300), generator.integers(0, 40, 50).astype(str)


def test_item_mean_equals_scikit_learns_smoothed_target_encoding(made):
    items, labels, wanted = made
    encoder = TargetEncoder(smooth=float(rating_features.SHRINKAGE), target_type="binary").fit(items[:, None], labels)
    means = rating_features.item_mean(items, labels, wanted)
    np.testing.assert_allclose(means, encoder.transform(wanted[:, None])[:, 0])


def test_item_mean_and_popularity_by_hand():
    items, labels, wanted = np.array(["a", "a", "b", "c"]), np.array([1, 0, 1, 0]), np.array(["a", "b", "z"])
    np.testing.assert_allclose(rating_features.item_mean(items, labels, wanted), [3.5 / 7, 3.5 / 6, 0.5])
    train = rating_features.Rows(items, labels, np.array([[1, 1]] * 4), None)
    test = rating_features.Rows(wanted, np.array([1, 0, 1]), np.array([[3, 1]] * 3), None)
    assert controls.score("popularity", train, test).tolist() == [2, 1, 0]
    total = controls.score("liked-ratio+item-mean", train, test)
    np.testing.assert_allclose(total, 0.75 + rating_features.item_mean(items, labels, wanted))


def test_user_mean_by_hand(tmp_path):
    rows, ids = make_rows(6, 0)
    for row, (answer, user) in zip(rows, (("Yes.", "a"), ("No.", "a"), ("Yes.", "a"), ("No.", "b"), ("No.", "b"),
                                          ("Yes.", "c")), strict=True):
        row["output"] = answer
        ids[rows.index(row)][0] = user
    for row, numbers in zip(rows, ids, strict=True):
        numbers[4] = int(row["output"] == "Yes.")
    write_split(tmp_path, "train", rows, ids)
    [test] = rating_features.read_rows(read_split(tmp_path / "train.json"))
    train = test.take(np.arange(5))
    means = controls.score("user-mean", train, test)
    mean = 2 / 5
    np.testing.assert_allclose(means, [*[(2 + 5 * mean) / 8] * 3, *[5 * mean / 7] * 2, mean])  # c is not in the rows
    total = controls.score("user-mean+item-mean", train, test)
    np.testing.assert_allclose(total - means, rating_features.item_mean(train.items, train.labels, test.items))
    assert controls.default_methods(train, test)[-3:] == list(controls.OF_USERS)
    assert controls.default_methods(train, test.take(np.array([5]))) == list(controls.METHODS)


def test_logistic_with_user_mean_finds_what_users_tell():
    generator = np.random.default_rng(0)
    users = generator.integers(0, 40, 2000)
    labels = (generator.random(2000) < np.where(users % 2, 0.9, 0.1)).astype(int)
    rows = rating_features.Rows(generator.integers(0, 30, 2000), labels, generator.integers(1, 9, (2000, 2)), users)
    train, test = rows.take(np.arange(1500)), rows.take(np.arange(1500, 2000))
    without, with_users = (metrics.auc(test.labels, controls.score(name, train, test))
                           for name in ("logistic", "logistic+user-mean"))
    assert without < 0.6 < 0.85 < with_users


def test_held_out_item_mean_excludes_the_rows_own_fold(made):
    items, labels, _ = made
    held_out = rating_features.held_out_item_mean(items, labels)
    fold = np.arange(300) % rating_features.FOLDS
    mean = labels.mean()
    for row in (7, 120):
        others = (items == items[row]) & (fold != fold[row])
        expected = (labels[others].sum() + 5 * mean) / (others.sum() + 5)
        assert held_out[row] == pytest.approx(expected)
    alone = rating_features.held_out_item_mean(np.arange(300).astype(str), labels)
    np.testing.assert_allclose(alone, mean)  # items seen once tell nothing


def test_target_items_are_ids_or_else_titles(tmp_path):
    made, rows = make_rows(6, 0)
    write_split(tmp_path, "train", made, rows)
    write_split(tmp_path, "test", made, rows)
    paths = [tmp_path / "train.json", tmp_path / "test.json"]
    ids, _ = rating_features.target_items(*map(read_split, paths))
    assert ids.tolist() == [str(row[3]) for row in rows]
    (tmp_path / "test.csv").unlink()
    texts, _ = rating_features.target_items(*map(read_split, paths))
    assert texts.tolist() == [f'"No Film {row[3]} ({1950 + int(row[3])})"' for row in rows]


def test_entry_of_a_book_target_equals_its_history_entry():
    book = '"The Colonel" written by Patrick A. Davis'
    row = samples.Sample("i", preference_text.render(preference_text.History([], [book], "book", f'"{book}"?')), "No.")
    assert preference_text.parse(row.input).target_entry() == book
    film = '""Great Performances" Cats (1998)"'  # the title's own quotation marks
    row = samples.Sample("i", preference_text.render(preference_text.History([], [film], "movie", f"{film}?")), "No.")
    assert preference_text.parse(row.input).target_entry() == film
