import json

import pytest
from conftest import refused

from instruction_data import alpaca
from tlrec import files
from tlrec.data import samples

GOOD = {"instruction": "Say é.", "input": "", "output": "é", "text": "left out"}


def test_alpaca_keeps_records_with_an_output(home, tmp_path, capsys):
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([GOOD, GOOD | {"output": " "}, GOOD | {"input": " x\n"}]))
    alpaca.main(str(path))
    folder = home / "instruction_data" / "alpaca"
    assert sorted(file.name for file in folder.iterdir()) == ["dataset.json", "train.json"]
    expected = [{name: GOOD[name] for name in ("instruction", "input", "output")}] * 2
    expected[1] = expected[1] | {"input": " x\n"}
    assert (folder / "train.json").read_text() == json.dumps(expected, indent=4)
    assert len(samples.read_samples(folder / "train.json", answers_only=False)) == 2
    record = json.loads((folder / "dataset.json").read_text())
    assert record["dropped"] == {"records without an output": 1} and record["users"] is None
    assert record["sources"]["alpaca.json"]["sha256"] == files.sha256(path)


@pytest.mark.parametrize("content", [
    "{}", "", json.dumps([GOOD])[:-9], json.dumps([GOOD, {"input": "x", "output": "y"}]),
    json.dumps([GOOD | {"output": ""}])])
def test_alpaca_refuses_bad_files_and_writes_nothing(home, tmp_path, content):
    path = tmp_path / "alpaca.json"
    path.write_text(content)
    refused("alpaca.json", alpaca.main, str(path))
    assert not list(home.rglob("*.json"))


def test_alpaca_without_network_is_refused(home, monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    refused("yahma/alpaca-cleaned", alpaca.main)


def test_alpaca_downloads_the_same_records(home, tmp_path, monkeypatch):
    import datasets

    rows = [{name: GOOD[name] for name in ("output", "input", "instruction")}] * 3
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: datasets.Dataset.from_list(rows))
    alpaca.main()
    written = json.loads((home / "instruction_data" / "alpaca" / "train.json").read_text())
    assert len(written) == 3 and written[0]["output"] == "é"
