"""Making a random LLaMA and running its whole path, at a size of megabytes; the same code makes and runs 7B."""

import json
import shutil

import pytest
import torch
from conftest import command, refused
from safetensors.torch import load_file

from base_model import random_llama
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.prompt_encoder import Encoder

SHAPE = {"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 4, "max_position_embeddings": 2048}


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory):
    return shutil.copytree(small_data / "rec_data", tmp_path_factory.mktemp("home7b") / "rec_data").parent


def make_model(home, name, monkeypatch, seed=0, tokenizer=""):
    monkeypatch.setenv("TLREC_HOME", str(home))
    monkeypatch.setattr(random_llama, "SHARD_BYTES", 100_000)
    random_llama.make(home / "base_model" / name, SHAPE, tokenizer, seed)
    return resolve_base_model(str(home / "base_model" / name))


def test_random_llama_shards_hold_every_weight_drawn_from_the_seed(home, monkeypatch):
    a, b, c = (make_model(home, name, monkeypatch, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert len(list(a.glob("model-*.safetensors"))) > 3 and base_model_fingerprint(a) == base_model_fingerprint(b)
    assert base_model_fingerprint(a) != base_model_fingerprint(c)
    weights = {name: tensor for path in a.glob("*.safetensors") for name, tensor in load_file(path).items()}
    index = json.loads((a / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == weights.keys()
    assert index["metadata"]["total_size"] == sum(2 * tensor.numel() for tensor in weights.values())
    assert all(tensor.dtype == torch.float16 and (tensor == 1).all() == ("norm" in name)
               for name, tensor in weights.items())
    assert weights["lm_head.weight"].float().std().item() == pytest.approx(0.02, rel=0.02)
    model, tokenizer = load_base_model(a, False, "float32", "cpu")
    assert len(tokenizer) <= 1000
    ids = Encoder(tokenizer).answer_token_ids
    assert [tokenizer.decode([token]) for token in ids] == ["Yes", "No"]


def test_random_llama_has_the_shape_of_llama_7b():
    from huggingface_hub import split_torch_state_dict_into_shards
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**random_llama.SHAPE))
    assert sum(weight.numel() for weight in model.parameters()) == 6_738_415_616
    shards = split_torch_state_dict_into_shards(model.half().state_dict(), max_shard_size=random_llama.SHARD_BYTES)
    assert len(shards.tensor_to_filename) == len(model.state_dict()) and len(shards.filename_to_tensors) == 14


def test_random_llama_refuses_a_bad_tokenizer_and_a_full_disk(home, tmp_path, embedded, monkeypatch):
    refused("1,000", make_model, home, "d", monkeypatch, tokenizer=str(embedded))
    refused(tmp_path.name, make_model, home, "d", monkeypatch, tokenizer=str(tmp_path))
    monkeypatch.setattr(random_llama.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 9))
    killed = home / "base_model" / ".making-d-1"
    killed.mkdir(parents=True)
    refused("d", make_model, home, "d", monkeypatch)
    assert not (home / "base_model" / "d").exists() and not killed.exists()  # which may be what fills the disk
    assert "unknown command 'llama'" in command("-m", "base_model.prepare", "llama", home=home, code=2)


def test_llama7b_scores_are_equal_after_reload(home, monkeypatch):
    base = make_model(home, "tiny-7b", monkeypatch)
    assert "one rec-tuning step" in command("-m", "benchmarks.llama7b", "tune", "--base_model", base, home=home)
    adapter = json.loads((home / "output_model/llama7b/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(base)
    command("-m", "benchmarks.llama7b", "reload", "--base_model", base, "--name", "tiny", home=home)
    record = json.loads((home / "results/reference/llama7b/tiny.json").read_text())
    assert record["trainable_parameters"] == 2 * 2 * 2 * 8 * 64  # layers x projections x A and B x rank x width
    assert record["largest_difference"] < 1e-4 and record["p_yes"]["tuned"] != record["p_yes"]["untuned"]
    assert record["peak"]["tune"]["memory_gib"] > record["peak"]["tune"]["anonymous_gib"] > 0
    assert len(record["measurements"]) == 7
    assert "| load in 8-bit " in (home / "results/reference/llama7b/tiny.md").read_text()
    again = command("-m", "benchmarks.llama7b", "tune", "--base_model", base, home=home, code=2)
    assert "holds an adapter already" in again
