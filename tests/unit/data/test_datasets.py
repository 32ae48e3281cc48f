"""Datasets by name, as target and as source."""

import pytest
from conftest import refused

from tlrec.data import datasets


@pytest.fixture
def prepared(home):
    for folder in ("rec_data/games", "rec_data/netflix", "instruction_data/netflix", "instruction_data/shop"):
        (home / folder).mkdir(parents=True)
        for split in datasets.SPLITS:
            (home / folder / f"{split}.json").write_text("[]")
    (home / "instruction_data/alpaca").mkdir()
    (home / "instruction_data/alpaca/train.json").write_text("[]")
    return home


def test_a_role_finds_its_own_folder_before_the_others(prepared):
    assert datasets.find_folder("TARGET", "games") == prepared / "rec_data/games"
    assert datasets.find_folder("SOURCE", "games") == prepared / "rec_data/games"
    assert datasets.find_folder("TARGET", "shop") == prepared / "instruction_data/shop"
    assert datasets.find_folder("SOURCE", "netflix") == prepared / "instruction_data/netflix"
    assert datasets.find_folder("TARGET", "netflix") == prepared / "rec_data/netflix"
    assert datasets.find_folder("TARGET", "movie") == prepared / "rec_data/movie"  # still to be made
    assert datasets.find_folder("SOURCE", "ml-1m") == prepared / "rec_data/ml-1m"


@pytest.mark.parametrize("name", ["gmaes", "alpaca", "", ".", "../rec_data/games", "rec_data/games"])
def test_an_unknown_name_is_refused_with_the_names_that_exist(prepared, name):
    assert "choose from: movie book ml-1m games netflix amazon-book movielens shop" in refused(
        f"TARGET {name!r}", datasets.find_folder, "TARGET", name)
    names = "netflix amazon-book movielens shop movie book ml-1m games"
    refused(f"choose from: {names}", datasets.find_folder, "SOURCE", name)
