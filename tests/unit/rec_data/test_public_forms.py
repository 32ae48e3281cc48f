"""Public data in the form in which it is downloaded: the commands of docs/your-own-data.md on generated files."""

import csv
import datetime
import gzip
import json
import random
import re

import pytest
from conftest import refused, run

from rec_data import own, public_presets
from tlrec import paths
from tlrec.data import datasets

SECTION = (paths.ROOT / "docs/your-own-data.md").read_text().partition("## Public data")[2]
COMMANDS = [line.split()[2:] for line in re.search(r"```bash\n(.*?)```", SECTION, re.DOTALL)[1].splitlines()]
ITEMS = {number: f"Part {number}: A, \"B\" & Ç" for number in range(100, 114)}


def ratings() -> list[tuple[int, int, int, int]]:
    """(user, item, rating 1 to 5, seconds), the users one after the other."""
    generator = random.Random(0)
    return [(user, item, generator.randint(1, 5), 1_500_000_000 + 90_000 * number)
            for user in range(1, 8) for number, item in enumerate(generator.sample(sorted(ITEMS), 13), 20 * user)]


def write_csv(path, header, rows, quoting=csv.QUOTE_MINIMAL):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=quoting).writerows([header, *rows])


def write_json(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def date(seconds, form):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(form)


def movielens_csv(folder):
    write_csv(folder / "ratings.csv", ["userId", "movieId", "rating", "timestamp"],
              [(user, item, stars - 0.5, time) for user, item, stars, time in ratings()])
    write_csv(folder / "movies.csv", ["movieId", "title", "genres"],
              [(item, title, "Drama|War") for item, title in ITEMS.items()])


def movielens_dat(folder):
    (folder / "ratings.dat").write_text("".join(
        f"{user}::{item}::{stars if user % 2 else stars - 0.5}::{time}\n" for user, item, stars, time in ratings()))
    (folder / "movies.dat").write_text("".join(f"{item}::{title}::Drama\n" for item, title in ITEMS.items()), "utf-8")


def steam(folder):
    write_csv(folder / "recommendations.csv",
              ["app_id", "helpful", "funny", "date", "is_recommended", "hours", "user_id", "review_id"],
              [(item, 0, 0, date(time, "%Y-%m-%d"), str(stars > 3).lower(), 36.3, user, number)
               for number, (user, item, stars, time) in enumerate(ratings())])
    write_csv(folder / "games.csv", ["app_id", "title", "date_release", "win", "mac", "rating", "user_reviews"],
              [(item, title, "2008-10-08", "true", "false", "Very Positive", 4206)
               for item, title in ITEMS.items()])


def goodreads(folder):
    shelved = [(9, item, 0, 1_400_000_000) for item in ITEMS] + [(1, item, 0, 1_400_000_000) for item in ITEMS]
    write_json(folder / "goodreads_interactions_dedup.json.gz", [
        {"user_id": f"{user:032x}", "book_id": str(item), "review_id": f"{time:032x}", "is_read": stars > 0,
         "rating": stars, "review_text_incomplete": "", "date_added": date(time, "%a %b %d %H:%M:%S -0800 %Y"),
         "date_updated": "", "read_at": "", "started_at": ""} for user, item, stars, time in [*shelved, *ratings()]])
    write_json(folder / "goodreads_books.json.gz", [
        {"isbn": "", "series": ["1070"], "popular_shelves": [{"count": "3", "name": "to-read"}], "book_id": str(item),
         "authors": [{"author_id": "604031", "role": ""}], "title": title, "title_without_series": title}
        for item, title in ITEMS.items()])


def amazon_2018(folder):
    write_json(folder / "Video_Games_5.json.gz", [
        {"overall": float(stars), "verified": True, "reviewTime": "10 17, 2015", "reviewerID": f"A{user}",
         "asin": f"B{item}", **({"style": {"Format:": " Video Game"}, "vote": "3"} if item % 2 else {}),
         "reviewText": "x", "summary": "y", "unixReviewTime": time} for user, item, stars, time in ratings()])
    write_json(folder / "meta_Video_Games.json.gz", [
        {"category": ["Video Games"], "tech1": "", "description": ["d"], "title": title, "also_buy": [], "brand": "Ann",
         "feature": [], "rank": [">#1"], "price": "$1", "asin": f"B{item}", "details": {"a": "b"} if item % 2 else ""}
        for item, title in ITEMS.items()])


def amazon_2023(folder):
    write_json(folder / "Video_Games.jsonl.gz", [
        {"rating": float(stars), "title": "a review's title", "text": "x", "images": [], "asin": f"V{item}{user}",
         "parent_asin": f"B{item}", "user_id": f"A{user}", "timestamp": 1000 * time + 123, "helpful_vote": 0,
         "verified_purchase": True} for user, item, stars, time in ratings()])
    write_json(folder / "meta_Video_Games.jsonl.gz", [
        {"main_category": "Video Games", "title": title, "subtitle": None, "average_rating": 4.5, "rating_number": 3,
         "author": {"avatar": "a", "name": "n", "about": []} if item % 2 else None, "features": [], "price": None,
         "images": [{"thumb": "t"}], "store": "Ann", "parent_asin": f"B{item}", "details": {"Rated": "E"}}
        for item, title in ITEMS.items()])


FORMS = {"ml-32m": movielens_csv, "ml-10m": movielens_dat, "steam": steam, "goodreads": goodreads,
         "games-2018": amazon_2018, "games-2023": amazon_2023}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1] if "--raw_dir" in words else words[-3])
