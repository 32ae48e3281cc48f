"""rec_data.own: formats, columns, splits and refusals, on generated ratings."""

import ast
import csv
import gzip
import json
import random
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from rec_data import own
from tlrec import files, paths
from tlrec.data import datasets, preference_text

ITEMS = pd.DataFrame({"game_id": [f"g{n}" for n in range(12)], "name": [f"Game, {n}" for n in range(12)],
                      "brand": ["Ann & Co" if n % 2 else "" for n in range(12)]})


def ratings(users=9, seed=0) -> pd.DataFrame:
    """Each user rates nine to twelve games once, in an order of their own, the rows shuffled."""
    generator = random.Random(seed)
    rows = [(f"u{user}", item, generator.choice([1, 3, 4.5, 5]))
            for user in range(users) for item in generator.sample(sorted(ITEMS["game_id"]), generator.randint(9, 12))]
    times = generator.sample(range(5, 5 * len(rows)), len(rows))
    return pd.DataFrame(rows, columns=["User ID", "game_id", "Rating"]).assign(timestamp=times).sample(
        frac=1, random_state=seed)


@pytest.fixture
def raw(home, tmp_path, monkeypatch):
    """The current folder, with items.csv and ratings.csv."""
    monkeypatch.chdir(tmp_path)
    ITEMS.to_csv("items.csv", index=False)
    ratings().to_csv("ratings.csv", index=False)
    return tmp_path


def build(home, **changes) -> dict[str, list[dict]]:
    """Rows of each split, as the CSV view has them."""
    own.main(**{"ratings": "ratings.csv", "items": "items.csv", "name": "games", "noun": "board game", "min_history": 3,
                "history_length": 4, **changes})
    return {split: list(csv.DictReader(open(home / f"rec_data/games/{split}.csv", newline="")))
            for split in datasets.SPLITS}


def expected(least=3, most=4) -> list[dict]:
    """Every window the slow way."""
    table, found = ratings(), []
    for user, taken in table.sort_values("timestamp").groupby("User ID"):
        taken = taken.to_dict("records")
        for end in range(least, len(taken)):
            history = taken[max(0, end - most) : end]
            found.append({"user_id": user, "movie_id": taken[end]["game_id"], "timestamp": str(taken[end]["timestamp"]),
                          "rating": str(int(taken[end]["Rating"] >= 4)),
                          "history_movie_id": str([row["game_id"] for row in history]),
                          "history_rating": str([int(row["Rating"] >= 4) for row in history]),
                          "left": len(taken) - 1 - end})
    return sorted(found, key=lambda row: int(row["timestamp"]))


def without(rows: list[dict], *names) -> list[dict]:
    return sorted(({key: value for key, value in row.items() if key not in ("left", *names)} for row in rows),
                  key=lambda row: int(row["timestamp"]))


def test_split_by_time_cuts_all_windows_in_the_order_of_their_targets(raw, home, capsys):
    splits, windows = build(home), expected()
    first, second = int(len(windows) * 0.8), int(len(windows) * 0.9)
    for name, rows in (("train", windows[:first]), ("valid", windows[first:second]), ("test", windows[second:])):
        assert splits[name] == without(rows)
    text = capsys.readouterr().out
    assert "ratings.csv: user = User ID, item = game_id, rating = Rating, timestamp = timestamp" in text
    assert "items.csv: item = game_id, title = name, brand = brand" in text
    report = {cells[1].strip(): cells for cells in (line.split("|") for line in text.splitlines()) if len(cells) > 3}
    assert report["users with both answers"][1] and "item-mean" in report and "liked-ratio" in report
    sample = json.loads((home / "rec_data/games/train.json").read_text())[0]
    history = preference_text.parse(sample["input"])
    items = ast.literal_eval(splits["train"][0]["history_movie_id"])
    entries = [f'"Game, {item[1:]}{" (Ann & Co)" if int(item[1:]) % 2 else ""}"' for item in items]
    assert sorted([*history.liked, *history.disliked]) == sorted(entries)
    record = json.loads((home / "rec_data/games/dataset.json").read_text())
    assert (record["noun"], record["instruction"]) == ("board game", sample["instruction"])
    assert datasets.find_folder("TARGET", "games") == datasets.find_folder("SOURCE", "games") == home / "rec_data/games"


