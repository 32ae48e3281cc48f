import json

import numpy as np
import pytest
from conftest import refused
from datasets import Dataset

from tlrec import files
from tlrec.data import preference_text, samples

GOOD = {"instruction": "i", "input": "x", "output": "Yes."}


def test_read_samples_accepts_free_answers_without_input(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text("\ufeff" + json.dumps([{**GOOD, "input": "", "output": "Blue."}]))  # a byte-order mark, too
    assert samples.read_samples(path, answers_only=False) == [samples.Sample("i", "", "Blue.")]
    path.write_text(json.dumps([{**GOOD, "output": " "}]))
    refused("alpaca.json: record 0", samples.read_samples, path, answers_only=False)


def test_read_samples_refuses_a_missing_file_and_a_folder(tmp_path):
    refused("none.json", samples.read_samples, tmp_path / "none.json", answers_only=True)
    refused(tmp_path.name, samples.read_samples, tmp_path, answers_only=True)


@pytest.mark.parametrize("field", GOOD)
@pytest.mark.parametrize("character", ["\0", "\ud800", "\udcff"], ids=ascii)
def test_read_samples_refuses_nul_and_lone_surrogates(tmp_path, field, character):
    path = tmp_path / "train.json"
    path.write_text(json.dumps([GOOD, {**GOOD, field: f"a{character}b"}]))
    refused(f"train.json: record 1: {field}", samples.read_samples, path, answers_only=False)


@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"], ids=ascii)
@pytest.mark.parametrize("count", [1, 3])
def test_read_samples_takes_one_record_a_line(tmp_path, name, start, count):
    rows = [{**GOOD, "input": f"a\u2028{number}"} for number in range(count)]
    path, a_list = tmp_path / name, tmp_path / "list.json"
    text = "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(f"{start}{text}\n".encode())
    a_list.write_text(json.dumps(rows))
    file = samples.read_sample_file(path, answers_only=True)
    assert file.rows == samples.read_samples(a_list, answers_only=True)
    assert file.sha256 == files.sha256(path)
    assert samples.read_json_records(path) == rows


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("around", [
    {"data": [GOOD]}, {"version": "1", "data": [GOOD]}, {"0": GOOD}, {"data": []},
    {"instruction": {"0": "i"}, "output": {"0": "Yes."}}])
def test_an_object_around_the_records_is_no_list(tmp_path, around, indent):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(around, indent=indent))
    message = refused("own.json: not a list of records", samples.read_samples, path, answers_only=True)
    assert repr(list(around)[0]) in message and "give the JSON list itself" in message


def test_a_record_on_one_line_may_hold_lists_and_an_object(tmp_path):
    path, record = tmp_path / "answers.json", {"teacher": "t", "answers": ["a"], "parameters": {"top_p": 1}}
    path.write_text(json.dumps(record))
    assert samples.read_json_records(path) == [record]


def test_read_samples_names_the_line_that_is_no_json(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(GOOD)[:-9]}\n")
    refused("train.jsonl: line 3: not valid JSON", samples.read_samples, path, answers_only=True)
    path.write_text(f"{json.dumps(GOOD)}\n[1]\n")
    refused("train.jsonl: record 1", samples.read_samples, path, answers_only=True)


@pytest.mark.parametrize("answers_only", [True, False])
def test_answers_are_read_in_any_case_and_with_or_without_full_stop(tmp_path, capsys, answers_only):
    path, written = tmp_path / "own.json", ["Yes.", "yes", " NO.\n", "No", "yes", "No."]
    path.write_text(json.dumps([{**GOOD, "output": answer} for answer in written]))
    for _ in range(2):
        rows = samples.read_samples(path, answers_only)
        assert [row.output for row in rows] == ["Yes.", "Yes.", "No.", "No.", "Yes.", "No."]
        assert [row.label for row in rows] == [1, 1, 0, 0, 1, 0]
    (notice,) = capsys.readouterr().out.splitlines()  # once, however often the file is read
    assert notice == (f"notice: {path}: 4 of 6 answers ('yes', ' NO.\\n', 'No') are read as 'Yes.' or 'No.'")


