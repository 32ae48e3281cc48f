"""The stages of a chain: names, folders, defaults, and the flags read back from manifests."""

import json

import pytest
from conftest import refused

from tlrec.experiments import chain
from tlrec.experiments.prepare_inputs import BaseModel

BASE = BaseModel("/models/llama-7b", "llama-7b")
SCRIPT_DEFAULTS = {"sample": -1, "seed": 42, "cutoff_len": 512, "micro_batch_size": 0, "select_by": "auc",
                   "val_data_path": None, "num_epochs": 3, "lora_target_modules": ["q_proj", "v_proj"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    (tmp_path / "cot_data").mkdir()
    return tmp_path


def write_manifest(stage, **arguments):
    stage.adapter.mkdir(parents=True, exist_ok=True)
    (stage.adapter / "tlrec.json").write_text(json.dumps({"arguments": arguments}))


def test_stages_of_the_full_chain(home):
    alpaca, cot_data = home / "instruction_model/llama-7b/movie/alpaca", home / "cot_data/stage123.json"
    cot, source = chain.Chain(BASE, "movie", "netflix", alpaca, cot_data).stages("target")
    assert (cot.start, cot.adapter.name, source.start, source.adapter.name) == (
        alpaca, "alpaca_stage123", cot.adapter, "alpaca_stage123_netflix")
    assert source.adapter.parent == home / "instruction_model/llama-7b/movie"
    assert (cot.train_data, source.train_data) == (cot_data, home / "instruction_data/netflix/train.json")
    valid = str(home / "rec_data/movie/valid.json")
    assert source.defaults == {"val_data_path": valid, "sample": -1}
    assert cot.defaults == {"val_data_path": valid, "sample": -1, "cutoff_len": 2048, "micro_batch_size": 2}


def test_chain_without_alpaca_and_chain_of_thought_is_one_stage(home):
    (stage,) = chain.Chain(BASE, "book", "amazon-book", None, None).stages("none")
    assert (stage.start, stage.adapter.name) == (None, "amazon-book")
    assert stage.defaults == {"select_by": "none", "sample": -1}


def test_stage_of_rules_data_is_named_rules(home):
    (home / "cot_data/stage123_about.json").write_text('{"teacher": "rules (no language model)"}')
    cot, _ = chain.Chain(BASE, "movie", "netflix", None, home / "cot_data/stage123.json").stages("source")
    assert cot.adapter.name == "stage123_rules"
    assert cot.defaults["val_data_path"] == str(home / "instruction_data/netflix/valid.json")


def test_few_shot_stage_names_seed_and_shots(home):
    stage = chain.few_shot_stage(BASE, "movie", None, "all", "3", chain.TALLREC_DEFAULTS)
    assert stage.adapter == home / "output_model/llama-7b/movie/untuned/3_all"
    assert (stage.defaults["sample"], stage.defaults["seed"], stage.defaults["num_epochs"]) == (-1, "3", 200)
    start = home / "alpaca_netflix"
    stage = chain.few_shot_stage(BASE, "movie", start, "16", "0", {})
    assert stage.adapter.parent.name == start.name and stage.defaults["sample"] == "16"


def test_read_chain_flags_from_manifests(home):
    cot, source = chain.Chain(BASE, "movie", "netflix", None, home / "cot_data/stage123.json").stages("target")
    common = {"base_model": "llama-7b", "output_dir": "x", "lora_target_modules": ["q_proj", "v_proj"],
              "val_data_path": "rec_data/movie/valid.json", "select_by": "auc", "seed": 7, "num_epochs": 3.0}
    write_manifest(cot, **common, cutoff_len=512, micro_batch_size=2, sample=-1, train_data_path=str(cot.train_data))
    # a chain that was stopped in its second stage: that takes the flags of the first, without its defaults
    assert chain.read_chain_flags([cot, source], SCRIPT_DEFAULTS) == [{"seed": 7, "cutoff_len": 512}] * 2
    write_manifest(source, **common | {"seed": 8}, cutoff_len=512, micro_batch_size=0, sample=100, lora_r=16)
    flags = chain.read_chain_flags([cot, source], SCRIPT_DEFAULTS | {"lora_r": 8})
    assert flags == [{"seed": 7, "cutoff_len": 512}, {"seed": 8, "sample": 100, "lora_r": 16}]


def test_read_chain_flags_without_manifest(home):
    stages = chain.Chain(BASE, "movie", "netflix", None, None).stages("target")
    assert chain.read_chain_flags(stages, SCRIPT_DEFAULTS) == [{}] and chain.read_arguments(stages[0].adapter) is None


@pytest.mark.parametrize(("valid", "select_on"), [
    (None, "none"), ("rec_data/movie/valid.json", "target"), ("instruction_data/netflix/valid.json", "source"),
    ("my_rows.json", "target")])
def test_read_select_on_from_the_validation_data(home, valid, select_on):
    assert chain.read_select_on({"val_data_path": valid}, "netflix") == select_on


def test_own_flags_keep_the_users_validation_data(home):
    (stage,) = chain.Chain(BASE, "movie", "netflix", None, None).stages("target")
    flags = chain.own_flags(stage, {"val_data_path": "my_rows.json"}, SCRIPT_DEFAULTS)
    assert flags == {"val_data_path": str(home / "my_rows.json")}


@pytest.mark.parametrize("text", ["[]", "{}", '{"arguments": 1}', "{"])
def test_read_arguments_refuses_a_manifest_without_arguments(home, text):
    (home / "tlrec.json").write_text(text)
    refused("tlrec.json", chain.read_arguments, home)
