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


def test_choose_takes_a_search_of_equal_settings_and_data_only(bench, own):
    own.write_text(json.dumps({"movie": {"GRU": search()}}))
    assert weight_decay_search.choose(bench, "GRU") == 0.5
    fits = []
    bench.fit = lambda name, count, seed, value: fits.append((count, seed, value)) or SimpleNamespace(
        validation_auc=0.6 if value == 1e-5 else 0.5)
    bench.splits = dict.fromkeys(SPLITS, SimpleNamespace(data=SimpleNamespace(path="valid.json", labels=[0] * 100)))
    for other in ({"data": HASHES | {"train_ids_sha256": "z"}}, {"settings": asdict(BaselineConfig(alpha=1))}):
        own.write_text(json.dumps({"movie": {"GRU": search(**other)}}))
        fits.clear()
        assert weight_decay_search.choose(bench, "GRU") == 1e-5
        assert [(count, seed) for count, seed, _ in fits[:3]] == [(16, 0), (64, 0), (100, 0)] and len(fits) == 15
        assert weight_decay_search.choose(bench, "GRU") == 1e-5 and len(fits) == 15  # read from the file


@pytest.mark.parametrize(("content", "field"), [
    ([], "Input should be a valid dictionary"), ({"movie": []}, "movie"),
    ({"movie": {"GRU": search(weight_decay=-1)}}, "movie.GRU.weight_decay"),
    ({"movie": {"GRU": search(weight_decay=True)}}, "movie.GRU.weight_decay"),
    ({"movie": {"GRU": {}}}, "movie.GRU.weight_decay is missing"),
])
def test_choose_refuses_an_invalid_file(bench, own, content, field):
    own.write_text(json.dumps(content))
    assert field in refused("weight_decay.json", weight_decay_search.choose, bench, "GRU")
