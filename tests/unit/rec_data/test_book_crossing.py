import csv
import json
import random

import pytest
from conftest import refused

from rec_data import book_crossing
from tlrec.data import dataset_record

BOOK_HEADER = '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M"'
BOOK_HEADER += ';"Image-URL-L"'
RATING_HEADER = '"User-ID";"ISBN";"Book-Rating"'


def book(isbn, title, author="Ann Lee"):
    return f'"{isbn}";"{title}";"{author}";"1999";"P";"s";"m";"l"'


BOOKS = [
    *(book(f"{n:010}", f"T{n}") for n in range(30)),
    book("00000000QX", 'RED : a \\"Silver\\" (Paper)'),  # a stray quotation mark ends the quoting
    book("00000000DX", 'Tides, Maps &amp; ""Rivers""', "Gabriel García Márquez"),
    book("00000000BX", 'Broken \\";Line'),  # after it the semicolon separates: nine fields
    book("00000000NX", "No Author", ""),
    book("0000000001", "T1 again"),
]


def put(folder, ratings, books=BOOKS):
    folder.mkdir(exist_ok=True)
    lines = [f'"{user}";"{isbn}";"{rating}"' if rating is not None else f'"{user}";"{isbn}"'
             for user, isbn, rating in ratings]
    (folder / "BX-Book-Ratings.csv").write_text("\r\n".join([RATING_HEADER, *lines, ""]), encoding="latin-1")
    (folder / "BX-Books.csv").write_text("\r\n".join([BOOK_HEADER, *books, ""]), encoding="latin-1")
    return str(folder)


def result(home, folder="rec_data/book-crossing"):
    samples, rows = [], []
    for name in ("train", "valid", "test"):
        samples += json.loads((home / folder / f"{name}.json").read_text())
        rows += list(csv.DictReader(open(home / folder / f"{name}.csv", newline="", encoding="utf-8")))
    pairs = zip(rows, samples, strict=True)
    by_user = {row["user_id"]: (row, sample["input"], sample["output"]) for row, sample in pairs}
    assert len(by_user) == len(rows)
    return by_user, json.loads((home / folder / "dataset.json").read_text())


RATINGS = [
    *((f"u{user}", f"{n:010}", 8) for user in range(12) for n in range(4)),
    *(("three", f"{n:010}", 8) for n in range(3)),
    *(("many", f"{n:010}", n % 11) for n in range(25)),
    ("odd", "00000000QX", 0), ("odd", "00000000DX", 6), ("odd", "0000000001", 5), ("odd", "0000000002", 10),
    ("odd", "unlisted", 9), ("odd", "00000000NX", 9), ("odd", "00000000BX", 9), ("odd", "0000000003", None),
]


def test_book_crossing_rules(home, tmp_path, capsys):
    book_crossing.main(put(tmp_path / "raw", RATINGS))
    output = capsys.readouterr().out
    assert "shuffled with seed 42" in output and "cannot be reproduced" in output
    by_user, record = result(home)
    assert set(by_user) == {f"u{n}" for n in range(12)} | {"many", "odd"}
    order = list(range(25))
    random.seed(42)
    random.shuffle(order)
    row, text, answer = by_user["many"]
    history, target = order[:10], order[-1]
    assert row["history_movie_id"] == str([f'"T{n}" written by Ann Lee' for n in history])
    assert row["history_rating"] == str([int(n % 11 > 5) for n in history])
    assert text.endswith(f'the target book ""T{target}" written by Ann Lee"?')
    assert answer == ("Yes." if target % 11 > 5 else "No.") and row["rating"] == str(int(target % 11 > 5))
    liked = ", ".join(f'"T{n}" written by Ann Lee' for n in history if n % 11 > 5)
    assert text.startswith(f"User Preference: {liked}\n")
    entries = [
        ('"RED : a \\Silver\\" (Paper)"" written by Ann Lee', 0),
        ('"Tides, Maps &amp; "Rivers"" written by Gabriel García Márquez', 1),
        ('"T1" written by Ann Lee', 0),
        ('"T2" written by Ann Lee', 1),
    ]
    random.seed(42)
    random.shuffle(entries)
    row, text, _ = by_user["odd"]
    assert [row["history_movie_id"], row["movie_id"]] == [str([entry for entry, _ in entries[:-1]]), entries[-1][0]]
    assert row["history_rating"] == str([like for _, like in entries[:-1]]) and row["timestamp"] == ""
    assert record["dropped"] == {
        "broken lines of BX-Book-Ratings.csv": 0, "broken lines of BX-Books.csv": 1, "ratings cut short": 1,
        "books of an ISBN that was there before": 1, "ratings of books that are not listed": 2,
        "ratings of books without title or author": 1, "users with 3 ratings or fewer": 1}
    assert [record["splits"][name]["rows"] for name in ("train", "valid", "test")] == [11, 1, 2]