def test_each_command_of_the_page_builds_the_dataset(home, tmp_path, monkeypatch, words):
    preset = words[2] if words[1] == "--preset" else None
    name = preset or words[words.index("--name") + 1]
    folder = tmp_path / (words[-1] if preset else ".")
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    FORMS[name](folder)
    run(words)
    rows = [row for split in datasets.SPLITS
            for row in csv.DictReader(open(home / f"rec_data/{name}/{split}.csv", newline=""))]
    windows = [user_rows[end] for user in range(1, 8) for end in (10, 11, 12)
               for user_rows in [[row for row in ratings() if row[0] == user]]]
    windows.sort(key=lambda row: row[3])
    pairs = [(int(row["user_id"].lstrip("A"), 16 if name == "goodreads" else 10), int(row["movie_id"].lstrip("B")))
             for row in rows]
    assert pairs == [(user, item) for user, item, _, _ in windows]
    like_from = 5 if name == "ml-32m" else 4
    halves = {row[:2]: row[2] >= (like_from if user % 2 or name != "ml-10m" else 5) for row in windows
              for user in [row[0]]}
    assert [int(row["rating"]) for row in rows] == [int(halves[pair]) for pair in pairs]
    sample = json.loads((home / f"rec_data/{name}/test.json").read_text())[-1]
    title = ITEMS[pairs[-1][1]] + " (Ann)" * name.startswith("games")
    if name != "goodreads":  # of which books and authors are told apart
        title = title.replace('"', "''")
    noun = {"ml": "movie", "goodreads": "book"}.get(name.partition("-")[0], "game")
    assert sample["input"].endswith(f'the target {noun} "{title}"?')


def test_every_form_has_a_command_and_every_preset_a_row():
    assert len(COMMANDS) == len(FORMS)
    assert all(f"`{name}`" in SECTION and f"`{preset.ratings}`" in SECTION
               for name, preset in public_presets.PRESETS.items())
    assert all(name in own.main.__doc__ for name in public_presets.PRESETS)


@pytest.mark.parametrize(("flags", "message"), [
    ({"preset": "ml-32m"}, "--preset and --raw_dir"), ({"raw_dir": "x"}, "--preset and --raw_dir"),
    ({"preset": "ml-3m", "raw_dir": "x"}, "choose from ml-latest"), ({}, "--ratings, --name and --noun"),
    ({"preset": "ml-32m", "raw_dir": "x"}, "ratings.csv: no such file")])
def test_wrong_presets_are_refused(home, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    refused(message, own.main, **flags)


@pytest.mark.parametrize(("content", "message"), [
    ("1::2::5\n", "no column is known as user"), ("1,2,5,9\n", "row 1 is not"), ("1::2::5::9\n1::3::x::9\n", "row 2")])
def test_bad_dat_files_are_refused(home, tmp_path, content, message):
    movielens_dat(tmp_path)
    (tmp_path / "ratings.dat").write_text(content)
    refused(message, own.main, preset="ml-10m", raw_dir=str(tmp_path))
