import json
import os

import pytest
from conftest import refused, write_split

from tlrec import files
from tlrec.data import dataset_record, preference_text, split_files

FOLDER = "rec_data/x"


def make(count, liked=1):
    entries = ['"A (1990)"', '"B (1991)"']
    samples = [preference_text.make_sample("movie", entries, [1, 0], f'"T{n} (2000)"?', liked) for n in range(count)]
    rows = [split_files.id_row(f"u{n % 3}", [1, 2], [1, 0], 10 + n, liked, "0") for n in range(count)]
    return samples, rows


def publish(samples, rows, catalogue=None, items=None):
    splits = dataset_record.split_samples(samples, rows)
    sources = {"a.csv": {"sha256": "0", "bytes": 1}}
    dataset_record.write_dataset(
        FOLDER, splits, "rec_data.x", sources, ["a rule"], {"broken": 2}, catalogue or {}, items
    )


@pytest.fixture
def folder(home):
    return home / FOLDER


def test_write_dataset_records_counts_and_hashes(folder, capsys):
    publish(*make(20), items=[("1", "A (1990)")])
    record = json.loads((folder / "dataset.json").read_text())
    assert {name: record[name] for name in ("rows", "share_yes", "users", "items", "dropped", "rules", "made_by")} == {
        "rows": 20, "share_yes": 1.0, "users": 3, "items": 22, "dropped": {"broken": 2}, "rules": ["a rule"],
        "made_by": "rec_data.x",
    }
    assert record["splits"]["test"]["rows"] == 2 and record["splits"]["train"]["items"] == 18
    assert record["splits"]["train"]["json"]["git_blob"] == files.git_blob_id(folder / "train.json")
    assert (folder / "item_mapping.csv").read_bytes() == b"movie_id,movie_name\r\n1,A (1990)\r\n"
    assert "left out: 2 broken" in capsys.readouterr().out


def test_write_dataset_compares_with_the_published_file(folder, tmp_path, monkeypatch, capsys):
    publish(*make(20))
    known = {"blob": files.git_blob_id(folder / "train.json"), "bytes": (folder / "train.json").stat().st_size}
    catalogue = {f"{FOLDER}/train.json": known, f"{FOLDER}/test.json": {"blob": "0" * 40}}
    publish(*make(20), catalogue)
    output = capsys.readouterr().out
    assert f"{folder}/train.json, .csv: 16 rows, byte-identical to the published file\n" in output
    assert "test.json, .csv: 2 rows, differs from the published file: git blob id " in output
    assert f"{folder}/valid.json, .csv: 2 rows\n" in output

    mirror = tmp_path / "mirror"
    (mirror / FOLDER).mkdir(parents=True)
    samples, rows = make(20)
    other = [*samples[:7], *make(20, liked=0)[0][7:]]
    write_split(mirror / FOLDER, "train", other[:16], None)
    monkeypatch.setenv("TLREC_MIRROR", str(mirror))
    publish(samples, rows, {f"{FOLDER}/train.json": {"blob": "1" * 40, "bytes": 5}})
    expected = "published " + "1" * 40 + " and 5 bytes; the first sample that differs is record 7"
    assert expected in capsys.readouterr().out


def test_write_dataset_refuses_too_few_rows(folder):
    refused("a.csv", publish, *make(1))
    assert not folder.exists()


def test_interrupted_write_dataset_leaves_the_old_one(folder):
    publish(*make(20))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def breaks():
        yield make(1)[0][0], make(1)[1][0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset_record.write_dataset(FOLDER, {"train": dataset_record.Split(2, breaks())}, "x", {}, [], {}, {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_killed_write_dataset_can_be_repeated(folder):
    """A kill between two renames, of which the files of a killed process are left as well."""
    publish(*make(20))
    with pytest.MonkeyPatch.context() as patched:
        renamed = []

        def replace(path, target):
            renamed.append(target)
            if len(renamed) > 9:  # all partial files of this write, then one of the dataset's
                raise KeyboardInterrupt
            return os.replace(path, target)

        patched.setattr(type(folder), "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            publish(*make(40))
    assert {path.name for path in renamed} > {"train.csv", "train.json"}
    (folder / ".unfinished-killed").mkdir()
    dataset_record.check_replaceable(folder, "rec_data.x", "--name")
    publish(*make(40))
    record = dataset_record.read_dataset_record(folder)
    assert all(split["json"]["git_blob"] == files.git_blob_id(folder / f"{name}.json")
               for name, split in record["splits"].items())
    assert not list(folder.glob(".unfinished*"))


def test_write_dataset_refuses_a_sample_that_readers_refuse(folder):
    samples, rows = make(20)
    samples[3] = preference_text.make_sample("movie", ['"A"'], [1], '"' + "T" * 200_000 + '"?', 1)
    refused("train.json: record 3", publish, samples, rows)
    assert not list(folder.iterdir())
