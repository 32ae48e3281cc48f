import ast
import csv
import io
import json

import pytest
from conftest import refused, write_split

from rec_data import movielens, published
from tlrec import files
from tlrec.data import dataset_record, download, sliding_windows
from tlrec.data.raw_files import RawFiles


def put(folder, users=200, items=120, titles=None):
    folder.mkdir()
    pairs = [(user, item) for item in range(1, items + 1) for user in range(1, users + 1)]
    lines = [f"{user}\t{item}\t{(user + item) % 5 + 1}\t{880_000_000 + item}" for user, item in pairs]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    named = [f"{i}|Film, The {i} (1990)|01-Jan-1990||http://x|0|1" for i in range(1, (titles or items) + 1)]
    (folder / "u.item").write_text("\n".join(named) + "\n", encoding="ISO-8859-1")
    return folder


def test_movielens_builds_two_domains_without_a_common_user(home, tmp_path, capsys):
    movielens.main(str(put(tmp_path / "raw")))
    target, source = (
        dataset_record.read_dataset_record(home / name) for name in ("rec_data/movie", "instruction_data/movielens")
    )
    assert (target["rows"], source["rows"]) == (10_000, 10_000)
    assert set(target["sources"]) == {"u.data", "u.item"} and len(source["rules"]) == len(target["rules"]) + 1
    assert "differs from the published file: git blob id" in target["splits"]["test"]["comparison"]
    users = [set(), set()]
    for number, folder in enumerate(("rec_data/movie", "instruction_data/movielens")):
        for name in ("train", "valid", "test"):
            lines = (home / folder / f"{name}.csv").read_text().splitlines()[1:]
            users[number] |= {line.split(",")[0] for line in lines}
            for user, history, ratings, item, liked, _ in csv.reader(lines):
                items, likes = [*ast.literal_eval(history), item], [*ast.literal_eval(ratings), int(liked)]
                assert likes == [int((int(user) + int(one)) % 5 + 1 > 3) for one in items]
    assert users[0] and users[1] and not users[0] & users[1]
    assert '"Film, The ' in json.loads((home / "rec_data/movie/test.json").read_text())[0]["input"]


def test_movielens_keeps_existing_data_and_builds_missing_files(home, tmp_path, capsys, monkeypatch):
    raw_dir = str(put(tmp_path / "raw"))
    loaded = movielens.load(raw_dir)
    monkeypatch.setattr(movielens, "load", lambda given: loaded)
    folder = home / "rec_data/movie"
    movielens.main(folder="rec_data/movie")
    assert not (home / "instruction_data").exists()
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    for missing in (["test.csv", "dataset.json"], ["test.csv", "valid.json", "dataset.json"], ["train.json"]):
        for name in missing:
            (folder / name).unlink()
        movielens.main(folder="rec_data/movie")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    monkeypatch.setattr(movielens, "load", lambda given: pytest.fail("not needed"))
    movielens.main(folder="rec_data/movie")
    assert "rec_data/movie: already here, as its dataset.json says" in capsys.readouterr().out
    mine = json.dumps(json.loads(contents["test.json"])[:5])
    (folder / "test.json").write_text(mine)
    movielens.main(folder="rec_data/movie")
    (folder / "dataset.json").unlink()
    movielens.main(folder="rec_data/movie")
    assert capsys.readouterr().out.count("kept as your own data") == 2
    monkeypatch.setattr(movielens, "load", lambda given: loaded)
    (folder / "valid.json").unlink()
    refused("test.json", movielens.main, folder="rec_data/movie")
    assert (folder / "test.json").read_text() == mine and not (folder / "valid.json").exists()


def test_read_recbole_joins_titles_and_years():
    data = io.StringIO("user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t4\t5\n")
    items = io.StringIO("item_id\tmovie_title\trelease_year\tclass\n1\tFilm, The\t1990\tDrama\n2\tunknown\t\tx\n")
    interactions, titles = movielens.read_recbole(data, items)
    assert titles == {"1": "Film, The (1990)", "2": "unknown"}
    assert interactions.values.tolist() == [["7", "1", "4", "5"]]


def test_movielens_builds_the_published_movie_files(home):
    package = download.download_wheel(*movielens.RECBOLE)
    interactions, titles, _ = movielens._load(
        RawFiles(package), "ml-100k.inter", "ml-100k.item", movielens.read_recbole)
    samples, rows = movielens.build(interactions, titles)["rec_data/movie"]
    home.mkdir()
    for name, blob in {"train": "2bbe93bffecd30423606a6d8e78d22c9a6c5f64f",
                       "valid": "d26599315557a9587cd74d83c1c565670361d215",
                       "test": "ee8bb62c56a82d6f176b07d094cc39e8a13878bc"}.items():
        part = sliding_windows.split_slices(len(samples))[name]
        write_split(home, name, samples[part], rows[part])
        assert files.git_blob_id(home / f"{name}.json") == blob
        assert published.CATALOGUE[f"rec_data/movie/{name}.json"]["blob"] == blob


@pytest.mark.parametrize(("content", "named"), [
    ("", "u.data"), ("1,2,3,4\n", "u.data"), ("1\t1\tgood\t5\n", "row 0"), ("1\t1\t3\t5\n1\t1\tnan\t5\n", "row 1"),
    ("1\t1\t33\t5\n", "row 0"), ("1\t1\t1\t3\t5\n", "u.data"), ("1\t999\t3\t5\n", "item 999"),
    ("1\t1\t3\t5\n", "rec_data/movie"), ("1\t1\t3\t5\n1\t2", "row 1"),
])
def test_movielens_refuses_bad_ratings_and_writes_nothing(home, tmp_path, content, named):
    folder = put(tmp_path / "raw", 2, 3)
    (folder / "u.data").write_text(content)
    refused(named, movielens.main, str(folder))
    assert not list(home.rglob("*.json"))


@pytest.mark.parametrize("column", [0, 1, 3])
def test_movielens_refuses_an_id_of_megabytes(home, tmp_path, column):
    """An id takes its length times the number of rows where it reaches a numpy array of text."""
    raw = put(tmp_path / "raw")
    lines = (raw / "u.data").read_text().splitlines()
    fields = lines[70].split("\t")
    fields[column] = "7" * 2_000_000
    lines[70] = "\t".join(fields)
    (raw / "u.data").write_text("\n".join(lines) + "\n")
    message = refused(f"u.data: {movielens.RAW_COLUMNS[column]} of row 70 has 2,000,000", movielens.main, str(raw))
    assert len(message) < 200 and not (home / "rec_data").exists()
