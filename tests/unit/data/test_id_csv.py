"""The CSV beside a split's JSON, as it is made here and as other people have it."""

import json

import pytest
from conftest import make_rows, refused, run, write_split

from baselines import data as baselines_data
from tlrec import files
from tlrec.data import samples
from tlrec.data.id_csv import read_id_view
from tlrec.evaluation.evaluate import read_split

ANSWERS = ["Yes.", "No.", "Yes.", "No."]


def beside(folder, table):
    """A split of four samples, each with two liked titles and a disliked one, and this CSV beside it."""
    text = 'User Preference: "A", "B"\nUser Unpreference: "C"\nWhether the user will like the target movie "D"?'
    (folder / "own.json").write_text(json.dumps([{"instruction": "i", "input": text, "output": a} for a in ANSWERS]))
    (folder / "own.csv").write_text(table)
    return folder / "own.json"


def table(ratings, histories=None, users="aabb"):
    histories = histories or ["1, 1, 0"] * 4
    rows = zip(users, histories, ratings, strict=True)
    return "user_id,history_movie_id,history_rating,movie_id,rating\n" + "".join(
        f'{user},"[1, 2, 3]","[{history}]",4,{rating}\n' for user, history, rating in rows)


def test_user_ids_of_the_id_view(tmp_path):
    records, rows = make_rows(6, 0)
    write_split(tmp_path, "test", records, rows)
    read = samples.read_samples(tmp_path / "test.json", answers_only=True)
    view = read_id_view(tmp_path / "test.json", read)
    assert list(view.table["user_id"]) == [f"u{n % 4}" for n in range(6)]
    assert view.sha256 == files.sha256(tmp_path / "test.csv")
    assert read_id_view(tmp_path / "other.json", read) is None


@pytest.mark.parametrize("user", [" ", "", "nan", "NaN", "None", "null", "<NA>"])
def test_id_view_refuses_a_missing_user_id(tmp_path, user):
    path = beside(tmp_path, table("1010", users=["a", "a", user, "b"]))
    assert f"row 2 has no user_id ({user!r})" in refused("own.csv", read_split, path)


def test_blank_user_ids_are_unknown_users(tmp_path):
    split = read_split(beside(tmp_path, table("1010", users=[""] * 4)))
    assert len(split.id_view) == 4 and split.users is None


@pytest.mark.parametrize("content", ["userId,movieId,rating\n1,2,5\n", "a;b\n1;2\n", "user_id,label\na,1\n"])
def test_a_csv_of_other_columns_is_left_aside(tmp_path, capsys, content):
    path = beside(tmp_path, content)
    split = read_split(path)
    assert split.id_view is split.users is None
    assert split.ids_sha256 == files.sha256(tmp_path / "own.csv")  # a record names what lay there
    (notice,) = capsys.readouterr().out.splitlines()
    assert "own.csv: no user_id and rating columns; left aside" in notice and "user_id and rating (0 or 1)" in notice
    assert "left aside" in refused("own.csv", baselines_data.read, path)


@pytest.mark.parametrize("content", [
    b"", "titre,ann\u00e9e\nAm\u00e9lie,2001\n".encode("latin-1"), b"\x89PNG\r\n\x1a\n\0\0\0\xff",
    "user_id,rating\na,1\n".encode("utf-16"), b"a,b\n1,2\n1,2,3\n"])
def test_a_file_that_is_no_csv_of_ours_is_left_aside(tmp_path, capsys, content):
    path = beside(tmp_path, "")
    (tmp_path / "own.csv").write_bytes(content)
    split = read_split(path)
    assert split.id_view is None and split.ids_sha256 == files.sha256(tmp_path / "own.csv")
    (notice,) = capsys.readouterr().out.splitlines()
    assert "own.csv: not readable as CSV (" in notice and "left aside" in notice
    assert "left aside" in refused("own.csv", baselines_data.read, path)


def test_our_columns_in_another_encoding_are_refused(tmp_path):
    path = beside(tmp_path, "")
    (tmp_path / "own.csv").write_bytes(table("1010", users="aab\u00e9").encode("latin-1"))
    assert "not readable as CSV" in refused("save it as UTF-8", read_split, path)


@pytest.mark.parametrize(("ratings", "least"), [("5241", 4), ("5343", 4), ("2121", 2), (["4.5", "3", "4", "0.5"], 4)])
def test_ratings_of_one_threshold_are_read_as_likes(tmp_path, capsys, ratings, least):
    histories = [f"{ratings[0]}, {ratings[2]}, {ratings[1]}"] * 4
    path = beside(tmp_path, table(ratings, histories))
    split = baselines_data.read(path)
    assert list(split.data.users) == list("aabb") and split.data.id_view["rating"].tolist() == list("1010")
    assert split.likes == [[1, 1, 0]] * 4
    assert f"ratings from {least} on are read as likes" in capsys.readouterr().out
    other = beside(tmp_path, table(ratings, [f"{ratings[0]}, {ratings[2]}, {ratings[0]}", *histories[1:]]))
    assert "row 0 has another history" in refused("own.csv", read_split, other)


