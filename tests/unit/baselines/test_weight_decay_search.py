"""The file of weight decays: which search is taken, and what is refused."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from conftest import refused

from baselines import weight_decay_search
from baselines.config import BaselineConfig
from baselines.grid import GridConfig

SPLITS = dict.fromkeys(("train", "valid", "test"), SimpleNamespace(data=None))
HASHES = {"train_sha256": "a", "train_ids_sha256": "b", "text_encoder": None}


@pytest.fixture
def bench():
    """What choose() reads of a baselines.grid.Bench before it searches."""
    return SimpleNamespace(title=lambda name: name, settings=BaselineConfig(), grid=GridConfig(), splits=SPLITS,
                           hashes=lambda name: HASHES)


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "weight_decay.json"


def search(**changes) -> dict:
    return {"weight_decay": 0.5, "shots": [16], "mean_validation_auc": {"5e-01": 0.6},
            "settings": asdict(BaselineConfig()), "data": HASHES} | changes


def test_choose_prefers_the_own_search_for_equal_settings_and_data(bench, own):
    own.write_text(json.dumps({"movie": {"GRU": search()}}))
    assert weight_decay_search.choose(bench, "GRU") == 0.5
    committed = json.loads(weight_decay_search.COMMITTED.read_text())["movie"]["GRU"]["weight_decay"]
    for other in ({"data": HASHES | {"train_ids_sha256": "z"}}, {"settings": asdict(BaselineConfig(patience=1))}):
        own.write_text(json.dumps({"movie": {"GRU": search(**other)}}))
        assert weight_decay_search.choose(bench, "GRU") == committed


@pytest.mark.parametrize(("content", "field"), [
    ([], "Input should be a valid dictionary"), ({"movie": []}, "movie"),
    ({"movie": {"GRU": search(weight_decay=-1)}}, "movie.GRU.weight_decay"),
    ({"movie": {"GRU": search(weight_decay=True)}}, "movie.GRU.weight_decay"),
    ({"movie": {"GRU": {}}}, "movie.GRU.weight_decay is missing"),
])
def test_choose_refuses_an_invalid_file(bench, own, content, field):
    own.write_text(json.dumps(content))
    assert field in refused("weight_decay.json", weight_decay_search.choose, bench, "GRU")
