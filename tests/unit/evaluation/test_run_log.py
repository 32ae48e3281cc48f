
import json
import time

import pytest
from conftest import refused

from tlrec import files
from tlrec.evaluation import run_log


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    return tmp_path


def test_append_record_writes_record_and_predictions(home):
    run_id = run_log.append_record({"request": {"a": 1}, "value": None}, {"row": [0, 1], "p_yes": [0.25, 0.5]})
    (record,) = run_log.read_records()
    assert record["run_id"] == run_id and record["value"] is None
    written = (home / "results" / record["predictions"]).read_text().split()
    assert written == ["row,p_yes", "0,0.25", "1,0.5"]
    assert run_log.find_record({"a": 1}) == record and run_log.find_record({"a": 2}) is None


def test_append_record_writes_paths_relative_to_home(home):
    run_log.append_record({"arguments": {"path": str(home / "rec_data" / "x.json"), "other": ["/elsewhere/y", 3]}})
    assert run_log.read_records()[0]["arguments"] == {"path": "rec_data/x.json", "other": ["/elsewhere/y", 3]}


def test_read_records_refuses_a_broken_line(home):
    run_log.append_record({"value": 1})
    with open(run_log.runs_file(), "a") as file:
        file.write('{"torn\n')
    refused("runs.jsonl: line 2", run_log.read_records)


def test_append_record_refuses_nan():
    with pytest.raises(ValueError):
        run_log.append_record({"value": float("nan")})
    assert run_log.read_records() == []


def test_read_records_keeps_a_record_without_newline(home):
    run_log.append_record({"value": 1})
    content = run_log.runs_file().read_bytes()
    run_log.runs_file().write_bytes(content[:-1])
    assert run_log.read_records()[0]["value"] == 1
    run_log.append_record({"value": 2})
    assert [record["value"] for record in run_log.read_records()] == [1, 2]
    assert not (home / "results" / "runs.jsonl.torn").exists()


def test_find_record_ignores_a_record_without_predictions(home):
    run_log.append_record({"request": {"a": 1}}, {"p_yes": [0.5]})
    latest = run_log.find_record({"a": 1})
    assert latest
    (home / "results" / latest["predictions"]).unlink()
    assert run_log.find_record({"a": 1}) is None


def test_find_record_ignores_a_record_whose_predictions_were_edited(home):
    run_log.append_record({"request": {"a": 1}}, {"p_yes": [0.5]})
    latest = run_log.find_record({"a": 1})
    path = home / "results" / latest["predictions"]
    assert latest["predictions_sha256"] == files.sha256(path)
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert run_log.find_record({"a": 1}) is None


def test_find_record_in_many_lines_is_fast(home):
    run_log.append_record({"request": {"method": "llm", "test_sha256": "a" * 64, "seed": -1}})
    with open(run_log.runs_file(), "a") as file:
        file.writelines(json.dumps({"padding": "x" * 2000, "request": {
            "method": "llm", "test_sha256": "a" * 64, "seed": seed}}) + "\n" for seed in range(20_000))
    began = time.process_time()
    assert run_log.find_record({"method": "llm", "test_sha256": "a" * 64, "seed": -1})
    assert run_log.find_record({"method": "llm", "test_sha256": "a" * 64, "seed": 20_001}) is None
    assert time.process_time() - began < 1  # of ten times as many lines 10 s


@pytest.mark.parametrize("line", ["[" * 100_000, '{"kind": "evaluation", "auc": NaN}'], ids=["deep", "nan"])
def test_read_records_refuses_deep_and_nan_lines(tmp_path, monkeypatch, line):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    path = tmp_path / "results" / "runs.jsonl"
    path.parent.mkdir()
    path.write_text(line + "\n{}\n")
    refused("runs.jsonl: line 1", run_log.read_records, path)
    path.write_text(line)
    run_log.append_record({"kind": "tuning"})
    assert len(run_log.read_records(path)) == 1 and path.with_name("runs.jsonl.torn").read_text() == line + "\n"
