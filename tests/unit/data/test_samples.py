import json

import numpy as np
import pytest
from conftest import make_rows, refused, write_split
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
    counts = samples.title_counts(rows)
    assert counts.tolist() == [[2, 1], [0, 1], [0, 0]] and counts.dtype.kind == "i"
    np.testing.assert_allclose(samples.liked_ratio(counts), [2 / 3, 0, 0.5])
    refused("test.json: record 1", samples.title_counts, [rows[0], samples.Sample("i", "text", "Yes.")], "test.json")
    refused("test.json: record 70", samples.title_counts, [samples.Sample("i", "text", "Yes.")], "test.json", [70])


def test_user_ids_of_the_id_view(tmp_path):
    made, rows = make_rows(6, 0)
    write_split(tmp_path, "test", made, rows)
    read = samples.read_samples(tmp_path / "test.json", answers_only=True)
    view = samples.id_view(tmp_path / "test.json", read)
    assert list(view.table["user_id"]) == [f"u{n % 4}" for n in range(6)]
    assert view.sha256 == files.sha256(tmp_path / "test.csv")
    assert samples.id_view(tmp_path / "other.json", read) is None


def test_id_view_refuses_a_blank_user_id(tmp_path):
    made, rows = make_rows(4, 0)
    rows[2][0] = " "
    write_split(tmp_path, "test", made, rows)
    read = samples.read_samples(tmp_path / "test.json", answers_only=True)
    assert "row 2 has a blank user_id" in refused("test.csv", samples.id_view, tmp_path / "test.json", read)


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
