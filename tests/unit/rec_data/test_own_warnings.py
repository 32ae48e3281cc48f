"""What rec_data.own says of ratings that it can read and that may not be what they seem."""

import ast
import csv
import json

import pandas as pd
import pytest

from rec_data import own
from tlrec.data import preference_text
from tlrec.errors import InputError

USERS, ITEMS = range(12), range(8)
RATINGS = pd.DataFrame([(f"u{user}", f"i{(user * 3 + item) % 8}", 1 + (user * 5 + item * 3) % 5, 100 * item + user)
                        for user in USERS for item in ITEMS], columns=["user", "item", "rating", "time"])
TITLES = {f"i{item}": f"Title {item}" for item in ITEMS}


@pytest.fixture
def build(home, tmp_path, monkeypatch, capsys):
    """A function from ratings, titles and flags to what was printed; ratings.csv and items.csv are in the folder."""
    monkeypatch.chdir(tmp_path)

    def build(ratings=RATINGS, titles=TITLES, **flags):
        ratings.to_csv("ratings.csv", index=False)
        pd.DataFrame(titles.items() if isinstance(titles, dict) else titles, columns=["item", "title"]).to_csv(
            "items.csv", index=False)
        own.main(**{"ratings": "ratings.csv", "items": "items.csv", "name": "games", "noun": "game", "min_history": 2,
                    "history_length": 3, **flags})
        return capsys.readouterr().out

    return build


def view(home, split):
    return list(csv.DictReader(open(home / f"rec_data/games/{split}.csv", newline="")))


def test_histories_with_targets_of_later_splits_are_counted(build, home):
    parts = ["train", "test", "train", "valid", "train"]
    mixed = RATINGS.assign(split=[parts[row % 5] for row in range(len(RATINGS))])
    output = build(mixed)
    targets = {split: {(row["user_id"], row["movie_id"]) for row in view(home, split)} for split in ("valid", "test")}
    for split, later in (("train", targets["valid"] | targets["test"]), ("valid", targets["test"])):
        rows = view(home, split)
        leaking = sum(any((row["user_id"], item) in later for item in ast.literal_eval(row["history_movie_id"]))
                      for row in rows)
        assert 0 < leaking < len(rows)
        assert f"leakage: {leaking} of {len(rows)} rows of {split} have a target of" in output
    assert "leakage: " in json.loads((home / "rec_data/games/dataset.json").read_text())["rules"][-1]
    for split in ("time", "user", "leave-last-out"):
        assert "leakage: " not in build(split=split)


def test_rows_that_are_left_out_are_counted(build, home):
    output = build(rows=40, split="leave-last-out")
    assert "left out: 24 ratings with fewer than 2 before them by the same user\n" in output
    written = sum(len(view(home, split)) for split in ("train", "valid", "test"))
    assert written == 32 + 4 + 4
    assert f"left out: {72 - written} windows beyond 8:1:1 of 40, the last of each split; --rows -1 keeps" in output
    assert "windows beyond" not in build(rows=-1)
    assert "left out: 32 windows beyond the last 40;" in build(rows=40)


@pytest.mark.parametrize("noun, title", [
    ("game", 'a", "b'), ("movie", 'a, "b" c'), ("game", 'x", "'), ("book", 'a", "b')])
def test_a_title_that_would_read_as_two_is_rewritten(build, home, noun, title):
    output = build(titles=TITLES | {"i6": title}, noun=noun)
    assert "double quotes of 1 titles are written as ''" in output
    for split in ("train", "valid", "test"):
        samples = json.loads((home / f"rec_data/games/{split}.json").read_text())
        for sample, row in zip(samples, view(home, split), strict=True):
            history, likes = preference_text.parse(sample["input"]), ast.literal_eval(row["history_rating"])
            assert len(history.liked) == sum(likes) and len(history.disliked) == len(likes) - sum(likes)


