"""The adapter that a chain starts from, by base model."""

import json

import pytest
from conftest import refused

from tlrec.experiments import inputs
from tlrec.experiments.inputs import BaseModel
from tlrec.model.base_files import is_llama_1_7b

LLAMA_1 = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32_000,
           "max_position_embeddings": 2048, "rms_norm_eps": 1e-06}


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, True), ({"max_position_embeddings": None}, True),  # in the layout of decapoda: max_sequence_length
    ({"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}, False), ({"rms_norm_eps": 1e-5}, False),
    ({"hidden_size": 5120, "num_hidden_layers": 40}, False), ({"model_type": "mistral"}, False),
    ({"vocab_size": 32_001}, False)])
def test_is_llama_1_7b_looks_at_the_config(tmp_path, changes, expected):
    config = {name: value for name, value in (LLAMA_1 | changes).items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert is_llama_1_7b(tmp_path) is expected


def test_alpaca_adapter_is_fetched_for_llama_1_7b_alone(tmp_path, tiny_llama, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    monkeypatch.delenv("ALPACA", raising=False)
    base = BaseModel(str(tiny_llama), "llama-7b")
    refused("shell/alpaca.sh", inputs.find_alpaca_adapter, base, "movie")
    assert inputs.find_alpaca_adapter(BaseModel(inputs.EMBEDDED, inputs.EMBEDDED), "movie") is None
    monkeypatch.setattr(inputs, "is_llama_1_7b", lambda folder: True)  # a folder of 13 GB cannot be made here
    adapter = inputs.find_alpaca_adapter(base, "movie")
    assert adapter == tmp_path / "instruction_model/llama-7b/movie/alpaca" and not adapter.exists()
    own = tmp_path / "alpaca-lora-7B"
    own.mkdir()
    for name in ("adapter_config.json", "adapter_model.bin"):
        (own / name).write_text(f"my {name}")
    inputs.prepare_alpaca(adapter)  # what is there is kept, and copied to where the chain looks
    assert {path.name: path.read_text() for path in adapter.iterdir()} == {
        name: f"my {name}" for name in ("adapter_config.json", "adapter_model.bin")}
    (own / "adapter_model.bin").unlink()
    inputs.prepare_alpaca(adapter)  # not asked for again
    monkeypatch.setenv("ALPACA", "skip")
    assert inputs.find_alpaca_adapter(base, "movie") is None
