
import pytest

from tlrec.errors import InputError
from tlrec.evaluation import run_log


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    return tmp_path


def test_a_record_comes_back_with_its_predictions(home):
    run_id = run_log.append_record({"request": {"a": 1}, "value": None}, {"row": [0, 1], "p_yes": [0.25, 0.5]})
    (record,) = run_log.read_records()
    assert record["run_id"] == run_id and record["value"] is None
    written = (home / "results" / record["predictions"]).read_text().split()
    assert written == ["row,p_yes", "0,0.25", "1,0.5"]
    assert run_log.find_record({"a": 1}) == record and run_log.find_record({"a": 2}) is None


def test_a_record_names_no_folder_of_this_machine(home):
    run_log.append_record({"arguments": {"path": str(home / "rec_data" / "x.json"), "other": ["/elsewhere/y", 3]}})
    assert run_log.read_records()[0]["arguments"] == {"path": "rec_data/x.json", "other": ["/elsewhere/y", 3]}


def test_a_broken_line_is_named(home):
    run_log.append_record({"value": 1})
    with open(run_log.runs_file(), "a") as file:
        file.write('{"torn\n')
    with pytest.raises(InputError, match="line 2 is not a record in JSON"):
        run_log.read_records()


def test_nan_never_enters_the_record():
    with pytest.raises(ValueError):
        run_log.append_record({"value": float("nan")})
    assert run_log.read_records() == []


def test_a_record_without_its_last_newline_is_kept(home):
    run_log.append_record({"value": 1})
    whole = run_log.runs_file().read_bytes()
    run_log.runs_file().write_bytes(whole[:-1])
    assert run_log.read_records()[0]["value"] == 1
    run_log.append_record({"value": 2})
    assert [record["value"] for record in run_log.read_records()] == [1, 2]
    assert not (home / "results" / "runs.jsonl.torn").exists()


def test_a_record_whose_predictions_are_gone_is_not_found(home):
    run_log.append_record({"request": {"a": 1}}, {"p_yes": [0.5]})
    found = run_log.find_record({"a": 1})
    assert found
    (home / "results" / found["predictions"]).unlink()
    assert run_log.find_record({"a": 1}) is None


@pytest.mark.parametrize("line", ["[" * 100_000, '{"kind": "evaluation", "auc": NaN}'], ids=["deep", "nan"])
def test_a_line_that_json_has_not_is_none_and_as_a_tail_blocks_nothing(tmp_path, monkeypatch, line):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    path = tmp_path / "results" / "runs.jsonl"
    path.parent.mkdir()
    path.write_text(line + "\n{}\n")
    with pytest.raises(InputError, match="line 1 is not a record in JSON"):
        run_log.read_records(path)
    path.write_text(line)
    run_log.append_record({"kind": "tuning"})
    assert len(run_log.read_records(path)) == 1 and path.with_name("runs.jsonl.torn").read_text() == line + "\n"
