"""The nested results file of TALLRec's evaluate.py."""

import json

import pytest
from conftest import refused
from report_records import record

import evaluate
from tlrec.evaluation import result_json
from tlrec.evaluation.config import EvaluationConfig


def test_add_nests_train_test_model_seed_and_shots(tmp_path):
    path = tmp_path / "new" / "results.json"
    few = [record("x", seed, 16, [("alpaca", 9), ("movie", 16)], "llama-7b", domain=tested, train_domain="movie")
           for seed in (0, 1) for tested in ("movie", "book")]
    others = [record("x", None, None, [("alpaca", 9)], "llama-7b", train_domain="alpaca"), record("liked-ratio")]
    for run in (*few, *others):
        result_json.add(path, run | {"train_domain": None} if run["system"] == "liked-ratio" else run)
    auc = [run["metrics"]["auc"] for run in (*few, *others)]
    assert json.loads(path.read_text()) == {
        "movie": {"movie": {"llama-7b_alpaca": {"0": {"16": auc[0]}, "1": {"16": auc[2]}}},
                  "book": {"llama-7b_alpaca": {"0": {"16": auc[1]}, "1": {"16": auc[3]}}}},
        "alpaca": {"movie": {"llama-7b_alpaca": {"0": {"0": auc[4]}}}},
        "none": {"movie": {"liked-ratio": {"0": {"0": auc[5]}}}}}


def test_other_rows_have_keys_of_their_own_and_a_figure_that_is_there_is_kept(tmp_path, capsys):
    path, run = tmp_path / "results.json", record("liked-ratio") | {"train_domain": None}
    other = run | {"metrics": run["metrics"] | {"auc": 0.25, "n": 50}}
    split = other["test_data"]
    result_json.add(path, run)
    result_json.add(path, other | {"test_data": split | {"path": "rec_data/movie/valid.json"}})
    result_json.add(path, other | {"test_data": split | {"sampled_with_seed": 0}})
    before = path.read_bytes()
    result_json.add(path, run)
    assert capsys.readouterr().err == capsys.readouterr().out == "" and path.read_bytes() == before
    result_json.add(path, other)
    assert path.read_bytes() == before and "keeps" in "".join(capsys.readouterr())
    assert json.loads(before)["none"] == {
        domain: {"liked-ratio": {"0": {"0": auc}}} for domain, auc in (
            ("movie", run["metrics"]["auc"]), ("movie/valid", 0.25), ("movie/test, 50 rows", 0.25))}


def test_evaluate_adds_to_the_file_and_records_the_run_as_without_it(small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    flags = {"test_data_path": str(small_data / "rec_data/movie/test.json"), "method": "liked-ratio"}
    path = tmp_path / "results.json"
    evaluate.main(EvaluationConfig(**flags))
    evaluate.main(EvaluationConfig(**flags, result_json_data=str(path), skip_recorded=True))
    (line,) = (tmp_path / "results/runs.jsonl").read_text().splitlines()  # reused: it is the same run
    assert json.loads(path.read_text())["none"]["movie"]["liked-ratio"] == {
        "0": {"0": json.loads(line)["metrics"]["auc"]}}


@pytest.mark.parametrize("content", ["[]", "{", '{"none": {"movie": 1}}'])
def test_file_of_another_form_is_refused(small_data, tmp_path, monkeypatch, content):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    (tmp_path / "r.json").write_text(content)
    refused("r.json", evaluate.main, EvaluationConfig(
        test_data_path=str(small_data / "rec_data/movie/test.json"), method="liked-ratio",
        result_json_data=str(tmp_path / "r.json")))
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"] and (tmp_path / "r.json").read_text() == content