def test_further_titles_of_an_item_are_counted_and_most_are_refused(build):
    spaced = [(item, title.replace(" ", "  ").upper()) for item, title in TITLES.items()]
    assert "more than one title" not in build(titles=[*TITLES.items(), *spaced])
    titles = [*TITLES.items(), ("i3", "Other"), ("i4", None), ("i3", "Third")]
    assert "items.csv: 1 items have more than one title; the first counts; row 10 has another" in build(titles=titles)
    names = RATINGS.assign(name=[f"Name of {user}" for user in RATINGS["user"]])
    with pytest.raises(InputError, match="ratings.csv: row 1., column name: another one than before.*--title"):
        build(names, items=None)


def test_the_first_title_counts_also_where_the_first_row_has_none(build):
    assert "8 items with a title" in build(titles=[("i3", None), *TITLES.items()])


def test_a_column_id_beside_users_is_not_the_item(build):
    numbered = RATINGS.rename(columns={"item": "thing"}).assign(id=range(len(RATINGS)), title="T")
    with pytest.raises(InputError, match="no column is known as item among .*id.*--item"):
        build(numbered, items=None)
    once = RATINGS.assign(item=[f"i{row}" for row in range(len(RATINGS))])
    output = build(once, {f"i{row}": f"T{row}" for row in range(len(RATINGS))})
    assert "every item is rated once; is item the item's id?" in output


def test_the_item_may_have_another_name_in_the_file_of_items(build):
    renamed = RATINGS.rename(columns={"item": "sku"})
    with pytest.raises(InputError, match="items.csv: no column 'sku' for --item .*--items_id"):
        build(renamed, item="sku")
    assert "items.csv: item = item, title = title" in build(renamed, item="sku", items_id="item")


def test_id_is_the_item_in_a_file_of_items(build, tmp_path):
    build()
    pd.DataFrame([(item, title, "seller") for item, title in TITLES.items()], columns=["id", "title", "user"]).to_csv(
        tmp_path / "with_users.csv", index=False)
    assert "with_users.csv: item = id, title = title" in build(items="with_users.csv")


def test_a_label_beside_ratings_and_a_time_of_zero_are_named(build):
    output = build(RATINGS.assign(liked=[row % 2 for row in range(len(RATINGS))]))
    assert "like = rating >= 4; column liked is not used, --label liked takes it" in output
    times = RATINGS.assign(time=RATINGS["time"] + 1_600_000_000)
    times.loc[10, "time"] = 0
    assert "row 12, column time: 0 among times since 1970; 1 such rows count as the earliest" in build(times)


@pytest.mark.parametrize("flags, message", [
    ({"split": "half"}, "no column 'half' for --split .*time, user or leave-last-out"),
    ({"split": "user_part"}, "'0' is not one of train.*--split time"),
    ({"split": "leave-last-out", "min_history": 7, "history_length": 7}, "longest user has 8 ratings.*needs 10"),
    ({"tokenizer": "nowhere"}, "nowhere: no tokenizer"), ({"name": ".x"}, "a letter or digit first")])
def test_a_refusal_names_the_cure_and_writes_nothing(build, home, flags, message):
    with pytest.raises(InputError, match=message):
        build(RATINGS.assign(user_part=0), **flags)
    assert not (home / "rec_data").exists()


def test_quotation_marks_within_a_value_are_not_dropped(build, tmp_path):
    build()
    (tmp_path / "items.tsv").write_text("item\ttitle\n" + "".join(
        f'{item}\t"Quoted" {title}\n' if item == "i2" else f"{item}\t{title}\n" for item, title in TITLES.items()))
    with pytest.raises(InputError, match="items.tsv: row 4: .*one inside a quoted value is not doubled"):
        build(items="items.tsv")


@pytest.mark.parametrize("name, content, message", [
    ("r.csv", b"\n", "row 1 is blank|empty"), ("r.csv.gz", b"\x1f\x8b\x08 broken", "download or write it again"),
    ("r.parquet", b"PAR1", "download or write it again"), ("r.csv", b"u1,i1,5,10\n", "row 1 must hold")])
def test_a_file_that_cannot_be_read_is_told_apart_from_a_bad_row(home, tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        own.main(ratings=name, name="games", noun="game")
