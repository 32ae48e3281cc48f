"""The id rows of a split as arrays, the drawing of rows, titles, and errors."""

import numpy as np
import pandas as pd
import pytest
from conftest import make_rows, refused, write_split

from baselines import data
from tlrec.data import preference_text, samples, split_files

HEADER = "user,history_item_id,history_rating,item_id,rating\r\n"


def split_of(tmp_path, count=12, seed=0):
    write_split(tmp_path, "train", *make_rows(count, seed))
    return tmp_path / "train.json"


def book_ids(tmp_path, rows='7,"[5, 3]","[1, 0]",9,1\r\n8,"[3, 4, 2]","[0, 0, 1]",5,0\r\n'):
    path = tmp_path / "train.csv"
    path.write_text(HEADER + rows)
    return path


def test_published_ids_are_item_numbers(tmp_path):
    split = data.read(split_of(tmp_path))
    numbers, count = data.catalogue("movie", [split])
    assert count == 1683 and all(number == int(item) for item, number in numbers.items())
    assert set(numbers) == set(split.targets).union(*split.items)
    numbers, count = data.catalogue("music", [split, split._replace(targets=["unheard of"] * 12)])
    assert sorted(numbers.values()) == list(range(count)) and "unheard of" in numbers
    assert data.catalogue("movie", [split._replace(targets=["1683"] * 12)]).count < 1683  # not the published ids


def test_encode_fills_with_the_last_item_and_keeps_the_latest(tmp_path):
    split = data.read_book_ids(book_ids(tmp_path))
    catalogue = data.catalogue("book", [split])
    encoded = data.encode(split, catalogue)
    assert encoded.items.tolist() == [[5] + [3] * 9, [3, 4] + [2] * 8]
    assert encoded.likes.tolist() == [[1] + [0] * 9, [0, 0] + [1] * 8] and encoded.likes.dtype == np.float32
    assert encoded.targets.tolist() == [9, 5] and encoded.labels.tolist() == [1, 0]
    others = data.encode(split._replace(items=[["9", *["5"] * 10], []], likes=[[1, *[0] * 10], []]), catalogue)
    assert others.items.tolist() == [[5] * 10, [271_381] * 10] and others.likes[1].tolist() == [0] * 10


def test_book_ids_have_users_and_counts_but_no_text(tmp_path):
    split = data.read_book_ids(book_ids(tmp_path)).data
    assert split.users.tolist() == ["7", "8"] and split.title_counts.tolist() == [[1, 1], [1, 2]]
    assert (split.rows, split.domain, split.ids_sha256) == ([], "book", None)


@pytest.mark.parametrize(("rows", "problem"), [
    ('7,"[5, 3]","[1]",9,1\r\n', "row 0 has 2 history items but 1 ratings"),
    ("7,[5],[2],9,1\r\n", "other than 0 and 1"),
    ("7,[5],[1],9,4\r\n", "row 0 has a rating"), ("", "no rows"),
    ("7,x,[1],9,1\r\n", "row 0: 'x' is not a list"), ("1,2,3,4,5,6,7\r\n1\r\n", "train.csv"),
])
def test_book_ids_are_refused_by_row(tmp_path, rows, problem):
    assert problem in refused("train.csv", data.read_book_ids, book_ids(tmp_path, rows))


def test_missing_book_ids_name_the_command_that_fetches_them(tmp_path):
    refused("python -m rec_data.published baseline/books", data.read_book_ids, tmp_path / "train.csv")


def test_rows_are_drawn_as_pandas_or_as_the_language_model_draws_them():
    expected = pd.DataFrame({"a": range(50)}).sample(n=16, random_state=3).index.tolist()
    assert data.draw_rows(50, 16, 3, "pandas").tolist() == expected
    assert data.draw_rows(50, 16, 3, "llm").tolist() == samples.shuffled_rows(50, 3, 16) != expected


def test_titles_follow_the_order_of_items(tmp_path):
    splits = [data.read(split_of(tmp_path, 3, seed)) for seed in (0, 1)]
    numbers = data.catalogue("movie", splits).numbers
    assert data.titles(splits, numbers) == [f"No Film {item} ({1950 + int(item)})" for item in numbers]


def test_titles_of_books_name_the_author(tmp_path):
    entries = [preference_text.book_entry(f"Book, {n}", f"Ann {n}") for n in range(4)]
    history = preference_text.History(entries[:2], entries[2:3], "book", f'"{entries[3]}"?')
    row = {"instruction": "i", "input": preference_text.render(history), "output": "Yes."}
    write_split(tmp_path, "train", [row], split_files.id_rows_from_text([history], [1]))
    split = data.read(tmp_path / "train.json")
    titles = data.titles([split], data.catalogue("book", [split]).numbers)
    assert titles == [f"Book, {n} written by Ann {n}" for n in range(4)]


def test_book_titles_are_the_rows_of_the_raw_file(tmp_path):
    lines = ['"ISBN";"Book-Title";"Book-Author"', '"1";"Zero";"A"', '"2";"broken";"B";"C"', '"3";"Caf\xe9";"D"',
             '"4";"Two";']
    (tmp_path / "BX-Books.csv").write_text("\n".join(lines) + "\n", encoding="latin-1")
    numbers = {"0": 0, "1": 1, "2": 2}  # the broken line has no number
    assert data.book_titles(str(tmp_path), numbers) == ["Zero written by A", "Caf\xe9 written by D", "Two written by "]
    refused("BX-Books.csv", data.book_titles, str(tmp_path), {"3": 3})


def test_read_refuses_a_missing_or_broken_id_view(tmp_path):
    view = split_of(tmp_path).with_suffix(".csv")
    text = view.read_text()
    for broken in (text.replace('"[', '"', 1), text.replace("]", ", 2]", 2), text.replace("history_movie_id", "items")):
        view.write_text(broken)
        refused("train.csv", data.read, tmp_path / "train.json")
    view.unlink()
    refused("train.csv", data.read, tmp_path / "train.json")
