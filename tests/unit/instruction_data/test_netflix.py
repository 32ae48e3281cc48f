import csv
import json
import tarfile

import numpy as np
import pytest
from conftest import refused

from instruction_data import netflix, netflix_ratings
from tlrec.data.raw_files import RawFiles

TITLES = """1,2003,Dinosaur Planet
2,NULL,Rome: Naples, and Back
3,1997,"Odd" Al, Live!
4,1994,Paula's "Get Up" & Dance
5,2001,  Two  Spaces
6,2001,Monsters, Inc., and others
7,,No Year
8,1984,Caf\xe9
9,1990,1984
10,1990,NaN Street
11,1991,K
12,1992,L
"""


@pytest.fixture
def raw_dir(tmp_path):
    """Twelve movies; 7 rates them all, 1488844 all but the first, 5 ten of them (too few for a window), 100-105 all."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "movie_titles.csv").write_text(TITLES, encoding="ISO-8859-1")
    lines = []
    for movie in range(1, 13):
        lines.append(f"{movie}:")
        lines.append(f"7,{movie % 5 + 1},2005-0{9 if movie == 1 else 1}-{10 + movie % 3:02}")
        if movie > 1:
            lines.append(f"1488844,{5 if movie % 2 else 3},2004-12-31")
        if movie < 11:
            lines.append(f"5,5,2000-01-{movie:02}")
    for user in range(100, 106):  # enough windows for a split
        for movie in range(1, 13):
            lines.insert(1 + lines.index(f"{movie}:"), f"{user},{movie % 5 + 1},2005-05-05")
    (folder / "combined_data_1.txt").write_text("\n".join(lines) + "\n")
    return folder


def written(home):
    folder = home / "instruction_data" / "netflix"
    return {path.name: path for path in folder.iterdir()} if folder.exists() else {}


def test_read_titles_of_unusual_lines(raw_dir):
    titles = netflix.read_titles(RawFiles(raw_dir), "movie_titles.csv")
    assert list(titles) == list(range(1, 13)) and list(titles.values()) == [
        "Dinosaur Planet (2003)", "Rome: Naples and Back (<NA>)", "Odd Al Live! (1997)",
        'Paula\'s "Get Up" & Dance (1994)', "  Two  Spaces (2001)", "Monsters Inc. and others (2001)",
        "No Year (<NA>)", "Café (1984)", "1984 (1990)", "NaN Street (1990)", "K (1991)", "L (1992)"]


def test_netflix_builds_samples_and_record(home, raw_dir, capsys):
    netflix.main(str(raw_dir))
    output = capsys.readouterr().out
    assert "differs from the published file: git blob id" in output
    files = written(home)
    assert set(files) == {"dataset.json", "item_mapping.csv",
                          *(f"{s}.{v}" for s in ("train", "valid", "test") for v in ("json", "csv"))}
    rows = []
    for name in ("train", "valid", "test"):
        rows += csv.DictReader(open(files[f"{name}.csv"], newline=""))
    users = list(dict.fromkeys(row["user_id"] for row in rows))
    assert users == ["105", "104", "103", "102", "101", "100", "7", "1488844"]  # first appearance in the file
    mine = [row for row in rows if row["user_id"] == "7"]
    assert len(mine) == 2 and mine[-1]["movie_id"] == "1" and mine[-1]["timestamp"] == "2005-09-11"
    # equal dates keep file order: 3, 6, 9, 12 on the tenth, then 4, 7, 10 on the eleventh, then 2, 5, 8, 11
    assert mine[0]["history_movie_id"] == str([str(movie) for movie in (3, 6, 9, 12, 4, 7, 10, 2, 5, 8)])
    assert mine[0]["history_rating"] == str([1, 0, 1, 0, 1, 0, 0, 0, 0, 1])  # like = rating > 3
    at_threshold = [row for row in rows if row["user_id"] == "1488844"]
    assert len(at_threshold) == 1 and at_threshold[0]["history_movie_id"] == str([str(m) for m in range(2, 12)])
    sample = json.loads(files["test.json"].read_text())[-1]
    liked = ["Odd Al Live! (1997)", "  Two  Spaces (2001)", "No Year (<NA>)"]
    assert sample["input"].startswith("User Preference: " + ", ".join(f'"{title}"' for title in liked))
    assert sample["input"].endswith('the target movie "L (1992)"?') and sample["output"] == "No."
    record = json.loads(files["dataset.json"].read_text())
    assert record["rows"] == len(rows) and record["users"] == 8
    assert set(record["sources"]) == {"movie_titles.csv", "combined_data_1.txt"}
    assert files["item_mapping.csv"].read_bytes().splitlines()[4] == b'4,"Paula\'s ""Get Up"" & Dance (1994)"'


def test_netflix_reads_all_files_as_one_with_any_line_ends(home, raw_dir):
    netflix.main(str(raw_dir))
    before = {name: path.read_bytes() for name, path in written(home).items() if name != "dataset.json"}
    lines = (raw_dir / "combined_data_1.txt").read_text().splitlines()
    cuts = [0, *(lines.index(f"{movie}:") for movie in (4, 5, 9)), len(lines)]
    for number in range(4):
        content = "\r\n".join(lines[cuts[number] : cuts[number + 1]])  # nor does a missing one at the end
        (raw_dir / f"combined_data_{number + 1}.txt").write_bytes(content.encode())
    netflix.main(str(raw_dir), all_files=True)
    assert before == {name: path.read_bytes() for name, path in written(home).items() if name != "dataset.json"}


def as_netflix_gave_it(raw_dir, folder, order=1):
    """The movies of raw_dir one file each, with a last one that Kaggle's first file lacks; a tar in another order."""
    training_set = folder / "training_set"
    training_set.mkdir(parents=True)
    content = (raw_dir / "combined_data_1.txt").read_text()
    for movie in range(1, 13):
        lines = content.partition(f"\n{movie}:\n" if movie > 1 else "1:\n")[2].partition(f"\n{movie + 1}:\n")[0]
        (training_set / f"mv_{movie:07}.txt").write_text(f"{movie}:\n{lines.strip()}\n")
    (training_set / "mv_0004500.txt").write_text("4500:\n7,5,2005-12-31\n")
    (folder / "movie_titles.txt").write_bytes((raw_dir / "movie_titles.csv").read_bytes() + b"4500,1999,Late, Later\n")
    (folder / "probe.txt").write_text("1:\n7\n")
    with tarfile.open(folder / "training_set.tar", "w") as tar:
        for path in [training_set, *sorted(training_set.iterdir())[::order]]:
            tar.add(path, f"training_set/{path.name}" if path != training_set else "training_set", recursive=False)
    with tarfile.open(folder / "nf_prize_dataset.tar.gz", "w:gz") as tar:
        for name in ("probe.txt", "training_set.tar", "movie_titles.txt"):
            tar.add(folder / name, f"download/{name}")


