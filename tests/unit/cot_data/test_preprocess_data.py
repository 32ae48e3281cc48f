"""Answers in the format of TLRec's authors become tuning samples."""

import json

import pytest
from conftest import refused

from cot_data import generate_data, preprocess_data
from tlrec import paths

FIRST = """Candidates (candidate books): "It", "Emma"
Books so far (watched books): "Dune", "Ubik"
Question 1
Answer:"""


def authors_record(number, third, **changes):
    return {"PID": number, "Input_1": FIRST, "Input_2": f"{FIRST} calm\nQuestion 2\nAnswer:",
            "Input_3": f"{FIRST} calm\nQuestion 2\nAnswer: Ubik\nQuestion 3\nAnswer:", "Predictions_1": "calm",
            "Predictions_2": "1. Ubik", "Predictions": third, "GT": "It", "Hit": int("It" in third), "Count": 1,
            "Current_total": 1, "Hit@10": 1.0} | changes


@pytest.fixture
def three_stages(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    path = tmp_path / "cot_data/amazon-book/three_stages.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([authors_record(3, "1. Ubik - It"), authors_record(5, "It seems that none fits"),
                                authors_record(8, "1. Dune - Emma")]))
    return path


def test_preprocess_data_reads_the_authors_answers(three_stages, capsys):
    preprocess_data.main(source="amazon-book")
    assert "hits by exact title 1 (kept), by the published rule (anywhere in the text) 2\n" in capsys.readouterr().out
    samples = json.loads((paths.home_dir() / "cot_data/stage123.json").read_text())
    assert [(sample["input"], sample["output"]) for sample in samples] == [
        (authors_record(3, "")["Input_3"].removesuffix("\nAnswer:"), "1. Ubik - It")]
    assert "books" in samples[0]["instruction"]
    about = json.loads((paths.home_dir() / "cot_data/stage123_about.json").read_text())
    assert (about["source"], about["teacher"], about["kept"]) == ("amazon-book", preprocess_data.AUTHORS, "exact")
    preprocess_data.main(source="amazon-book", keep="published", stages=["1"])
    samples = json.loads((paths.home_dir() / "cot_data/stage123.json").read_text())
    assert [sample["output"] for sample in samples] == ["calm", "calm"]
    refused("--keep", preprocess_data.main, source="amazon-book", keep="all")


def test_the_authors_answers_are_not_replaced(three_stages, small_data, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")  # nothing is asked
    content, source = three_stages.read_bytes(), str(small_data / "instruction_data/movielens/train.json")
    for teacher in ("rules", "api"):
        refused("three_stages.json", generate_data.main, source, teacher, output_dir=str(three_stages.parent))
    assert three_stages.read_bytes() == content


@pytest.mark.parametrize("changes", [{"Predictions_1": None}, {"Predictions_2": None}, {"Predictions": None},
                                     {"Predictions_1": " "}])
def test_record_of_the_authors_without_an_answer_is_left_out_and_counted(three_stages, changes, capsys):
    records = [authors_record(3, "1. Ubik - It", **changes), *json.loads(three_stages.read_text())]
    three_stages.write_text(json.dumps(records))
    preprocess_data.main(source="amazon-book", stages=["1", "3"])
    out = capsys.readouterr().out
    assert "1 of 4 records left out" in out and "3 samples; hits by exact title 1 (kept)" in out
    assert list(preprocess_data.read_answers(three_stages)) == [1, 2, 3]  # the numbers of the file
    samples = json.loads((paths.home_dir() / "cot_data/stage123.json").read_text())
    assert [sample["output"] for sample in samples] == ["calm", "1. Ubik - It"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"Predictions_2": 2}, "record 0: Predictions_2"), ({"Input_1": "What?"}, "record 0: Input_1"),
    ({"Hit": 7}, "record 0: Hit is '7'"), ({"Hit": ...}, "record 0: Hit is missing"),
    ({"Predictions": ...}, "record 0: Predictions is missing")])
def test_invalid_record_of_the_authors_is_refused_without_paying_again(three_stages, changes, message):
    record = {name: value for name, value in authors_record(3, "1. Ubik - It", **changes).items() if value is not ...}
    three_stages.write_text(json.dumps([record]))
    error = refused(message, preprocess_data.main, source="amazon-book")
    assert "correct that record" in error and "generate_data" not in error


def test_preset_of_the_earlier_script(small_data, capsys):
    source = str(small_data / "instruction_data/movielens/train.json")
    rows = json.loads(open(source).read())
    generate_data.main(source, dry_run=True, preset="561abcf", source_rows=12)
    text = capsys.readouterr().out
    assert f"{sum(row['output'] == 'Yes.' for row in rows[:12])} liked samples" in text
    assert generate_data.PRESETS["561abcf"] == ("gpt-3.5-turbo", 2023, 8, 3000)
    watched = next(line for line in text.splitlines() if line.startswith("Watched movies: "))
    generate_data.main(source, dry_run=True, preset="561abcf", source_rows=12, history=2)
    assert watched.count('", "') + 1 <= 8 and watched.endswith(next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("Watched"))[len("Watched movies: "):])
    refused("--preset", generate_data.main, source, dry_run=True, preset="2024")
    refused("--source_rows", generate_data.main, source, dry_run=True, source_rows=0)
