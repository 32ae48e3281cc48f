"""rec_data.amazon_book_2017: CoLLM's rule on generated reviews."""

import csv
import datetime
import gzip
import json
import random
from collections import Counter

import pytest
from conftest import refused

from rec_data import amazon_book_2017
from tlrec.data import datasets, preference_text


def moment(year, month, day) -> int:
    return int(datetime.datetime(year, month, day, tzinfo=datetime.UTC).timestamp())


@pytest.fixture
def reviews(tmp_path):
    """Reviews of 2016 to 2018 at whole days; of the items and users of 2017 some have 20, some more."""
    generator, rows = random.Random(0), []
    for user in range(40):
        for item in generator.sample(range(36), 12 + user % 24):
            year = generator.choice([2017] * 8 + [2016, 2018])
            time = moment(year, generator.choice([*range(1, 12), 12, 12, 12]), generator.randint(1, 28))
            rows.append({"overall": float(generator.randint(3, 5)), "reviewerID": f"A{user}", "asin": f"{item:010}",
                         "style": {"Format:": "Paper"}, "reviewText": "Long\nand \"quoted\"", "unixReviewTime": time})
    rows += [{**rows[0], "reviewerID": "A0", "unixReviewTime": moment(2017, 1, 1)}]  # the first and last moments
    rows += [{**rows[0], "reviewerID": "A0", "unixReviewTime": moment(2018, 1, 1) - 1}]
    generator.shuffle(rows)
    with gzip.open(tmp_path / "Books_5.json.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with open(tmp_path / "meta_Books.json", "w") as file:
        file.writelines(json.dumps({"asin": f"{item:010}", "title": f"Book, The {item}", "also_buy": []}) + "\n"
                        for item in range(36) if item % 3)  # the others have no title
    return rows, str(tmp_path / "Books_5.json.gz"), str(tmp_path / "meta_Books.json")


def test_reviews_of_2017_are_filtered_once_and_split_by_month(reviews, home):
    rows, *paths = reviews
    of_year = [row for row in rows if moment(2017, 1, 1) <= row["unixReviewTime"] < moment(2018, 1, 1)]
    counts = [Counter(row[name] for row in of_year) for name in ("reviewerID", "asin")]
    kept = [row for row in of_year if counts[0][row["reviewerID"]] > 20 and counts[1][row["asin"]] > 20]
    assert 0 < len(kept) < len(of_year)
    assert min(Counter(row["asin"] for row in kept).values()) <= 20  # counted before filtering
    users = list(dict.fromkeys(row["reviewerID"] for row in kept))
    kept.sort(key=lambda row: (users.index(row["reviewerID"]), row["unixReviewTime"]))
    december = sorted((row for row in kept if row["unixReviewTime"] >= moment(2017, 12, 1)),
                      key=lambda row: row["unixReviewTime"])
    later = {id(row) for row in december[len(december) // 2 :]}
    expected = {split: [] for split in datasets.SPLITS}
    for number, row in enumerate(kept):
        before = [other for other in kept[:number] if other["reviewerID"] == row["reviewerID"]][-10:]
        split = ("train" if row["unixReviewTime"] < moment(2017, 12, 1) else "test" if id(row) in later else "valid")
        expected[split].append({
            "user_id": row["reviewerID"], "movie_id": row["asin"], "rating": str(int(row["overall"] == 5)),
            "timestamp": str(row["unixReviewTime"]), "history_movie_id": str([other["asin"] for other in before]),
            "history_rating": str([int(other["overall"] == 5) for other in before])})
    assert all(expected.values())
    amazon_book_2017.main(*paths)
    for split, wanted in expected.items():
        path = home / f"rec_data/amazon-book-2017/{split}.csv"
        assert list(csv.DictReader(open(path, newline=""))) == wanted
    entries = {entry for split in expected
               for row in json.loads((home / f"rec_data/amazon-book-2017/{split}.json").read_text())
               for entry in preference_text.parse(row["input"]).entries()}
    items = {row["asin"] for row in kept}
    assert entries == {f'"Book, The {int(item)}"' if int(item) % 3 else f'"{item}"' for item in items}


def test_other_files_are_refused(reviews, home, tmp_path):
    _, path, items = reviews
    refused("no column 'reviewerID' for --user", amazon_book_2017.main, items, items)
    (tmp_path / "few.json").write_text(json.dumps({
        "overall": 5.0, "reviewerID": "A", "asin": "1", "unixReviewTime": moment(2017, 5, 1)}) + "\n")
    refused("no review of 2017", amazon_book_2017.main, str(tmp_path / "few.json"), items)
    assert not home.exists()
