import json

import pytest
from conftest import manifest

from tlrec.errors import InputError
from tlrec.model.manifest import MANIFEST_FILE, read_manifest


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    (tmp_path / MANIFEST_FILE).write_text(manifest())
    first = read_manifest(tmp_path)
    first.write(tmp_path)
    assert read_manifest(tmp_path) == first and json.loads((tmp_path / MANIFEST_FILE).read_text())["seconds"] == 1.5


def test_an_adapter_from_elsewhere_has_no_manifest(tmp_path):
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(("changes", "field"), [
    ({"chain": [], "rows_of_chain": []}, "chain"), ({"chain": [1]}, "chain"), ({"chain": "movielens"}, "chain"),
    ({"rows_of_chain": ["24"]}, "rows_of_chain"), ({"rows_of_chain": []}, "differ in length"),
    ({"commands": None}, "commands"), ({"base_model": "tiny"}, "base_model"), ({"arguments": []}, "arguments"),
    ({"data": None}, "data"), ({"shots": "16"}, "shots"), ({"seed": 0.5}, "seed"), ({"seconds": -1}, "seconds"),
    ({"seconds": 1e9}, "seconds"), ({"seconds": True}, "seconds"), ({"seconds_before": float("inf")}, "seconds_before"),
    ({"request": {"a": [float("nan")]}}, "request"), ({"unknown": 1}, "unknown"),
])
def test_a_manifest_that_tuning_did_not_write_is_refused(tmp_path, changes, field):
    (tmp_path / MANIFEST_FILE).write_text(manifest(**changes))
    with pytest.raises(InputError, match=f"{MANIFEST_FILE}: .*{field}.*tune the adapter again, or remove this file"):
        read_manifest(tmp_path)


def test_a_missing_field_is_named(tmp_path):
    fields = json.loads(manifest())
    del fields["steps"]
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(fields))
    with pytest.raises(InputError, match="steps is missing"):
        read_manifest(tmp_path)
