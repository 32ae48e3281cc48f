import json

import numpy as np
import pytest
from conftest import make_rows, write_split
from datasets import Dataset

from tlrec.data import preference_text, samples
from tlrec.errors import InputError

GOOD = {"instruction": "i", "input": "x", "output": "Yes."}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[{", "not readable as JSON"),
        (b"", "not readable as JSON"),
        (b'{"a": 1}', "not a list of records"),
        (b"[]", "not a list of records, or an empty one"),
        (b"[1]", "record 0: Input should be a dictionary"),
        (json.dumps([GOOD, {"instruction": "i", "input": "x"}]).encode(), "record 1: output is missing"),
        (json.dumps([GOOD, {**GOOD, "input": None}]).encode(), "record 1: input is 'None': Input should be"),
        (json.dumps([{**GOOD, "output": "Yes"}]).encode(), "record 0: output 'Yes' is neither 'Yes.' nor 'No.'"),
        (json.dumps([{**GOOD, "input": "\ud800"}]).encode(), "unable to parse raw data as a unicode string"),
        ('[{"instruction": "é"}]'.encode("latin-1"), "can't decode byte 0xe9 in position 18"),
        (b"[" * 100_000, "recursion depth"),
    ],
)
def test_bad_data_names_file_and_record(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        samples.read_samples(path, answers_only=True)
    assert str(path) in str(error.value) and message in str(error.value)


def test_instruction_data_takes_free_answers_and_no_input(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text("\ufeff" + json.dumps([{**GOOD, "input": "", "output": "Blue."}]))  # a byte-order mark, too
    assert samples.read_samples(path, answers_only=False) == [samples.Sample("i", "", "Blue.")]
    path.write_text(json.dumps([{**GOOD, "output": " "}]))
    with pytest.raises(InputError, match="record 0: output is empty"):
        samples.read_samples(path, answers_only=False)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        samples.read_samples(tmp_path / "none.json", answers_only=True)
    with pytest.raises(InputError, match="a folder, a pipe"):
        samples.read_samples(tmp_path, answers_only=True)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_few_shot_subset_is_the_published_one(seed):
    published = Dataset.from_dict({"n": list(range(100))}).shuffle(seed=seed).select(range(16))["n"]
    assert samples.shuffled_rows(100, seed, 16) == list(published)
    assert samples.shuffled_rows(100, seed, 64)[:16] == list(published)  # more shots contain the fewer


def test_shots_must_fit():
    for shots in (0, -2, 11):
        with pytest.raises(InputError, match="--sample"):
            samples.check_sample_size("train.json", 10, shots)
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
    with pytest.raises(InputError, match="test.json: record 1 has no preference lists"):
        samples.title_counts([rows[0], samples.Sample("i", "text", "Yes.")], "test.json")


def test_the_two_views_must_agree(tmp_path):
    made, rows = make_rows(6, 0)
    write_split(tmp_path, "test", made, rows)
    read = samples.read_samples(tmp_path / "test.json", answers_only=True)
    assert list(samples.id_view(tmp_path / "test.json", read)["user_id"]) == [f"u{n % 4}" for n in range(6)]
    assert samples.id_view(tmp_path / "other.json", read) is None
    with pytest.raises(InputError, match="6 rows beside 5 samples"):
        samples.id_view(tmp_path / "test.json", read[:-1])
    flipped = [*read[:2], samples.Sample("i", "x", "No." if read[2].label else "Yes."), *read[3:]]
    with pytest.raises(InputError, match="row 2 has another rating"):
        samples.id_view(tmp_path / "test.json", flipped)
    (tmp_path / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no user_id"):
        samples.id_view(tmp_path / "test.json", read)


def test_validation_rows_are_drawn_by_seed_in_the_shares_of_their_answers():
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
    with pytest.raises(InputError, match="--eval_samples 1: too few .*; give 2 to 200, or -1"):
        samples.stratified_subset(rows, 1, 7)


def test_hold_out_is_split_by_seed_42():
    train, valid = samples.hold_out("alpaca.json", 20, 5)
    split = Dataset.from_dict({"n": range(20)}).train_test_split(test_size=5, shuffle=True, seed=42)
    assert valid == list(split["test"]["n"]) and train == list(split["train"]["n"])
    with pytest.raises(InputError, match="hold out fewer"):
        samples.hold_out("alpaca.json", 20, 20)


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(InputError, match=f"--seed {seed}: give a whole number from 0"):
        samples.shuffled_rows(10, seed, 4)
    assert len(samples.shuffled_rows(10, (1 << 32) - 1, 4)) == 4
