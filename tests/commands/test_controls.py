"""baselines.controls as a command, and its published figures."""

import shutil

import numpy as np
import pytest
from conftest import command

from baselines import controls, rating_features
from tlrec import paths
from tlrec.data import preference_text, samples
from tlrec.evaluation import metrics, run_log

ARGUMENTS = ["-m", "baselines.controls", "--train_data_path", "rec_data/movie/train.json", "--test_data_path",
             "rec_data/movie/test.json"]


def test_controls_record_every_method_once(small_data, tmp_path):
    shutil.copytree(small_data, tmp_path, dirs_exist_ok=True)
    words = [str(tmp_path / word) if word.startswith("rec_data/") else word for word in ARGUMENTS]
    command(*words, "--sample", "16", "--seed", "1", home=tmp_path)
    records = run_log.read_records(tmp_path / "results" / "runs.jsonl")
    assert [(r["method"], r["shots"], r["seed"]) for r in records] == [
        (m, 16, 1) for m in (*controls.METHODS, *controls.OF_USERS)]  # of train's users
    picked = samples.shuffled_rows(24, 1, 16)
    train = [samples.read_samples(tmp_path / "rec_data/movie/train.json", True)[i] for i in picked]
    test = samples.read_samples(tmp_path / "rec_data/movie/test.json", True)
    films, wanted = (np.array([preference_text.parse(row.input).target_entry() for row in rows])
                     for rows in (train, test))
    means = rating_features.item_mean(films, np.array([row.label for row in train]), wanted)  # an id's title
    assert all(r["metrics"]["warm"]["n"] + r["metrics"]["cold"]["n"] == 16 for r in records)
    assert records[0]["metrics"]["auc"] == metrics.auc(np.array([r.label for r in test]), means)
    assert [r["metrics"]["calibration_bins"] is not None for r in records] == [
        True, False, True, False, True, False, True]
    predictions = (tmp_path / "results" / records[0]["predictions"]).read_text().splitlines()
    assert predictions[0] == "row,user_id,label,score" and len(predictions) == 17
    text = command(*words, "--sample", "16", "--seed", "1", "--skip_recorded", home=tmp_path)
    assert text.count("already recorded") == 7
    valid = ["--valid_data_path", str(tmp_path / "rec_data/movie/valid.json"), "--methods", "item-mean"]
    command(*words, *valid, home=tmp_path)
    record = run_log.read_records(tmp_path / "results" / "runs.jsonl")[-1]
    more = samples.read_samples(tmp_path / "rec_data/movie/valid.json", True)
    train = [*samples.read_samples(tmp_path / "rec_data/movie/train.json", True), *more]
    films = np.array([preference_text.parse(row.input).target_entry() for row in train])
    means = rating_features.item_mean(films, np.array([row.label for row in train]), wanted)
    assert record["metrics"]["auc"] == metrics.auc(np.array([r.label for r in test]), means)
    assert record["shots"] == len(train) and record["request"]["valid_sha256"]
    assert "valid_data_path" in record["commands"][-1]


def test_controls_give_the_published_figures(tmp_path):
    """docs/results.md: item-mean of 8,000 rows 67.15, plain sum 76.10."""
    words = [str(paths.home_dir() / word) if word.startswith("rec_data/") else word for word in ARGUMENTS]
    command(*words, "--methods", "item-mean,liked-ratio+item-mean", home=tmp_path)
    figures = {r["method"]: r["metrics"] for r in run_log.read_records(tmp_path / "results" / "runs.jsonl")}
    assert figures["item-mean"]["auc"] == pytest.approx(0.6715, abs=5e-5)
    assert figures["item-mean"]["stratified_auc"] == pytest.approx(0.639, abs=5e-4)
    assert figures["item-mean"]["stratified_pairs"] == 21_965
    assert figures["liked-ratio+item-mean"]["auc"] == pytest.approx(0.7610, abs=5e-5)
