import subprocess
import sys

import pytest
from conftest import command, refused, write_split

from rec_data import dataset_report
from tlrec import paths
from tlrec.data import preference_text, split_files


def rows(*numbers, liked=1, user="u", order=1):
    """Samples about three films each, and their id rows; the same number gives the same sample."""
    samples, ids = [], []
    for number in numbers:
        entries = [f'"Film {number + step}"' for step in range(3)][::order]
        samples.append(preference_text.make_sample("movie", entries, [1, 0, 1], f'"Target {number}"?', liked))
        ids.append(split_files.id_row(f"{user}{number}", "abc", [1, 0, 1], "t", liked, ""))
    return samples, ids


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A target with a duplicate and a row in two splits, and a source of which two rows leak."""
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    parts = {
        "rec_data/movie/train": rows(1, 2, 2, 3),
        "rec_data/movie/valid": rows(10),
        "rec_data/movie/test": rows(3, 20, 21, liked=0),
        "instruction_data/other/train": rows(20, 21, 40, order=-1),  # another order of titles, another answer
        "instruction_data/other/test": rows(100, 1000, user="v"),
    }
    for name, (samples, ids) in parts.items():
        folder = tmp_path / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_split(folder.parent, folder.name, samples, ids)
    (tmp_path / "instruction_data/other/test.csv").unlink()
    return tmp_path


def test_within_and_between_count_rows_and_leakage(home):
    target, source = dataset_report.Dataset("rec_data/movie/"), dataset_report.Dataset("instruction_data/other")
    train, test = (dataset_report.within(target, split, None, 512) for split in ("train", "test"))
    assert train == {
        "rows": "4", "share of Yes": "1.000", "titles per prompt (mean, min-max)": "3.0, 3-3", "users": "3",
        "users with both answers": "0", "items (distinct entries)": "8", "duplicates within the split": "1",
        "rows that other splits have as well": "1"}
    assert test["share of Yes"] == "0.000" and test["rows that other splits have as well"] == "1"
    assert dataset_report.within(source, "test", None, 512)["users"] == "-"
    assert dataset_report.between(source, target) == {
        "users that rec_data/movie has as well": "-",  # one split of the source has no id view
        "titles that rec_data/movie has as well": "6",
        "rows that stand in the test set of rec_data/movie (leakage)": "2",
    }
    write_split(home / "instruction_data/other", "test", *rows(100, user="v"))
    source = dataset_report.Dataset("instruction_data/other")
    assert dataset_report.between(source, target)["users that rec_data/movie has as well"] == "2"


def make_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(5)  # as a tokenizer is saved after use
    tokenizer.enable_padding(length=700)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_dataset_report_prints_its_table(home):
    make_tokenizer(home / "model")
    lines = command("-m", "rec_data.dataset_report", "rec_data/movie", "instruction_data/other", "--tokenizer",
                    home / "model", "--cutoff_len", "63", home=home).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0][1:] == ["rec_data/movie/train", "rec_data/movie/valid", "rec_data/movie/test",
                           "instruction_data/other/train", "instruction_data/other/test",
                           "instruction_data/other (all)"]
    cells = {row[0]: row[1] for row in rows[2:]}
    first = dataset_report.Dataset("rec_data/movie").splits["train"][0]
    words = len(dataset_report.prompts.format_prompt(first).split()) + 2
    assert cells["tokens (median, 95%, most)"] == f"{words}, {words}, {words}"
    assert cells["samples over 63 tokens"] == ("4" if words > 63 else "0")
    code = ("import sys, rec_data.dataset_report, rec_data.published, rec_data.book_crossing, "
            "instruction_data.netflix, instruction_data.amazon_book, instruction_data.alpaca; "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT).returncode == 0


def test_dataset_report_refuses_missing_data(home, monkeypatch):
    refused("rec_data/nothing", dataset_report.Dataset, "rec_data/nothing")
    refused(home.name, dataset_report.length_counter, str(home))
    (home / "tokenizer.json").write_text("{")
    refused(home.name, dataset_report.length_counter, str(home))
    refused("dataset", dataset_report.main)
    (home / "rec_data/movie/test.csv").write_text("user_id,rating\nu,1\n")
    refused("test.csv", dataset_report.Dataset, "rec_data/movie")