def test_a_cut_among_rows_of_one_time_is_told(raw, home, capsys):
    build(home)
    assert "share it" not in capsys.readouterr().out
    ratings().assign(timestamp=7).to_csv("ratings.csv", index=False)
    rows = {name: len(split) for name, split in build(home).items()}
    line = f"falls among rows of one time: {rows['valid']} of valid and {rows['test']} of test share it"
    assert line in capsys.readouterr().out
    assert line in " ".join(json.loads((home / "rec_data/games/dataset.json").read_text())["rules"])


def test_rows_are_the_last_ones_and_minus_one_is_all(raw, home):
    windows = expected()
    assert sum(build(home, rows=20).values(), []) == without(windows[-20:])
    assert len(sum(build(home, rows=-1).values(), [])) == len(windows)


def test_split_by_user_gives_no_user_to_two_splits(raw, home):
    splits = build(home, split="user")
    users = [{row["user_id"] for row in rows} for rows in splits.values()]
    assert sum(map(len, users)) == len(set.union(*users)) == 9
    assert without(sum(splits.values(), [])) == without(expected())


@pytest.mark.parametrize("rows", [10_000, 50])
def test_leave_last_out_tests_each_users_last_rating(raw, home, rows):
    splits, windows = build(home, split="leave-last-out", rows=rows), expected()
    for name, most, chosen in (
            ("train", 0.8, [row for row in windows if row["left"] > 1]),
            ("valid", 0.1, [row for row in windows if row["left"] == 1]),
            ("test", 0.1, [row for row in windows if row["left"] == 0])):
        assert without(splits[name]) == without(chosen[-int(most * rows):])


@pytest.mark.parametrize("flag", [None, "part"])
def test_a_column_can_hold_the_split(raw, home, flag):
    table = ratings()
    table[flag or "split"] = [("train", "validation", "Test")[number % 3] for number in table["timestamp"]]
    table.to_csv("ratings.csv", index=False)
    for name, rows in build(home, split=flag).items():
        assert {int(row["timestamp"]) % 3 for row in rows} == {("train", "valid", "test").index(name)}


def test_cold_rows_can_be_dropped(raw, home):
    ratings().assign(timestamp=range(len(ratings()))).to_csv("ratings.csv", index=False)
    table = pd.read_csv("ratings.csv")
    late = table["User ID"].isin(["u7", "u8"])
    table.loc[late, "timestamp"] += 10_000  # two users come after all others
    table.to_csv("ratings.csv", index=False)
    everything, warm = build(home), build(home, keep_cold=False)
    known = [{row[column] for row in everything["train"]} for column in ("user_id", "movie_id")]
    for split in ("valid", "test"):
        assert warm[split] == [row for row in everything[split]
                               if row["user_id"] in known[0] and row["movie_id"] in known[1]]
    assert len(warm["test"]) < len(everything["test"]) or len(warm["valid"]) < len(everything["valid"])


def write(table: pd.DataFrame, name: str) -> None:
    if name.endswith(".parquet"):
        table.to_parquet(name)
    elif "jsonl" in name:
        table.to_json(name, orient="records", lines=True)
    elif name.endswith((".inter", ".item")):
        kinds = {column: f"{column}:{'float' if column in ('Rating', 'timestamp') else 'token'}" for column in table}
        table.rename(columns=kinds).to_csv(name, sep="\t", index=False)
    else:
        table.to_csv(name, sep="\t" if ".tsv" in name else ",", index=False)


@pytest.mark.parametrize(("one", "other"), [
    ("r.tsv", "i.tsv"), ("r.jsonl", "i.jsonl"), ("r.parquet", "i.parquet"), ("r.inter", "i.item"),
    ("r.csv.gz", "i.jsonl.gz")])
