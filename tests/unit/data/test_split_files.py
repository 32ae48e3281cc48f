import json

import pandas as pd
import pytest
from conftest import write_split

from tlrec.data import split_files


@pytest.mark.parametrize("samples", [[], [{"instruction": 'é"\\', "input": "\n\t\u2028\x07😀", "output": ""}] * 2])
def test_write_split_equals_json_dumps(tmp_path, samples):
    write_split(tmp_path, "train", samples, None)
    assert (tmp_path / "train.json").read_text() == json.dumps(samples, indent=4)
    assert (tmp_path / "train.csv").exists() == (not samples)  # rows without ids have no CSV


def test_interrupted_write_pairs_keeps_the_old_files(tmp_path):
    write_split(tmp_path, "train", [{"a": "old"}], [["u", [], [], "i", 1, ""]])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def pairs():
        yield {"a": "new"}, ["u", [], [], "i", 1, ""]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split_files.write_pairs(tmp_path, "train", pairs())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_warm_rows_have_user_and_item_of_training_targets(tmp_path):
    rows = [["u", ["h"], [1], "i", 1, ""], ["v", [], [], "j", 0, ""]]
    write_split(tmp_path, "train", [{"a": "b"}] * 2, rows)
    others = [("u", "i"), ("u", "j"), ("w", "i"), ("u", "h"), ("u", "k")]
    table = pd.DataFrame(others, columns=["user_id", "movie_id"])
    assert split_files.warm_rows(tmp_path / "train.csv", table).tolist() == [True, True, False, False, False]
    assert split_files.warm_rows(tmp_path / "none.csv", table) is None
    assert split_files.warm_rows(tmp_path / "train.csv", table[["user_id"]]) is None
    (tmp_path / "train.csv").write_text("")
    assert split_files.warm_rows(tmp_path / "train.csv", table) is None
