"""rec_data.rating_formats, column_names and column_values: ids, texts, likes and times of files of every form."""

import json

import pandas as pd
import pytest
from conftest import refused

from rec_data import rating_formats
from rec_data.column_values import read_entries, read_likes
from tlrec.data import preference_text

ROLES = dict.fromkeys(["user", "item", "rating"])


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write a file and read it."""
    monkeypatch.chdir(tmp_path)

    def write_and_read(name, content, roles=ROLES, needed=("user", "item")):
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return rating_formats.read(name, roles, list(needed), "game")
    return write_and_read


@pytest.mark.parametrize(("first", "last_rating"), [(2**56 + 1, 4.5), (2**63 + 1, 4), (10**25 + 1, 0.5)])
def test_json_ids_keep_all_their_digits(read, first, last_rating):
    rows = [{"user": first + number, "item": first + number % 3, "rating": 4} for number in range(7)]
    table = read("r.jsonl", [*rows, {"user": 1, "item": 2, "rating": last_rating}])
    assert table.texts("user") == [str(row["user"]) for row in rows] + ["1"]
    assert table.texts("item") == [str(row["item"]) for row in rows] + ["2"]
    assert [float(text) for text in table.texts("rating")] == [4] * 7 + [last_rating]


def test_float_ids_are_refused_where_digits_are_lost(read, tmp_path):
    for name, row in (("user", 3), ("item", 2)):
        table = pd.DataFrame({"user": [1.0, 2.0, 3.0], "item": [4.0, 5.0, 6.0], "rating": [1, 2, 3]})
        table.loc[row - 1, name] = 2.0**53
        table.to_parquet("r.parquet")
        refused(f"r.parquet: row {row}, column {name}: an id beyond 2**53", rating_formats.read, "r.parquet", ROLES,
                ["user"], "game")
    table.assign(item=[4.0, 5.0, 6.0]).to_parquet("r.parquet")
    assert rating_formats.read("r.parquet", ROLES, ["user"], "game").texts("item") == ["4", "5", "6"]
    refused("row 2, column user: an id beyond", read, "r.jsonl", [{"user": 1.0, "item": 1}, {"user": 1e17, "item": 1}])


@pytest.mark.parametrize(("name", "content", "where"), [
    ("r.csv", b"user,item\nu,g1\nu,g\x002\n", "row 3, column item: holds a NUL"),
    ("r.jsonl", b'{"user":"u","item":"g1"}\n{"user":"u","item":"g\\u00002"}\n', "row 2, column item: holds a NUL"),
    ("r.jsonl", b'{"user":"u","item":"g1"}\n{"user":"u","item":"g\x002"}\n', "row 2 is not a JSON object"),
    ("r.jsonl", b'{"user":"u","item":"g1"}\n{"user":"u","item":"g\\ud83d"}\n', "row 2 holds a lone surrogate"),
])
def test_text_that_no_reader_takes_is_refused_with_its_row(read, name, content, where):
    refused(f"{name}: {where}", read, name, content)


def test_blanks_around_an_id_are_no_part_of_it(read):
    table = read("r.csv", "user, item, rating\nann, chess, 5\nann ,go , 4\nbob, go,1\n")
    assert table.codes("user")[0].tolist() == [0, 0, 1] and table.codes("item")[1] == ["chess", "go"]
    refused("row 3, column item: no value", lambda: read("r.csv", "user,item\nu,go\nu, \n").codes("item"))


@pytest.mark.parametrize(("ratings", "like_from", "words"), [
    ([0, 1, 1], None, "no ratings in column rating are likes, with like = rating >= 4 of from 0 to 1"),
    ([1, 3, 5], 9, "no ratings"), ([1, 3, 5], 1, "all ratings"), ([4, 5, 4.5], None, "all ratings")])
def test_ratings_of_which_all_or_none_are_likes_are_refused(read, ratings, like_from, words):
    table = read("r.csv", "user,item,rating\n" + "".join(f"u,g,{rating}\n" for rating in ratings))
    assert "--like_from" in refused(words, read_likes, table, like_from, None)


def test_labels_of_one_answer_and_rating_flags_beside_labels_are_refused(read):
    roles = {"user": None, "label": None}
    table = read("r.csv", "user,liked\nu,1\nu,1\n", roles, ["user"])
    refused("all labels in column liked are 1", read_likes, table, None, None)
    table = read("r.csv", "user,liked\nu,1\nu,0\n", roles, ["user"])
    refused("--like_from is a rating", read_likes, table, 1, None)
    assert read_likes(table, None, None)[1] == "like = column liked"


CATALOGUE = {"item": None, "title": None, "author": None, "brand": None}


def test_an_item_without_an_author_keeps_its_title(read):
    items = [{"item": 1, "title": "Go", "author": "Ann"}, {"item": 2, "title": "Uno", "author": None}]
    assert read_entries(read("i.jsonl", items, CATALOGUE), "game") == {"1": '"Go" written by Ann', "2": '"Uno"'}
    assert read_entries(read("i.jsonl", items[1:], CATALOGUE), "game") == {"2": '"Uno"'}


@pytest.mark.parametrize("noun", ["game", "book"])
@pytest.mark.parametrize("author", ["", "Ann", 'A, "B'])
def test_every_history_has_as_many_entries_as_items(read, noun, author):
    titles = ['x" written by Someone', 'Ends with quote"', '7" single', 'Say "Yes" now', "Plain"]
    items = [{"item": number, "title": title} for number, title in enumerate(titles)]
    items += [{"item": 9, "title": "Other", "author": author}] * bool(author)
    entries = [*read_entries(read("i.jsonl", items, CATALOGUE), noun).values()]
    for target in entries:
        for liked in entries:
            text = preference_text.render(preference_text.History([liked, *entries], entries, noun, f"{target}?"))
            history = preference_text.parse(text)
            assert (len(history.liked), len(history.disliked)) == (len(entries) + 1, len(entries))
    assert '"Say "Yes" now"' in entries


def test_a_title_of_a_megabyte_is_refused_with_its_row(read):
    table = read("i.csv", f"item,title\n1,Go\n2,{'x' * 1_000_000}\n", CATALOGUE)
    refused("i.csv: row 3, column title: 1,000,000 characters", read_entries, table, "game")


ROWS = [f"{number},Title {number}" for number in range(2, 40)]


def with_row(row: str, number: int = 5) -> str:
    """A catalogue whose row `number` (the header is row 1) is another one."""
    return "\n".join(["item,title", *ROWS[: number - 2], row, *ROWS[number - 1 :]])


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(("row", "number"), [('5,"Title', 5), ('5,"Title', 38), ('39,"Title', 39)])
def test_an_unclosed_quotation_mark_is_refused_with_its_row(read, row, number, end):
    refused(f"i.csv: row {number}: a quotation mark", read, "i.csv", with_row(row, number) + end, CATALOGUE, ["item"])


def test_an_unclosed_quotation_mark_that_the_next_one_closes_is_refused(read):
    text = with_row('5,"Title').replace("20,Title 20", '20,"Title 20"')
    refused("i.csv: row 5: a quotation mark", read, "i.csv", text, CATALOGUE, ["item"])


@pytest.mark.parametrize("row", ['5,"Two\nlines"', '5,"Say ""Yes"""', '5,7" single', "\n5,after a blank line"])
def test_quotation_marks_in_order_are_read(read, row):
    assert len(read("i.csv", with_row(row), CATALOGUE, ["item"]).codes("item")[0]) == len(ROWS)