def test_every_format_gives_the_same_files(raw, home, one, other):
    build(home)
    wanted = {split: files.sha256(home / f"rec_data/games/{split}.json") for split in datasets.SPLITS}
    write(ratings(), one)
    write(ITEMS, other)
    build(home, ratings=one, items=other)
    assert wanted == {split: files.sha256(home / f"rec_data/games/{split}.json") for split in datasets.SPLITS}


def test_labels_iso_dates_and_titles_beside_the_ratings(raw, home):
    table = ratings().merge(ITEMS, on="game_id")
    table["liked"] = table.pop("Rating") >= 4
    table["when"] = pd.to_datetime(table.pop("timestamp"), unit="h").dt.strftime("%Y-%m-%d %H:%M")
    table.to_csv("all.csv", index=False)
    splits = build(home, ratings="all.csv", items=None, timestamp="when")
    assert [row["rating"] for row in sum(splits.values(), [])] == [row["rating"] for row in expected()]
    assert splits["train"][0]["timestamp"].startswith("1970-01-0")


def test_a_named_label_wins_over_a_recognised_rating(raw, home, capsys):
    ratings().assign(liked=lambda table: (table["Rating"] < 4).astype(int)).to_csv("ratings.csv", index=False)
    by_rating = build(home)["train"]
    capsys.readouterr()
    by_label = build(home, label="liked")["train"]
    assert [row["rating"] for row in by_label] == [str(1 - int(row["rating"])) for row in by_rating]
    assert "item = game_id, label = liked, timestamp" in capsys.readouterr().out
    assert "like = column liked" in json.loads((home / "rec_data/games/dataset.json").read_text())["rules"]
    refused("--rating and --label", build, home, label="liked", rating="Rating")


def test_a_second_rating_of_an_item_is_left_out(raw, home):
    table = ratings()
    pd.concat([table, table.assign(timestamp=table["timestamp"] + 10_000, Rating=1)]).to_csv("ratings.csv", index=False)
    assert without(sum(build(home).values(), [])) == without(expected())


HEAD = b"user,item,rating,timestamp\n"


@pytest.mark.parametrize(("name", "content", "where"), [
    ("r.csv", HEAD + b"u,g1,5,1\nu,g2,x,2\n", "row 3, column rating: 'x' is not a number"),
    ("r.csv", HEAD + b"u,g1,5,1\nu,g2,nan,2\n", "row 3, column rating"),
    ("r.csv", HEAD + b"u,g1,5,1\nu,g2\n", "Row #3: Expected 4 columns, got 2"),
    ("r.csv", HEAD + b"u,g1,5,1\nu,g2,4,soon\n", "row 3, column timestamp: 'soon' is not a number"),
    ("r.csv", HEAD + b"u,g1,5,2014-04-03\nu,g2,4,03/04/2014\n", "row 3, column timestamp"),
    ("r.csv", HEAD + b"u,g1,5,1\n,g2,4,3\n", "row 3, column user: no value"),
    ("r.csv", HEAD + b"u,g1,5,1\nNaN,g2,4,3\n", "row 3, column user: 'NaN' names no user"),
    ("r.csv", HEAD + b"u,g1,5,1\nu\xff,g2,4,3\n", "row 3, column user: not UTF-8"),
    ("r.csv", HEAD, "holds no rows"), ("r.csv", b"", "empty"),
    ("r.csv", b"who,item,rating,timestamp\nu,g1,5,1\n", "no column is known as user among who, item"),
    ("r.csv", b"#,who,item,rating,timestamp\n1,u,g1,5,1\n", "no column is known as user among #, who"),
    ("r.csv", b"user,item,label,timestamp\nu,g1,1,1\nu,g2,5,1\n", "row 3, column label: '5'"),
    ("r.csv", b"user,item,label,timestamp,split\nu,g1,1,1,trian\nu,g2,0,2,test\n", "row 2, column split: 'trian'"),
    ("r.csv", b"user,item,timestamp\nu,g1,1\n", "--rating or --label"),
    ("r.csv", HEAD + b"u,zz,5,1\nu,zy,1,1\n", "no title for any rated item, as 'zz'"),
    ("r.csv", HEAD + b"u,g1,8,1\n", "--like_from 7"),
    ("r.csv", HEAD + b"u,g1,4,1\nu,g2,1,1\n", "no rows for train"),
    ("r.csv", HEAD + b"u," + b"g" * 1001 + b",5,1\n", "item of row 2 has 1,001 characters"),
    ("r.csv.gz", gzip.compress(HEAD + b"u,g1,5,1\n", mtime=0)[:-12], "not valid CSV"),
    ("r.jsonl", b'{"user":"u","item":"g1","rating":5,"timestamp":1}\n{"user":', "row 2 is not a JSON object"),
    ("r.jsonl", b'{"user":"u","item":"g1","rating":5,"timestamp":1}\n{"user":"u","item":"g1","rating":"x"}',
     "row 2, column rating: 'x'"),
    ("r.jsonl", b'{"user":"u","item":["g1"],"rating":5,"timestamp":1}\n', "row 1, column item: \"['g1']\" is a list"),
    ("r.jsonl", b"[{}]", "one object a line"), ("r.parquet", b"PAR1", "not valid Parquet"),
    ("r.xlsx", b"x", "its ending is none of .csv"),
])
def test_a_bad_file_is_refused_with_row_and_column(raw, home, name, content, where):
    (raw / name).write_bytes(content)
    assert where in refused(f"{name}" if "no title" not in where else "items.csv", build, home, ratings=name)
    assert not home.exists()


