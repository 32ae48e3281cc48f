import json
import shutil

import numpy as np
import pytest
from conftest import command, make_rows, write_split
from sklearn.preprocessing import TargetEncoder

from baselines import controls
from tlrec import paths
from tlrec.data import preference_text, samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics, run_log
from tlrec.evaluation.evaluate import read_split

ARGUMENTS = ["-m", "baselines.controls", "--train_data_path", "rec_data/movie/train.json", "--test_data_path",
             "rec_data/movie/test.json"]


@pytest.fixture(scope="module")
def made():
    generator = np.random.default_rng(0)
    items = generator.integers(0, 30, 300).astype(str)
    return items, generator.integers(0, 2, 300), generator.integers(0, 40, 50).astype(str)


def test_item_mean_equals_scikit_learns_smoothed_target_encoding(made):
    items, labels, wanted = made
    encoder = TargetEncoder(smooth=float(controls.SHRINKAGE), target_type="binary").fit(items[:, None], labels)
    np.testing.assert_allclose(controls.item_mean(items, labels, wanted), encoder.transform(wanted[:, None])[:, 0])


def test_item_mean_and_popularity_by_hand():
    items, labels, wanted = np.array(["a", "a", "b", "c"]), np.array([1, 0, 1, 0]), np.array(["a", "b", "z"])
    np.testing.assert_allclose(controls.item_mean(items, labels, wanted), [3.5 / 7, 3.5 / 6, 0.5])
    counts = np.array([[1, 1]] * 4)
    assert controls.score("popularity", items, labels, counts, wanted, counts[:3]).tolist() == [2, 1, 0]
    total = controls.score("liked-ratio+item-mean", items, labels, counts, wanted, np.array([[3, 1]] * 3))
    np.testing.assert_allclose(total, 0.75 + controls.item_mean(items, labels, wanted))


def test_a_rows_own_label_is_not_its_feature(made):
    items, labels, _ = made
    held_out = controls.held_out_item_mean(items, labels)
    fold = np.arange(300) % controls.FOLDS
    mean = labels.mean()
    for row in (7, 120):
        others = (items == items[row]) & (fold != fold[row])
        expected = (labels[others].sum() + 5 * mean) / (others.sum() + 5)
        assert held_out[row] == pytest.approx(expected)
    alone = controls.held_out_item_mean(np.arange(300).astype(str), labels)
    np.testing.assert_allclose(alone, mean)  # items seen once tell nothing


def test_identity_is_the_id_where_both_files_have_one_else_the_text(tmp_path):
    made, rows = make_rows(6, 0)
    write_split(tmp_path, "train", made, rows)
    write_split(tmp_path, "test", made, rows)
    paths = [tmp_path / "train.json", tmp_path / "test.json"]
    ids, _ = controls.target_items(*map(read_split, paths))
    assert ids.tolist() == [str(row[3]) for row in rows]
    (tmp_path / "test.csv").unlink()
    texts, _ = controls.target_items(*map(read_split, paths))
    assert texts.tolist() == [f'"No Film {row[3]} ({1950 + int(row[3])})"' for row in rows]


def test_a_books_target_is_the_entry_of_a_history():
    book = '"The Colonel" written by Patrick A. Davis'
    row = samples.Sample("i", preference_text.render(preference_text.History([], [book], "book", f'"{book}"?')), "No.")
    assert preference_text.parse(row.input).target_entry() == book
    film = '""Great Performances" Cats (1998)"'  # the title's own quotation marks
    row = samples.Sample("i", preference_text.render(preference_text.History([], [film], "movie", f"{film}?")), "No.")
    assert preference_text.parse(row.input).target_entry() == film


def test_every_control_is_recorded_once(small_data, tmp_path):
    shutil.copytree(small_data, tmp_path, dirs_exist_ok=True)
    words = [str(tmp_path / word) if word.startswith("rec_data/") else word for word in ARGUMENTS]
    command(*words, "--sample", "16", "--seed", "1", home=tmp_path)
    records = run_log.read_records(tmp_path / "results" / "runs.jsonl")
    assert [(r["method"], r["shots"], r["seed"]) for r in records] == [(m, 16, 1) for m in controls.METHODS]
    picked = samples.shuffled_rows(24, 1, 16)
    train = [samples.read_samples(tmp_path / "rec_data/movie/train.json", True)[i] for i in picked]
    test = samples.read_samples(tmp_path / "rec_data/movie/test.json", True)
    films, wanted = (np.array([preference_text.parse(row.input).target_entry() for row in rows])
                     for rows in (train, test))
    means = controls.item_mean(films, np.array([row.label for row in train]), wanted)  # title and id name the same
    assert records[0]["metrics"]["auc"] == metrics.auc(np.array([r.label for r in test]), means)
    assert [r["metrics"]["calibration_bins"] is not None for r in records] == [True, False, True, False]
    predictions = (tmp_path / "results" / records[0]["predictions"]).read_text().splitlines()
    assert predictions[0] == "row,user_id,label,score" and len(predictions) == 17
    text = command(*words, "--sample", "16", "--seed", "1", "--skip_recorded", home=tmp_path)
    assert text.count("already recorded") == 4


def test_wrong_input_is_one_line(small_data, tmp_path):
    train = small_data / "rec_data/movie/train.json"
    with pytest.raises(InputError, match="--methods names none"):
        controls.main(str(train), str(train), methods=[])
    with pytest.raises(InputError, match="--seed -1"):
        controls.main(str(train), str(train), seed=-1)
    text = command("-m", "baselines.controls", "--train_data_path", train, "--test_data_path", train, "--methods",
                   "item-mean,magic", home=tmp_path, code=2)
    assert "'magic' is unknown; choose from item-mean" in text and text.count("\n") == 1
    one = tmp_path / "one.json"
    one.write_text(json.dumps([row for row in json.loads(train.read_text()) if row["output"] == "No."]))
    text = command("-m", "baselines.controls", "--train_data_path", one, "--test_data_path", one, home=tmp_path, code=2)
    assert "hold one answer only" in text and text.count("\n") == 1 and not (tmp_path / "results").exists()


def test_published_control_figures_on_the_real_data(tmp_path):
    """results/reference/published_results.json: item-mean of 8,000 rows 67.15, plain sum 76.10."""
    words = [str(paths.home_dir() / word) if word.startswith("rec_data/") else word for word in ARGUMENTS]
    command(*words, "--methods", "item-mean,liked-ratio+item-mean", home=tmp_path)
    found = {r["method"]: r["metrics"] for r in run_log.read_records(tmp_path / "results" / "runs.jsonl")}
    assert found["item-mean"]["auc"] == pytest.approx(0.6715, abs=5e-5)
    assert found["item-mean"]["stratified_auc"] == pytest.approx(0.639, abs=5e-4)
    assert found["item-mean"]["stratified_pairs"] == 21_965
    assert found["liked-ratio+item-mean"]["auc"] == pytest.approx(0.7610, abs=5e-5)