@pytest.mark.parametrize("form", ["training_set", "training_set.tar", "nf_prize_dataset.tar.gz"])
@pytest.mark.parametrize("order", [1, -1])
def test_netflixs_own_files_give_the_rows_of_kaggles(home, raw_dir, tmp_path, form, order, capsys):
    netflix.main(str(raw_dir))
    wanted = {name: path.read_bytes() for name, path in written(home).items() if name.startswith(("train", "valid"))}
    wanted["test.json"] = written(home)["test.json"].read_bytes()
    folder = tmp_path / "original"
    as_netflix_gave_it(raw_dir, folder, order)
    if form == "training_set":
        (folder / "training_set.tar").unlink()
    else:
        for path in [*(folder / "training_set").iterdir()]:
            path.unlink()
        (folder / "training_set").rmdir()
    source = folder / form if form.endswith(".gz") else folder
    netflix.main(str(source))
    assert wanted == {name: path.read_bytes() for name, path in written(home).items() if name in wanted}
    sources = json.loads(written(home)["dataset.json"].read_text())["sources"]
    assert list(sources) == {"training_set": ["movie_titles.txt", "training_set/*"],
                             "training_set.tar": ["movie_titles.txt", "training_set.tar"],
                             "nf_prize_dataset.tar.gz": ["nf_prize_dataset.tar.gz"]}[form]
    netflix.main(str(source), all_files=True)
    rows = [row for split in ("train", "valid", "test") for row in
            csv.DictReader(open(written(home)[f"{split}.csv"], newline=""))]
    assert [row["movie_id"] for row in rows if row["user_id"] == "7"][-1] == "4500"