@pytest.mark.parametrize(("changes", "flag"), [
    *(({"name": name}, f"--name {name} is a published") for name in ("movie", "alpaca", "book-crossing")),
    ({"name": "../x"}, "--name"), ({"noun": "<b>"}, "--noun"),
    ({"min_history": 5}, "--min_history 5"), ({"rows": 0}, "--rows 0"), ({"user": "who"}, "no column 'who' for --user"),
    ({"split": "user", "keep_cold": False}, "--keep_cold"), ({"split": "part"}, "no column 'part' for --split"),
    ({"items": "nosuch.csv"}, "nosuch.csv: no such file")])
def test_wrong_flags_are_refused(raw, home, changes, flag):
    refused(flag, lambda: build(home, **changes))
    assert not home.exists()


def test_data_of_another_maker_is_not_replaced(raw, home):
    (home / "rec_data/games").mkdir(parents=True)
    (home / "rec_data/games/train.json").write_text("[]")
    refused("rec_data.own did not make", build, home)
    (home / "rec_data/games/train.json").unlink()
    build(home)
    build(home, rows=20)  # its own is


def test_a_split_without_rows_says_why(raw, home):
    ratings().assign(split="train").to_csv("ratings.csv", index=False)
    refused("no rows for valid: column split has no valid", build, home)
    table = ratings()
    table[table["User ID"] == "u1"].to_csv("ratings.csv", index=False)
    refused("no rows for train: 9 rows of 1 users are too few for --split user", build, home, split="user")
    refused("the longest history has 11 ratings, a row needs 12", build, home, min_history=12, history_length=12)


@pytest.mark.long
def test_ten_million_ratings_take_at_most_60_seconds_and_3_gib(home, tmp_path):
    count, generator = 10_000_000, np.random.default_rng(0)
    pd.DataFrame({"userId": generator.integers(0, 100_000, count), "movieId": generator.integers(0, 30_000, count),
                  "rating": generator.integers(1, 11, count) / 2,
                  "timestamp": generator.integers(10**9, 16 * 10**8, count)}).to_csv(tmp_path / "r.csv", index=False)
    pd.DataFrame({"movieId": range(30_000), "title": [f"Film {n}" for n in range(30_000)]}).to_csv(
        tmp_path / "i.csv", index=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["--ratings", tmp_path / "r.csv", "--items", tmp_path / "i.csv", "--name", "films", "--noun", "movie"]
    subprocess.run([sys.executable, "-m", "rec_data.own", *words], cwd=paths.ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    assert after.ru_maxrss < 3 * 2**20
