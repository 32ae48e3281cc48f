import json

import pytest
from conftest import manifest, refused

from tlrec.model.adapter_manifest import MANIFEST_FILE, read_manifest


def test_read_manifest_equals_the_written_one(tmp_path):
    (tmp_path / MANIFEST_FILE).write_text(manifest())
    first = read_manifest(tmp_path)
    first.write(tmp_path)
    assert read_manifest(tmp_path) == first and json.loads((tmp_path / MANIFEST_FILE).read_text())["seconds"] == 1.5


def test_read_manifest_of_a_foreign_adapter_is_none(tmp_path):
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(("changes", "field"), [
    ({"chain": [], "rows_of_chain": []}, "chain"), ({"chain": [1]}, "chain"), ({"chain": "movielens"}, "chain"),
    ({"rows_of_chain": ["24"]}, "rows_of_chain"), ({"rows_of_chain": []}, "differ in length"),
    ({"commands": None}, "commands"), ({"base_model": "tiny"}, "base_model"), ({"arguments": []}, "arguments"),
    ({"data": None}, "data"), ({"shots": "16"}, "shots"), ({"seed": 0.5}, "seed"), ({"seconds": -1}, "seconds"),
    ({"seconds": 1e9}, "seconds"), ({"seconds": True}, "seconds"), ({"seconds_before": float("inf")}, "seconds_before"),
    ({"request": {"a": [float("nan")]}}, "request"), ({"unknown": 1}, "unknown"),
    ({"request": {"base_model": "1"}}, "base_model.fingerprint"), ({"rows_of_chain": [25]}, "data.train.rows"),
    ({"request": {"settings": {"prompt_template": "chat"}}}, "prompt_template"),
    ({"request": {"settings": {"seed": 1}}}, "seed"), ({"stages": [{"train": {"sha256": "1"}}]}, "data.train.sha256"),
    ({"files": {"../weights": "0"}}, "files"),
])
def test_read_manifest_refuses_invalid_fields(tmp_path, changes, field):
    (tmp_path / MANIFEST_FILE).write_text(manifest(**changes))
    assert field in refused(MANIFEST_FILE, read_manifest, tmp_path)


def test_read_manifest_refuses_a_missing_field(tmp_path):
    fields = json.loads(manifest())
    del fields["steps"]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(fields))
    refused("steps", read_manifest, tmp_path)
