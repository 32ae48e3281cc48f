import json

import pytest
from conftest import refused
from report_records import record

from tlrec.reports import records


def test_cells_name_systems_by_chain_without_shots(report_runs):
    names = {(cell.system, cell.shots): cell for cell in records.cells(report_runs) if cell.group == "language models"}
    chain = "smollm2-135m + netflix (512 rows)"
    assert set(names) == {("smollm2-135m", 0), (chain, 0), (chain, 16), ("smollm2-135m + book (64 rows)", 0)}
    assert names[chain, 0].seeds == 2


def test_on_full_split_notes_the_runs_it_leaves_out(report_runs):
    sampled = record("GRU4Rec", 7, 16)
    sampled["test_data"]["sampled_with_seed"] = 0
    valid, twin = record("GRU4Rec", 8, 16, path="valid"), record("SASRec", 0, 8000, time="2027-01-01")
    kept, notes = records.on_full_split([*report_runs, sampled, valid, twin], "test")
    assert len(kept) == len(report_runs) and twin in kept
    for word, note in zip(("sample of 120", "not on test", "same seed"), notes, strict=True):
        assert word in note
    other = record("GRU4Rec", 9, 16)
    other["test_data"]["sha256"] = "another"
    refused("movie/test", records.on_full_split, [*report_runs, other], "test")


def test_read_runs_refuses_lines_that_are_no_record(report_runs, tmp_path):
    path = tmp_path / "runs.jsonl"
    lacking = {name: value for name, value in report_runs[0].items() if name != "metrics"}
    for line in (None, [1], lacking):
        path.write_text(f"{json.dumps(report_runs[1])}\n{json.dumps(line)}\n")
        refused("runs.jsonl: line 2", records.read_runs, [str(path)])


@pytest.mark.parametrize("change", [
    {"commands": None}, {"commands": [1]}, {"seed": True}, {"metrics": {"n": True}},
    {"metrics": {"n": 8, "auc": 1e305}},
    {"metrics": {"n": 8, "auc_interval_users": [0.5]}}, {"metrics": {"n": 8, "auc_interval_users": [0.5, None]}},
    {"metrics": None}, {"metrics": {}}, {"metrics": {"n": 8, "auc": "x"}},
    {"metrics": {"n": 8, "auc_interval_rows": 5}},
    {"seconds": "x"}, {"system": None}, {"chain": "movie"}, {"chain": ["a"], "rows_of_chain": [1, 2]},
    {"test_data": "x"}, {"test_data": {"path": 5, "sha256": ""}}, {"base_model": 1}, {"test_domain": 1}, {"run_id": 1},
    {"predictions": 1}, {"request": None}, {"arguments": None}, {"versions": None}, {"adapter": "x"},
    {"adapter": {"path": "x", "data": 1}},
], ids=str)
def test_read_runs_refuses_invalid_fields(report_runs, tmp_path, change):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(report_runs[0]) + "\n" + json.dumps(report_runs[0] | change) + "\n")
    field, value = list(change.items())[-1]
    if isinstance(value, dict) and field == "metrics":  # what lacks `n` is named for that
        field = f"metrics.{list(value)[-1] if value else 'n'}"
    refused(f"runs.jsonl: line 2: {field}", records.read_runs, [str(path)])
