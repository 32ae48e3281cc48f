import csv
import json
import zipfile

import pytest
from conftest import refused

from instruction_data import amazon_book

REVIEW_HEADER = ["Id", "Title", "Price", "User_id", "profileName", "review/helpfulness", "review/score", "review/time",
                 "review/summary", "review/text"]
BOOK_HEADER = ["Title", "description", "authors", "image", "previewLink", "publisher", "publishedDate", "infoLink",
               "categories", "ratingsCount"]


def review(item, title, user, score="5.0", time="1000000000"):
    return [item, title, "", user, "name", "0/0", score, time, 'a "word"', "a text,\nof two lines"]


def book(title, authors="['Ann Lee']", date="1999-01-01"):
    return [title, "a description", authors, "", "", "P", date, "", "['Fiction']", ""]


def put(folder, reviews, books, review_header=REVIEW_HEADER, book_header=BOOK_HEADER):
    folder.mkdir(exist_ok=True)
    for name, header, rows in (("Books_rating.csv", review_header, reviews), ("books_data.csv", book_header, books)):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    return str(folder)


BOOKS = [
    *(book(f"T{n}") for n in range(12)),
    book('Tides, Maps and "Quoted"', '["Tim O\'Brien"]', "1985*"),
    book("Ünder", "['Émile Zola', 'Åse Bø']", "published 2001, again 2002"),
    book("No author", ""),
    book("No year", date="19??"),
    book("No date", date=""),
    book("T1", "['Somebody Else']"),  # the first of a title stays
    book("None"),
]


def result(home):
    folder = home / "instruction_data" / "amazon-book"
    rows, samples = [], []
    for name in ("train", "valid", "test"):
        rows += list(csv.DictReader(open(folder / f"{name}.csv", newline="", encoding="utf-8")))
        samples += json.loads((folder / f"{name}.json").read_text())
    return rows, samples, json.loads((folder / "dataset.json").read_text())


def many(count=12, user="U"):
    """Reviews of `count` users who have twelve books each: two windows a user."""
    pairs = [(u, n) for u in range(count) for n in range(12)]
    return [review(f"B{n}", f"T{n}", f"{user}{u}", time=str(1_000_000_000 + n)) for u, n in pairs]


def test_amazon_book_rules(home, tmp_path, capsys):
    mine = [review(f"B{n}", f"T{n}", "Z", time=str(1_000_000_000 + n)) for n in range(8)]
    mine += [
        review("B8", "T8", "Z", "4.9", "999999999"),  # earlier as a number, later as text; 4.9 is 4, a dislike
        review("0099", 'Tides, Maps and "Quoted"', "Z", "5.0", "1000000007"),
        review("B7", "T1", "Z", "1.0"),  # Z's second review of T1: left out
        review("B1", "Ünder", "Z", "4.0", "0999999998"),  # the id B1 has stood for T1 before
        review("B9", "T9", "Z", "", "1"), review("B9", "T9", "", "5.0", "1"), review("", "T9", "Z2", "5.0", "1"),
        review("B9", "", "Z", "5.0", "1"), review("B9", "None", "Z", "5.0", "1"), review("B9", "T9", "Z3", "5.0", ""),
        *(review("C", title, "Z") for title in ("No author", "No year", "No date", "Gone")),
    ]
    amazon_book.main(put(tmp_path / "raw", [*many(), *mine], BOOKS))
    rows, samples, record = result(home)
    assert [row["user_id"] for row in rows] == [f"U{n // 2}" for n in range(24)] + ["Z"]
    last, text = rows[-1], samples[-1]["input"]
    assert last["history_movie_id"] == str([f"B{n}" for n in range(8)] + ["0099", "B1"])
    assert last["history_rating"] == str([1] * 9 + [0])
    assert (last["movie_id"], last["rating"], last["timestamp"]) == ("B8", "0", "999999999")
    assert samples[-1]["output"] == "No."
    assert text.endswith('the target book "T8" written by Ann Lee?')
    assert '"Tides, Maps and "Quoted"" written by Tim O\'Brien\nUser Unpreference: "T1" written by Ann Lee\n' in text
    assert record["dropped"] == {
        "further reviews of a title by the same user": 2,  # two missing titles are the same
        "reviews without id, title, user, score or time": 5,
        "reviews of titles without a book, authors or year": 4,
    }
    assert "differs from the published file" in capsys.readouterr().out


def test_amazon_book_strips_brackets_of_authors(home, tmp_path):
    reviews = [review(item, "Ünder" if item == "B11" else title, *rest[1:2], *rest[4:6])
               for item, title, *rest in many(6)]
    amazon_book.main(put(tmp_path / "raw", reviews, BOOKS))
    rows, samples, _ = result(home)
    assert samples[-1]["input"].endswith("""the target book "Ünder" written by Émile Zola', 'Åse Bø?""")


def test_amazon_book_reads_an_archive_and_refuses_a_truncated_one(home, tmp_path):
    folder = tmp_path / "raw"
    put(folder, many(), BOOKS)
    archive = tmp_path / "raw.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for path in folder.iterdir():
            members.write(path, path.name)
    amazon_book.main(str(archive))
    assert set(result(home)[2]["sources"]) == {"raw.zip"}
    archive.write_bytes(archive.read_bytes()[:-100])
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    refused("raw.zip", amazon_book.main, str(archive))
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["delimiter", "column", "book column", "score", "cut", "latin-1", "empty",
                                    "header only", "few"])
def test_amazon_book_refuses_bad_files_and_writes_nothing(home, tmp_path, damage):
    folder = tmp_path / "raw"
    reviews, review_header, book_header = many(), list(REVIEW_HEADER), list(BOOK_HEADER)
    if damage == "column":
        review_header[7] = "time"
    elif damage == "book column":
        book_header[2] = "writers"
    elif damage == "score":
        reviews[3][6] = "five"
    elif damage == "few":
        reviews = reviews[:10]
    put(folder, reviews, BOOKS, review_header, book_header)
    path = folder / "Books_rating.csv"
    if damage == "delimiter":
        path.write_text(path.read_text().replace(",", ";"))
    elif damage == "cut":
        path.write_text(path.read_text()[:-60])
    elif damage == "latin-1":
        (folder / "books_data.csv").write_text((folder / "books_data.csv").read_text(), encoding="latin-1")
    elif damage == "empty":
        path.write_text("")
    elif damage == "header only":
        path.write_text(",".join(review_header) + "\n")
    named = "books_data.csv" if damage in ("book column", "latin-1") else "Books_rating.csv"
    refused(named, amazon_book.main, str(folder))
    assert not list(home.rglob("*.json"))


def test_amazon_book_refuses_an_id_of_megabytes(home, tmp_path):
    for number, column in ((0, "Id"), (3, "User_id")):
        reviews = many()
        reviews[7][number] = "B" * 2_000_000
        where = f"Books_rating.csv: {column} of row 7 has 2,000,000"
        refused(where, amazon_book.main, put(tmp_path / "raw", reviews, BOOKS))
    assert not (home / "instruction_data").exists()
