import json

import pytest
from conftest import refused
from report_records import parsed, record, stage

from tlrec.reports import figures, published, readme_table, records, seed_means, table1, table_formats
from tlrec.reports.report_commands import REFERENCE


def test_cells_name_systems_by_chain_without_shots(parsed_runs):
    names = {(cell.system, cell.shots): cell for cell in seed_means.own_cells(parsed_runs)
             if cell.group == "language models"}
    chain = "smollm2-135m + netflix (512 rows)"
    assert set(names) == {("smollm2-135m", 0), (chain, 0), (chain, 16), ("smollm2-135m + book (64 rows)", 0)}
    assert names[chain, 0].seeds == 2


def test_on_full_split_notes_the_runs_it_leaves_out(report_runs):
    sampled = record("GRU4Rec", 7, 16)
    sampled["test_data"]["sampled_with_seed"] = 0
    valid, twin = record("GRU4Rec", 8, 16, path="valid"), record("SASRec", 0, 8000, time="2020-01-01")
    runs = parsed(*report_runs, sampled, valid, twin)
    kept, notes = records.on_full_split(runs, "test")
    assert len(kept) == len(report_runs) and runs[-1] in kept  # the log's order counts, whatever the clock said
    for word, note in zip(("sample of 120", "not on test", "same seed"), notes, strict=True):
        assert word in note
    for change in ({"test_data": record("GRU4Rec", 9, 16)["test_data"] | {"sha256": "another"}},
                   {"request": {"test_ids_sha256": "another"}}):
        refused("movie/test", records.on_full_split, parsed(*report_runs, record("GRU4Rec", 9, 16) | change), "test")


def test_latest_per_request_follows_the_log_not_the_clock():
    first, second = record("GRU", 0, 16, time="2026-02-01"), record("GRU", 0, 16, time="2026-01-01")
    (latest,) = records.latest_per_request(parsed(first, second))
    assert latest.run_id == second["run_id"]


def tuned(weights, *stages, **request):
    """A record of a tuned language model with these stages."""
    run = record("x", stages[-1]["settings"]["seed"], None, [("netflix", 512)] * len(stages), "base")
    run["request"] = {"base_model": "a", "dtype": "float32", "prompt_template": "alpaca", "adapter_sha256": weights,
                      **request}
    run["adapter"]["stages"] = list(stages)
    return run


BASE = stage("netflix", 512, 0)


@pytest.mark.parametrize(("other", "name"), [
    (tuned("2", stage("netflix", 512, 0, learning_rate=1e-4)), "[stage 1 learning_rate 0.0001]"),
    (tuned("2", stage("netflix", 512, 1, lora_r=16)), "[stage 1 lora_r 16]"),
    (tuned("2", stage("other", 512, 0)), "[stage 1 train sha256 other]"),
    (tuned("2", BASE, base_model="b" * 64 + "-" + "c" * 64), "[base_model bbbbbbbb]"),
    (tuned("2", BASE, prompt_template="chat"), "[prompt_template chat]"),
    (tuned("2", BASE, dtype="bfloat16"), "[dtype bfloat16]"),
    (tuned("2", {"adapter_sha256": "d" * 64}, BASE), None),
], ids=["learning rate", "rank", "data", "base model", "template", "dtype", "another chain"])
def test_runs_that_differ_in_more_than_the_seed_are_rows_of_their_own(other, name):
    cells = seed_means.own_cells(parsed(tuned("1", BASE), other))
    assert [cell.seeds for cell in cells] == [1, 1]
    assert name is None or cells[1].system.endswith(name) and cells[0].system != cells[1].system


def test_runs_whose_stages_differ_in_seeds_alone_are_one_cell():
    runs = [tuned(str(seed), stage("netflix", 512, seed), stage("netflix", 512, last))
            for seed, last in ((0, 0), (1, 0), (2, 5))]
    (cell,) = seed_means.own_cells(records.on_full_split(parsed(*runs), "test")[0])
    assert cell.seeds == 3 and "[" not in cell.system


def test_adapters_of_unknown_making_are_not_seeds_of_one_system():
    runs = [tuned(str(number), BASE) for number in range(2)]
    for run in runs:
        run["adapter"]["stages"] = []
    cells = seed_means.own_cells(parsed(*runs))
    assert [cell.system[-18:] for cell in cells] == ["[adapter_sha256 0]", "[adapter_sha256 1]"]


def test_reports_read_records_without_optional_figures(tmp_path):
    bare = [record(name, 0, 16) | {"metrics": {"n": 8}} for name in ("GRU", "Caser")]
    bare.append(record("x", 0, None, [("netflix", 2)], "base") | {"metrics": {"n": 8, "auc": 0.5}})
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps({name: value for name, value in run.items() if name != "commit"}) + "\n"
                            for run in bare))
    read, _ = records.on_full_split(records.read_runs([str(path)]), "test")
    cells = [*seed_means.own_cells(read), *published.cells()]
    assert "undefined" in table1.render(cells)["md"] and readme_table.render(cells)
    assert "undefined" in table_formats.markdown(table_formats.evaluations(read))
    assert [records.short(run)["n"] for run in read] == [8, 8, 8]
    assert figures.draw(read, tmp_path)[0]


def test_read_runs_names_no_class_of_ours(report_runs, tmp_path):
    path = tmp_path / "runs.jsonl"
    for change in ({"adapter": "x"}, {"test_data": 5}, {"metrics": []}):
        path.write_text(json.dumps(report_runs[0] | change) + "\n")
        message = refused("line 1", records.read_runs, [str(path)])
        assert "nstance" not in message and "Description" not in message and "Split" not in message


def test_read_runs_accepts_names_that_are_not_utf8_or_printable(report_runs, tmp_path):
    name = "caf\udce9 \x1b[2J\nend"
    path = tmp_path / "runs.jsonl"
    path.write_text("\n" + json.dumps(report_runs[0] | {"system": name, "test_domain": name}) + "\n")
    (run,) = records.read_runs([str(path)])
    assert run.system == run.test_domain == r"caf&#56553; \x1b[2J\nend"


def test_read_runs_refuses_lines_that_are_no_record(report_runs, tmp_path):
    path = tmp_path / "runs.jsonl"
    lacking = {name: value for name, value in report_runs[0].items() if name != "metrics"}
    for line in (None, [1], lacking):
        path.write_text(f"{json.dumps(report_runs[1])}\n{json.dumps(line)}\n")
        refused("runs.jsonl: line 2", records.read_runs, [str(path)])


def test_a_record_names_the_rule_of_its_intervals(report_runs, tmp_path):
    rules = {run.metrics.interval_rule for run in records.read_runs([REFERENCE])}
    assert rules <= {"jackknife", "bootstrap"} and report_runs[0]["metrics"]["interval_rule"] == "jackknife"
    path = tmp_path / "runs.jsonl"
    for rule in ({}, {"interval_rule": "exact"}):
        metrics = {"n": 8, "auc_interval_rows": [0.4, 0.6], **rule}
        path.write_text(json.dumps(report_runs[0] | {"metrics": metrics}) + "\n")
        assert "interval_rule" in refused("runs.jsonl: line 1: metrics", records.read_runs, [str(path)])


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
