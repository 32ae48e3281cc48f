"""rec_data.rating_files and rating_table: ids, texts, likes and times of files of every form."""

import json

import pandas as pd
import pytest
from conftest import refused

from rec_data import rating_files

ROLES = dict.fromkeys(["user", "item", "rating"])


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write a file and read it."""
    monkeypatch.chdir(tmp_path)

    def write_and_read(name, content, roles=ROLES, needed=("user", "item")):
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return rating_files.read(name, roles, list(needed), "game")
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
        refused(f"r.parquet: row {row}, column {name}: an id beyond 2**53", rating_files.read, "r.parquet", ROLES,
                ["user"], "game")
    table.assign(item=[4.0, 5.0, 6.0]).to_parquet("r.parquet")
    assert rating_files.read("r.parquet", ROLES, ["user"], "game").texts("item") == ["4", "5", "6"]
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