@pytest.mark.parametrize(("name", "content", "where"), [
    ("r.csv", "user,item\nu,g".encode("utf-16"), "is UTF-16"), ("r.jsonl", '{"user": 1}'.encode("utf-16"), "is UTF-16"),
    ("r.csv", b"x,user,item\n1,u,g\n1,u,g\xff\n", "row 3, column item: not UTF-8"),
    ("r.csv", b"user,item,rating,rating\nu,g,1,2\n", "2 columns are named 'rating'")])
def test_encodings_and_columns_of_one_name_are_told(read, name, content, where):
    refused(f"{name}: {where}", read, name, content)


TIMED = {"user": None, "timestamp": None}
SECONDS = [1_000_000_000 + 86_400 * number for number in range(9)]


@pytest.mark.parametrize(("changes", "row"), [
    ({4: SECONDS[4] * 1000}, 6), ({4: f"{SECONDS[4]}500.5"}, 6), ({0: SECONDS[0] * 10**6}, 2),
    ({number: SECONDS[number] * 1000 for number in range(9) if number != 7}, 9)])
def test_a_time_in_another_unit_is_refused_with_its_row(read, changes, row):
    times = [changes.get(number, seconds) for number, seconds in enumerate(SECONDS)]
    table = read("r.csv", "user,timestamp\n" + "".join(f"u,{time}\n" for time in times), TIMED, TIMED)
    refused(f"row {row}, column timestamp", table.times)


@pytest.mark.parametrize("times", [
    [0, *(seconds * 1000 for seconds in SECONDS)], [-1, *SECONDS], [*range(9)], [10**power for power in range(8)],
    [*(seconds + 0.5 for seconds in SECONDS)], [1, 10**12, 2 * 10**12], [2000, 2024]])
def test_times_of_one_unit_are_read(read, times):
    table = read("r.csv", "user,timestamp\n" + "".join(f"u,{time}\n" for time in times), TIMED, TIMED)
    assert table.times().tolist() == times
