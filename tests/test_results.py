import json
import multiprocessing

import pytest

from tlrec import results
from tlrec.errors import InputError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    return tmp_path


def test_a_record_comes_back_with_its_predictions(home):
    run_id = results.append({"request": {"a": 1}, "value": None}, {"row": [0, 1], "p_yes": [0.25, 0.5]})
    (record,) = results.read()
    assert record["run_id"] == run_id and record["value"] is None
    written = (home / "results" / record["predictions"]).read_text().split()
    assert written == ["row,p_yes", "0,0.25", "1,0.5"]
    assert results.find({"a": 1}) == record and results.find({"a": 2}) is None


def test_a_record_names_no_folder_of_this_machine(home):
    results.append({"arguments": {"path": str(home / "rec_data" / "x.json"), "other": ["/elsewhere/y", 3]}})
    assert results.read()[0]["arguments"] == {"path": "rec_data/x.json", "other": ["/elsewhere/y", 3]}


def test_a_broken_line_is_named(home):
    results.append({"value": 1})
    with open(results.runs_file(), "a") as file:
        file.write('{"torn\n')
    with pytest.raises(InputError, match="line 2 is not JSON"):
        results.read()


def test_nan_never_enters_the_record():
    with pytest.raises(ValueError):
        results.append({"value": float("nan")})
    assert results.read() == []


def _append(worker: int) -> None:
    for number in range(25):
        results.append({"worker": worker, "number": number, "padding": "x" * 5000})


def test_processes_do_not_tear_each_others_lines():
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_append, range(4))
    records = results.read()
    assert sorted((r["worker"], r["number"]) for r in records) == [(w, n) for w in range(4) for n in range(25)]
    assert len({r["run_id"] for r in records}) == 100
    assert all(json.loads(line) for line in results.runs_file().read_text().splitlines())