@pytest.mark.parametrize("histories", [["1, 1, 0"] * 4, ["1, 1, 0", "0, 1, 1", "1, 0, 1", "1, 1, 0"]])
def test_a_history_of_likes_beside_ratings_of_another_scale_is_read_as_likes(tmp_path, histories):
    """Each column has its own scale, as docs/data.md says."""
    split = baselines_data.read(beside(tmp_path, table("5241", histories)))
    assert list(split.data.users) == list("aabb") and split.likes[0] == [1, 1, 0]
    other = beside(tmp_path, table("5241", ["1, 1, 1", *["1, 1, 0"] * 3]))
    assert "row 0 has another history" in refused("own.csv", read_split, other)


def test_a_history_of_ones_may_be_on_the_scale_of_the_ratings(tmp_path):
    """Where the text has no more liked titles than that: three ones are no likes of two liked titles."""
    text = 'User Preference: "A"\nUser Unpreference: "B", "C"\nWhether the user will like the target movie "D"?'
    path = beside(tmp_path, table("5241", ["1, 1"] * 4).replace("[1, 2, 3]", "[1, 2]"))
    path.write_text(json.dumps([{"instruction": "i", "input": text, "output": answer} for answer in ANSWERS]))
    assert baselines_data.read(path).likes == [[0, 0]] * 4


def test_a_history_of_another_scale_than_the_likes_is_left_as_it_is(tmp_path, capsys):
    path = beside(tmp_path, table("1010", ["5, 4, 1"] * 4))
    assert list(read_split(path).users) == list("aabb")
    assert "history_rating is not 0 or 1 as rating is" in capsys.readouterr().out
    assert "history rating other than 0 and 1" in refused("own.csv", baselines_data.read, path)


def test_a_history_between_the_thresholds_is_left_as_it_is(tmp_path):
    path = beside(tmp_path, table("5252", ["5, 5, 3"] * 4))  # whether 3 is a like, no answer says
    assert list(read_split(path).users) == list("aabb")
    assert "history rating other than 0 and 1" in refused("own.csv", baselines_data.read, path)


@pytest.mark.parametrize("ratings", ["5345", "1515", ["5", "1", "", "1"], ["good", "bad", "good", "bad"]])
def test_ratings_that_do_not_tell_the_answers_are_left_aside(tmp_path, capsys, ratings):
    path = beside(tmp_path, table(ratings))
    assert read_split(path).id_view is None
    assert "own.csv: no threshold on its ratings gives the answers of own.json; left" in capsys.readouterr().out


@pytest.mark.parametrize("ratings", ["1000", ["1", "0", "", "0"], ["1.0", "0.0", "0.0", "0.0"]])
def test_likes_that_disagree_with_the_answers_are_refused(tmp_path, ratings):
    assert "row 2 has another rating" in refused("own.csv", read_split, beside(tmp_path, table(ratings)))


def test_likes_written_as_decimals_and_missing_histories_are_read(tmp_path):
    path = beside(tmp_path, table(["1.0", "0.0", "1.0", "0.0"], ["1.0, 1.0, 0.0", "1, 1, 0", "1, 0", "0"]))
    assert list(read_split(path).users) == list("aabb")
    content = table("1010").replace('a,"[1, 2, 3]","[1, 1, 0]"', "a,,nan", 1)
    split = baselines_data.read(beside(tmp_path, content))
    assert split.items[0] == split.likes[0] == []


def test_own_samples_are_scored_with_figures_per_user(tmp_path, capsys, monkeypatch):
    """One record a line, answers without full stop, and ratings of 1 to 5 beside them."""
    records, _ = make_rows(12, 0)
    answers = [row["output"].lower().strip(".") for row in records]
    (tmp_path / "own.jsonl").write_text("\n".join(
        json.dumps(row | {"output": answer}) for row, answer in zip(records, answers, strict=True)))
    rows = [f"u{number % 2},{5 if answer == 'yes' else 2}\n" for number, answer in enumerate(answers)]
    (tmp_path / "own.csv").write_text("user_id,rating\n" + "".join(rows))
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    run(["evaluate", "--method", "liked-ratio", "--test_data_path", str(tmp_path / "own.jsonl")])
    text = capsys.readouterr().out
    assert "12 of 12 answers" in text and "ratings from 5 on" in text and "over 2 users with both answers" in text
    assert files.sha256(tmp_path / "own.jsonl") in (tmp_path / "results" / "runs.jsonl").read_text()
