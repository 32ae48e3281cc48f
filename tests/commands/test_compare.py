"""report.py compare: from real predictions, and predictions that are none."""

import shutil

import numpy as np
import pytest
from conftest import command, refused, run
from sklearn.metrics import roc_auc_score

from tlrec import files
from tlrec.evaluation import intervals, run_log
from tlrec.reports import compare, records


@pytest.fixture(scope="module")
def measured(small_data, tmp_path_factory):
    """A home with real predictions: the controls on small data, on all test rows and on ten."""
    home = tmp_path_factory.mktemp("measured")
    shutil.copytree(small_data, home, dirs_exist_ok=True)
    data = home / "rec_data/movie"
    command("evaluate.py", "--method", "liked-ratio", "--test_data_path", data / "test.json", home=home)
    command("-m", "baselines.controls", "--train_data_path", data / "train.json", "--test_data_path",
            data / "test.json", "--methods", "item-mean", home=home)
    command("evaluate.py", "--method", "liked-ratio", "--test_data_path", data / "test.json", "--test_rows", "10",
            home=home)
    command("evaluate.py", "--method", "liked-ratio", "--test_data_path", data / "valid.json", home=home)
    return home, [run["run_id"] for run in run_log.read_records(home / "results" / "runs.jsonl")]


def test_compare_prints_the_difference_of_two_runs(measured):
    home, (ratio, mean, *_) = measured
    text = command("report.py", "compare", mean, ratio[-8:], home=home)
    scores = [np.genfromtxt(home / "results" / "predictions" / f"{run}.csv", delimiter=",", names=True, dtype=None,
                            encoding="utf-8") for run in (mean, ratio)]
    aucs = [roc_auc_score(table["label"], table[name]) for table, name in zip(scores, ("score", "p_yes"), strict=True)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[5] for row in rows[1:3]] == [f"{auc:.4f}" for auc in aucs] and [row[1] for row in rows[1:3]] == [
        mean, ratio]
    of_mean = records.find(records.read_runs([str(home / "results" / "runs.jsonl")]), mean).metrics
    assert rows[1][6:] == [f"{of_mean.uauc:.4f}", f"{of_mean.gauc:.4f}"]
    assert [row[:2] for row in rows[4:]] == [["AUC", "jackknife"], ["AUC", "DeLong"], ["UAUC", "jackknife"],
                                             ["UAUC", "DeLong"], ["GAUC", "jackknife"], ["stratified AUC", "jackknife"]]
    assert {row[2] for row in rows[4:6]} == {f"{aucs[0] - aucs[1]:+.4f}"} and rows[5][-1] == "16 rows"
    assert text == command("report.py", "compare", "--run_a", mean, "--run_b", ratio, home=home)


def test_rows_with_blank_user_ids_have_no_users_in_record_and_compare(measured, tmp_path, monkeypatch):
    """As the CSV beside the published book data."""
    shutil.copytree(measured[0] / "rec_data", tmp_path / "rec_data")
    path = tmp_path / "rec_data/movie/test.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *("," + row.partition(",")[2] for row in rows)]) + "\n")
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    run(["evaluate", "--method", "liked-ratio", "--test_data_path", "rec_data/movie/test.json"])
    run(["baselines.controls", "--methods", "item-mean", "--train_data_path", "rec_data/movie/train.json",
         "--test_data_path", "rec_data/movie/test.json"])
    read = records.read_runs(None)
    for figures in (record.metrics for record in read):
        assert figures.users is figures.uauc is figures.gauc is figures.auc_interval_users is None
        assert figures.auc_interval == figures.auc_interval_rows
    text = compare.compare(read[:1], read[1])
    assert "Users are unknown" in text and text.count("no users") == 4 and text.count("16 rows |") == 2


def test_compare_says_why_there_is_no_stratified_auc(measured, tmp_path):
    home, (ratio, mean, *_) = measured
    shutil.copytree(home, tmp_path / "home")
    (tmp_path / "home/rec_data/movie/test.json").unlink()
    text = command("report.py", "compare", mean, ratio, home=tmp_path / "home")
    assert "No stratified AUC: the test file of these runs is gone or changed" in text and "| stratified" not in text