def test_kaggles_form_gives_the_same_rows(home, tmp_path):
    """Commas, UTF-8, quotes only where they are needed, doubled inside; empty fields for missing ones."""
    ratings = [row for row in RATINGS if row[2] is not None and row[1] != "00000000BX"]
    books = [book for book in BOOKS if "QX" not in book and "BX" not in book]
    book_crossing.main(put(tmp_path / "raw", ratings, books))
    wanted, record = result(home)
    (tmp_path / "kaggle").mkdir()
    for name, header, rows in (
            ("Ratings.csv", RATING_HEADER, ratings),
            ("Books.csv", BOOK_HEADER, [[field.replace('""', '"') for field in book[1:-1].split('";"')]
                                        for book in books])):
        with open(tmp_path / "kaggle" / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header.replace('"', "").split(";"), *rows])
    assert '"Tides, Maps &amp; ""Rivers"""' in (tmp_path / "kaggle/Books.csv").read_text(encoding="utf-8")
    book_crossing.main(str(tmp_path / "kaggle"))
    built, other = result(home)
    assert (built, list(built)) == (wanted, list(wanted)) and list(other["sources"]) == ["Ratings.csv", "Books.csv"]
    assert other["dropped"] == {reason.replace("BX-Book-Ratings", "Ratings").replace("BX-Books", "Books"): count
                                for reason, count in record["dropped"].items()}


def test_drop_implicit_leaves_out_ratings_of_zero(home, tmp_path):
    book_crossing.main(put(tmp_path / "raw", RATINGS), drop_implicit=True)
    by_user, record = result(home)
    assert "odd" not in by_user  # three explicit ratings remain
    assert record["dropped"]["implicit ratings (0)"] == 4 and "ratings of 0 left out" in record["rules"][0]


def test_book_crossing_seed_changes_only_the_split(home, tmp_path):
    raw_dir = put(tmp_path / "raw", RATINGS)
    book_crossing.main(raw_dir)
    first, record = result(home)
    book_crossing.main(raw_dir)
    assert result(home) == (first, record)
    book_crossing.main(raw_dir, seed=1)
    second, other = result(home)
    assert second == first and list(second) != list(first) and "seed(1)" in other["rules"][4]


def test_book_crossing_does_not_replace_published_files(home, tmp_path, monkeypatch):
    raw_dir = put(tmp_path / "raw", RATINGS)
    book_crossing.main(raw_dir, output_dir="rec_data/book")
    record = dataset_record.read_dataset_record(home / "rec_data" / "book")
    assert "differs from the published file" in record["splits"]["train"]["comparison"]
    monkeypatch.setattr(book_crossing.published, "identical", lambda name, path: path.name == "test.json")
    refused("book/test.json", book_crossing.main, raw_dir, output_dir="rec_data/book")


@pytest.mark.parametrize(("name", "change"), [
    ("BX-Books.csv", lambda text: text.replace(";", ",")),
    ("BX-Book-Ratings.csv", lambda text: text.replace(";", "\t")),
    ("BX-Books.csv", lambda text: text.replace("Book-Author", "Author")),
    ("BX-Book-Ratings.csv", lambda text: ""),
    ("BX-Book-Ratings.csv", lambda text: RATING_HEADER + "\r\n"),
    ("BX-Book-Ratings.csv", lambda text: text.replace('"8"', '"good"', 1)),
    ("BX-Book-Ratings.csv", lambda text: text.replace('"8"', '"inf"', 1)),
    ("BX-Book-Ratings.csv", lambda text: text.replace('"8"\r\n', '"8";"8"\r\n')),
    ("BX-Book-Ratings.csv", lambda text: text[: text.rindex('"')]),
    ("BX-Book-Ratings.csv", lambda text: "\r\n".join(text.split("\r\n")[:9])),
])
def test_book_crossing_refuses_bad_files_and_writes_nothing(home, tmp_path, name, change):
    raw_dir = put(tmp_path / "raw", RATINGS)
    path = tmp_path / "raw" / name
    path.write_text(change(path.read_bytes().decode("latin-1")), encoding="latin-1", newline="")
    refused(name, book_crossing.main, raw_dir)
    assert not list(home.rglob("*.json"))


def test_book_crossing_refuses_an_id_of_megabytes(home, tmp_path):
    for ratings, books, where in [
        ([*RATINGS[:5], ("u" * 2_000_000, "0000000001", 8)], BOOKS, "BX-Book-Ratings.csv: User-ID of row 5"),
        (RATINGS, [*BOOKS[:3], book("9" * 2_000_000, "T")], "BX-Books.csv: ISBN of row 3"),
    ]:
        refused(f"{where} has 2,000,000", book_crossing.main, put(tmp_path / "raw", ratings, books))
    assert not (home / "rec_data").exists()


def test_book_crossing_writes_to_a_folder_that_is_not_utf8(home, tmp_path):
    name = b"rec_data/caf\xe9".decode("utf-8", "surrogateescape")
    book_crossing.main(put(tmp_path / "raw", RATINGS), output_dir=name)
    assert dataset_record.read_dataset_record(home / name)["dataset"] == name