@pytest.mark.parametrize(("name", "change"), [
    ("mv_0000003.txt", lambda content: content.replace(b"2005-01", b"2005/01")),
    ("mv_0000002.txt", lambda content: b"2:\n"), ("mv_0000001.txt", lambda content: b"")])
def test_a_bad_file_of_a_movie_is_named(home, raw_dir, tmp_path, name, change):
    as_netflix_gave_it(raw_dir, tmp_path / "original")
    path = tmp_path / "original/training_set" / name
    path.write_bytes(change(path.read_bytes()))
    refused(name, netflix.main, str(tmp_path / "original"))
    assert written(home) == {}


@pytest.mark.parametrize("name", ["nf_prize_dataset.tar.gz", "training_set.tar"])
def test_a_truncated_archive_is_refused_in_one_line(home, raw_dir, tmp_path, name):
    folder = tmp_path / "original"
    as_netflix_gave_it(raw_dir, folder)
    (folder / "training_set").rename(tmp_path / "elsewhere")
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    refused(str(path if name.endswith(".gz") else folder), netflix.main, str(path if name.endswith(".gz") else folder))
    assert written(home) == {}


@pytest.mark.parametrize("block", [30, 64, 1000])
def test_read_ratings_is_independent_of_the_block_size(raw_dir, monkeypatch, block):
    complete = netflix_ratings.read_ratings(netflix.rating_files(RawFiles(raw_dir), False))
    monkeypatch.setattr(netflix_ratings, "BLOCK", block)
    pieces = netflix_ratings.read_ratings(netflix.rating_files(RawFiles(raw_dir), False))
    assert all(np.array_equal(a, b) for a, b in zip(complete, pieces, strict=True))
    lines = (raw_dir / "combined_data_1.txt").read_text().splitlines()
    assert len(complete.users) == sum(not line.endswith(":") for line in lines)


@pytest.mark.parametrize(("content", "line"), [
    ("1:\n7;3;2005-01-01\n", 2), ("7,3,2005-01-01\n1:\n", 1), ("1:\n7,3,2005-01-01\n8,3,2005-0", 3),
    ("1:\n7,3,2005-01-01\n8", 3), ("1:\n7,3,2005-01-01\n2:\n", None), ("1:\n7,3\n", 2),
    ("1:\n7,3,2005-01-01\n\n8,3,2005-01-01\n", 3), ("1:\n7,0,2005-01-01\n", 2), ("1:\n7,6,2005-01-01\n", 2),
    ("1:\n7,33,2005-01-01\n", 2), ("1:\n,3,2005-01-01\n", 2), ("1:\n-7,3,2005-01-01\n", 2),
    ("1:\n1234567890,3,2005-01-01\n", 2), ("1:\n7,3,2005/01/01\n", 2), ("x:\n7,3,2005-01-01\n", 1),
    ("1:\n7,3,2005-01-01\n99:\n7,3,2005-01-01\n", None), ("1:\n7,3,2005-01-01\n", None), ("user,rating,date\n", 1),
    ("x" * 5000, None), ("", None), ("\n", 1),
])
def test_netflix_refuses_bad_ratings_and_writes_nothing(home, raw_dir, content, line):
    (raw_dir / "combined_data_1.txt").write_text(content)
    message = refused(f"line {line}" if line else "", netflix.main, str(raw_dir))
    assert "combined_data_1.txt" in message or "movie_titles.csv" in message
    assert written(home) == {}


@pytest.mark.parametrize("content", ["1;2003;Dinosaur Planet\n", "1,2003\n", "1,new,Title\n", "", "id,year,title\n"])
def test_netflix_refuses_bad_titles_and_writes_nothing(home, raw_dir, content):
    (raw_dir / "movie_titles.csv").write_text(content)
    refused("movie_titles.csv", netflix.main, str(raw_dir))
    assert written(home) == {}
