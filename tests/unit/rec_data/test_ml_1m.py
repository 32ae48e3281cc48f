"""rec_data.ml_1m: CoLLM's rule on generated raw files, and CoLLM's own copy of the split."""

import csv
import datetime
import json
import pickle
import random
import shutil
import zipfile

import pytest
from conftest import refused
from published_files import MIRROR, needs

from rec_data import ml_1m, published
from tlrec import files
from tlrec.data import datasets, preference_text
from tlrec.data.raw_files import RawFiles


def month(moment: int) -> int:
    """Calendar months since April 2000."""
    date = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return (date.year - 2000) * 12 + date.month - 4


@pytest.fixture
def raw(tmp_path):
    """Raw files with equal times, the first rating in April 2000, and (user, movie, rating, time) of each line."""
    generator = random.Random(0)
    start = int(datetime.datetime(2000, 4, 30, 23, 59, tzinfo=datetime.UTC).timestamp())
    lines = [(1, 7, 3, start)]
    for user in random.Random(1).sample(range(2, 40), 30):
        moments = [start + generator.randrange(35 * 30 * 86_400) for _ in range(9)]
        for movie in generator.sample(range(1, 30), 20):
            lines.append((user, movie, generator.randint(1, 5), generator.choice(moments)))
    generator.shuffle(lines)
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings.dat").write_text("".join("::".join(map(str, line)) + "\n" for line in lines))
    titles = "".join(f"{movie}::Filmé, The {movie} (1990)::Drama|War\n" for movie in range(1, 30))
    (folder / "movies.dat").write_text(titles, encoding="ISO-8859-1")
    return folder, lines


def test_raw_files_are_split_by_months_and_numbered_by_appearance(raw, home):
    folder, lines = raw
    seen = list(dict.fromkeys(movie for _, movie, _, _ in lines))
    kept = sorted((line for line in lines if 14 <= month(line[3]) <= 33),
                  key=lambda line: (line[0], line[3], seen.index(line[1])))
    users, movies = (list(dict.fromkeys(line[column] for line in kept)) for column in (0, 1))
    expected = {split: [] for split in datasets.SPLITS}
    for number, (user, movie, rating, moment) in enumerate(kept):
        before = [line for line in kept[:number] if line[0] == user][-10:]
        split = "train" if month(moment) < 24 else "valid" if month(moment) < 29 else "test"
        expected[split].append({
            "user_id": str(users.index(user) + 1), "movie_id": str(movies.index(movie) + 1),
            "rating": str(int(rating >= 4)), "timestamp": str(moment),
            "history_movie_id": str([str(movies.index(line[1]) + 1) for line in before]),
            "history_rating": str([int(line[2] >= 4) for line in before])})
    assert all(expected.values()) and expected["train"][0]["history_movie_id"] == "[]"
    ml_1m.main(str(folder))
    for split, rows in expected.items():
        assert list(csv.DictReader(open(home / f"rec_data/ml-1m/{split}.csv", newline=""))) == rows
    first = json.loads((home / "rec_data/ml-1m/test.json").read_text())[0]["input"]
    assert preference_text.parse(first).target.startswith('"Filmé, The ')
    assert len(json.loads((home / "rec_data/ml-1m/dataset.json").read_text())["sources"]) == 2


@pytest.mark.parametrize(("name", "line", "error"), [
    ("ratings.dat", "5::7::x::970000000", "row 2 is not"), ("ratings.dat", "5::7::4", "row 2 is not"),
    ("ratings.dat", "5::7::9::970000000", "row 2 is not"), ("ratings.dat", "5::99::4::1000000000", "rated movie 99"),
    ("movies.dat", "7::Film (1990)", "line 3 is not"), ("movies.dat", "::Film (1990)::War", "line 3 is not"),
])
def test_bad_raw_files_are_refused(raw, home, name, line, error):
    folder, _ = raw
    path = folder / name
    lines = path.read_text(encoding="ISO-8859-1").splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n", encoding="ISO-8859-1")
    refused(error, ml_1m.main, str(folder))
    assert not home.exists()


@needs(ml_1m.COLLM)
def test_collms_copy_gives_its_rows_users_answers_and_warm_rows(home, monkeypatch, capsys):
    monkeypatch.setattr(ml_1m, "GROUPLENS", "http://127.0.0.1:1/ml-1m.zip")
    monkeypatch.setattr(ml_1m.download, "MAX_ATTEMPTS", 1)
    monkeypatch.setenv("TLREC_MIRROR", str(MIRROR))
    ml_1m.main()
    text = capsys.readouterr().out
    assert "GroupLens is not available" in text and "are those of CoLLM's split" in text
    rows = {split: list(csv.DictReader(open(home / f"rec_data/ml-1m/{split}.csv", newline="")))
            for split in datasets.SPLITS}
    assert {split: len(part) for split, part in rows.items()} == {"train": 33_891, "valid": 10_401, "test": 7_331}
    table = ml_1m.read_collm(home / ml_1m.COLLM)
    known = [{row[column] for row in rows["train"]} for column in ("user_id", "movie_id")]
    for split, part in rows.items():
        of_split = table[table["split"] == split]
        for column, ours in {"user": "user_id", "item": "movie_id", "like": "rating", "timestamp": "timestamp"}.items():
            assert of_split[column].astype(str).tolist() == [row[ours] for row in part]
        warm = [int(row["user_id"] in known[0] and row["movie_id"] in known[1]) for row in part]
        assert of_split["warm"].tolist() == warm
    answers = {(row["user_id"], row["rating"]) for row in rows["test"]}
    users = {user for user, _ in answers}
    assert len(users) == 320 and sum({(user, "0"), (user, "1")} <= answers for user in users) == 224


def test_another_archive_is_not_unpickled(home, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for split in datasets.SPLITS:
            archive.writestr(f"ml-1m/{split}_ood2.pkl", pickle.dumps(Harmful()))
    refused("git blob id", ml_1m.read_collm, tmp_path / "ml-1m.zip")
    published_blob = published.CATALOGUE[ml_1m.COLLM]
    try:
        published.CATALOGUE[ml_1m.COLLM] = {"blob": files.git_blob_id(tmp_path / "ml-1m.zip")}
        refused("which no frame needs", ml_1m.read_collm, tmp_path / "ml-1m.zip")
    finally:
        published.CATALOGUE[ml_1m.COLLM] = published_blob
    assert not (tmp_path / "harm").exists()


def test_a_zip_of_the_raw_files_is_read_too(raw, home):
    folder, _ = raw
    shutil.make_archive(str(folder), "zip", folder.parent, folder.name)
    table = ml_1m.read_raw(RawFiles(folder.with_suffix(".zip")))
    assert table.equals(ml_1m.read_raw(RawFiles(folder)))