@pytest.mark.parametrize("other", ["Yes!", "Nope", "1", "Yes, No", "Yes.."])
def test_other_answers_are_refused_or_leave_the_file_as_it_is(tmp_path, capsys, other):
    path = tmp_path / "own.json"
    path.write_text(json.dumps([{**GOOD, "output": answer} for answer in ("yes", other)]))
    assert "is neither" in refused("own.json: record 1", samples.read_samples, path, answers_only=True)
    assert [row.output for row in samples.read_samples(path, answers_only=False)] == ["yes", other]  # as in alpaca
    assert not capsys.readouterr().out


@pytest.mark.parametrize("missing", ["none", None, float("nan"), ""])
def test_a_missing_input_is_empty(tmp_path, capsys, missing):
    record = {"instruction": "i", "output": "No."} | ({} if missing == "none" else {"input": missing})
    path = tmp_path / "own.json"
    path.write_text(json.dumps([GOOD, record]))
    assert samples.read_samples(path, answers_only=True)[1] == samples.Sample("i", "", "No.")
    assert capsys.readouterr().out == f"notice: {path}: 1 of 2 records have no input; they are read as empty\n"
    for name in ("instruction", "output"):
        path.write_text(json.dumps([GOOD, {**GOOD, name: None}]))
        assert f"{name} is missing" in refused("own.json: record 1", samples.read_samples, path, answers_only=False)
    path.write_text(json.dumps([record | {"instruction": " "}]))
    assert "instruction and input are empty" in refused("record 0", samples.read_samples, path, answers_only=False)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_shuffled_rows_equal_the_published_subset(seed):
    published = Dataset.from_dict({"n": list(range(100))}).shuffle(seed=seed).select(range(16))["n"]
    assert samples.shuffled_rows(100, seed, 16) == list(published)
    assert samples.shuffled_rows(100, seed, 64)[:16] == list(published)  # more shots contain the fewer


def test_check_sample_size_refuses_impossible_shots():
    for shots in (0, -2, 11):
        refused("--sample", samples.check_sample_size, "train.json", 10, shots)
    samples.check_sample_size("train.json", 10, -1)
    samples.check_sample_size("train.json", 10, 10)


def test_title_counts_and_liked_ratio():
    rows = [
        samples.Sample("i", preference_text.render(preference_text.History(liked, disliked, "movie", '"T"?')), "Yes.")
        for liked, disliked in ((['"A"', '"B, C"'], ['"D"']), ([], ['"A"']), ([], []))
    ]
    counts = samples.title_counts(rows, "test.json", range(3))
    assert counts.tolist() == [[2, 1], [0, 1], [0, 0]] and counts.dtype.kind == "i"
    np.testing.assert_allclose(samples.liked_ratio(counts), [2 / 3, 0, 0.5])
    mixed = [rows[0], samples.Sample("i", "text", "Yes.")]
    assert "docs/data.md shows their form" in refused("test.json: record 70", samples.title_counts, mixed, "test.json",
                                                      [4, 70])


def test_stratified_subset_keeps_the_shares_of_answers():
    rows = [samples.Sample("i", str(n), "Yes." if n % 4 else "No.") for n in range(200)]
    drawn = samples.stratified_subset(rows, 40, 7)
    assert len(set(drawn)) == 40 and sum(row.output == "No." for row in drawn) == 10
    assert drawn == samples.stratified_subset(rows, 40, 7) != samples.stratified_subset(rows, 40, 8)
    numbers = [int(row.input) for row in drawn]
    assert numbers == sorted(numbers) and samples.stratified_subset(rows, -1, 7) is rows
    nearly = samples.stratified_subset(rows, 199, 7)
    assert len(nearly) == 199 and sum(row.output == "No." for row in nearly) == 50 and sorted(
        int(row.input) for row in nearly) == [int(row.input) for row in nearly]
    assert nearly == samples.stratified_subset(rows, 199, 7) != samples.stratified_subset(rows, 199, 8)
    refused("--eval_samples 1", samples.stratified_subset, rows, 1, 7)


def test_hold_out_equals_train_test_split_with_seed_42():
    train, valid = samples.hold_out("alpaca.json", 20, 5)
    split = Dataset.from_dict({"n": range(20)}).train_test_split(test_size=5, shuffle=True, seed=42)
    assert valid == list(split["test"]["n"]) and train == list(split["train"]["n"])
    refused("alpaca.json", samples.hold_out, "alpaca.json", 20, 20)


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_shuffled_rows_refuse_an_invalid_seed(seed):
    refused(f"--seed {seed}", samples.shuffled_rows, 10, seed, 4)
    assert len(samples.shuffled_rows(10, (1 << 32) - 1, 4)) == 4
