import json

import numpy as np
import pytest
from conftest import make_rows, refused, write_split

from rec_data import neutral_titles
from tlrec.data import datasets, preference_text
from tlrec.evaluation.evaluate import Scores, System, evaluate_system, read_split
from tlrec.reports import compare, records


def put(home, noun="movie", ids=True):
    (home / "rec_data/films").mkdir(parents=True)
    for number, split in enumerate(datasets.SPLITS):
        samples, rows = make_rows(12, number)
        for sample in samples:
            text = sample["input"].replace("the target movie", f"the target {noun}")
            if noun == "book":  # Book-Crossing's outer quotes
                text = text.replace('target book "', 'target book ""').replace('"?', '""?')
            sample["input"] = text
        write_split(home / "rec_data/films", split, samples, rows if ids else None)


def titles(split) -> list[list[str]]:
    """Entries of each row: liked, disliked, the target."""
    return [preference_text.parse(row.input).entries() for row in split.rows]


@pytest.mark.parametrize(("noun", "ids"), [("movie", True), ("movie", False), ("book", True), ("board game", True)])
def test_every_title_has_one_neutral_name_in_all_splits(home, noun, ids):
    put(home, noun, ids)
    neutral_titles.main("rec_data/films")
    names = {}
    for split in datasets.SPLITS:
        old, new = (read_split(home / f"rec_data/{name}/{split}.json") for name in ("films", "films-neutral"))
        assert [row.output for row in new.rows] == [row.output for row in old.rows]
        assert [row.instruction for row in new.rows] == [row.instruction for row in old.rows]
        assert new.title_counts.tolist() == old.title_counts.tolist()
        for before, after in zip(titles(old), titles(new), strict=True):
            for one, other in zip(before, after, strict=True):
                assert names.setdefault(one, other) == other
        text = (home / f"rec_data/films-neutral/{split}.json").read_text()
        assert "Film" not in text and text.count('\\"\\"') == (24 if noun == "book" else 0)
        if ids:
            assert (home / f"rec_data/films-neutral/{split}.csv").read_bytes() == (
                home / f"rec_data/films/{split}.csv").read_bytes()
    assert sorted(names.values()) == sorted(f'"{noun} {number + 1}"' for number in range(len(names)))
    assert list(names.values()) != sorted(names.values(), key=lambda name: int(name.split()[-1].strip('"')))
    record = json.loads((home / "rec_data/films-neutral/dataset.json").read_text())
    assert record["made_by"] == "rec_data.neutral_titles" and "seed 0" in record["rules"][0] and record["noun"] == noun
    assert datasets.find_folder("TARGET", "films-neutral") == home / "rec_data/films-neutral"


def test_the_seed_decides_the_numbers_alone(home):
    put(home)
    texts = []
    for seed in (0, 0, 1):
        neutral_titles.main("rec_data/films", seed=seed)
        texts.append((home / "rec_data/films-neutral/test.json").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_runs_with_titles_and_without_them_are_compared_row_for_row(home):
    put(home)
    neutral_titles.main("rec_data/films")
    for number, name in enumerate(("films", "films-neutral", "others")):
        if name == "others":
            (home / "rec_data/films").rename(home / "rec_data/others")
            samples, rows = make_rows(12, 9)
            write_split(home / "rec_data/others", "test", samples, rows)
        data = read_split(home / f"rec_data/{name}/test.json")
        scores = np.random.default_rng(number).random(len(data.labels))
        evaluate_system(System("x", "llm", {}, lambda _, scores=scores: Scores({"p_yes": scores}), [], {}), data)
    titles, neutral, others = records.read_runs(None)
    assert "A − B in" in compare.compare([titles], neutral)
    refused("different test files", compare.compare, [others], neutral)


def test_data_of_another_maker_is_not_replaced(home):
    put(home)
    refused("neutral_titles did not make", neutral_titles.main, "rec_data/films", output_dir="rec_data/films")
    refused("nowhere/train.json", neutral_titles.main, "rec_data/nowhere")