def test_compare_adjusts_p_over_several_systems(measured, monkeypatch):
    home, (ratio, mean, *_) = measured
    monkeypatch.setattr(intervals, "MIN_USERS", 2)
    read = records.read_runs([str(home / "results" / "runs.jsonl")])
    ours = records.find(read, mean)
    alone, several = (compare.compare([ours] * count, records.find(read, ratio)) for count in (1, 3))
    assert "Holm" not in alone and "p, Holm" in several
    (single,) = [line.split("|") for line in alone.splitlines() if line.startswith("| AUC") and "DeLong" in line]
    rows = [line.split("|") for line in several.splitlines() if " AUC " in line and "DeLong" in line]
    assert [row[1].strip() for row in rows] == ["A1 AUC", "A2 AUC", "A3 AUC"]
    assert {row[5].strip() for row in rows} == {single[5].strip()}
    assert [float(row[6]) for row in rows] == pytest.approx([min(1, 3 * float(single[5]))] * 3, abs=2e-3)
    refused("different test rows", compare.compare, [ours, records.find(read, measured[1][2])], ours)


def test_compare_refuses_other_rows_and_unknown_runs(measured):
    home, (ratio, mean, ten, valid) = measured
    for words, message in (
        ((ratio, ten), "different test rows (16 and 10)"),
        ((ratio, valid), "different test files (movie/test.json, movie/valid.json)"),
        ((ratio, "none"), "no evaluation is called 'none'"),
        ((ratio, "20"), "4 runs are called '20'"),
        ((ratio,), "missing --run_b"),
        ((ratio, mean, ten), f"unexpected argument '{ten}'"),
    ):
        text = command("report.py", "compare", *words, home=home, code=2)
        assert message in text and text.count("\n") == 1
    assert mean in command("report.py", "table", "--ids", home=home)
    broken = home / "results" / "predictions" / f"{ten}.csv"
    broken.rename(broken.with_suffix(".away"))
    text = command("report.py", "compare", ratio, ten, home=home, code=2)
    assert f"{ten}.csv: no such file" in text and text.count("\n") == 1


def test_compare_refuses_broken_predictions(measured, tmp_path):
    home, (_, mean, *_) = measured
    run = records.find(records.read_runs([str(home / "results" / "runs.jsonl")]), mean)
    run.folder = tmp_path
    whole = (home / "results" / "predictions" / f"{mean}.csv").read_bytes()
    line = whole.split(b"\r\n")[3]
    path = tmp_path / "predictions" / f"{mean}.csv"
    path.parent.mkdir()
    for content in (whole[: whole.rindex(b",")], b"\xff" + whole, b"",
                    *(whole.replace(line, line.rsplit(b",", 1)[0] + score) for score in (b",nan", b",high"))):
        path.write_bytes(content)
        assert "differs from the predictions" in refused(f"{mean}.csv", compare.predictions, run)
        run.predictions_sha256 = files.sha256(path)
        refused(f"{mean}.csv", compare.predictions, run)


def test_compare_refuses_edited_and_cut_predictions(measured):
    home, (ratio, mean, *_) = measured
    path = home / "results" / "predictions" / f"{mean}.csv"
    content = path.read_bytes()
    lines = content.split(b"\r\n")
    for changed in (b"\r\n".join(lines[:9] + [b""]), content.replace(b"0.", b"0.0", 1)):
        path.write_bytes(changed)
        text = command("report.py", "compare", mean, ratio, home=home, code=2)
        assert f"{mean}.csv: differs from the predictions that run {mean} recorded" in text and text.count("\n") == 1
    path.write_bytes(content)


def test_compare_gives_no_interval_over_fewer_than_ten_users(measured):
    home, (ratio, mean, *_) = measured
    text = command("report.py", "compare", mean, ratio, home=home)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[3:] for row in rows if row[1] == "jackknife"] == 4 * [
        ["none from fewer than 10 users", "", "4 users"]]
