import json
import os
import shutil

import numpy as np
import pytest
import torch
from conftest import command, make_rows, refused
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from sentencepiece_models import TOKENIZER_CONFIGS, write_layout
from transformers import AutoModelForCausalLM, AutoTokenizer

from base_model import export
from tlrec import files
from tlrec.data import samples
from tlrec.model import scoring
from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.load_tokenizer import PROBES, load_tokenizer
from tlrec.model.prompt_encoder import Encoder

ROWS = [samples.Sample(**sample) for sample in make_rows(8, 3)[0]]


@pytest.fixture(autouse=True)
def no_record(tmp_path, monkeypatch):
    """A card is written from the record; not from that of the person who runs the tests."""
    monkeypatch.setattr("tlrec.paths.results_dir", lambda: tmp_path / "results")


@pytest.fixture(scope="module")
def adapter(tiny_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters") / "movie"
    torch.manual_seed(4)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False,
    )).save_pretrained(folder)
    return folder


def test_export_scores_equal_base_and_adapter(tiny_llama, adapter, tmp_path):
    text = command("-m", "base_model.export", "--base_model", tiny_llama, "--lora_weights", adapter,
                   "--output_dir", tmp_path / "merged", home=tmp_path)
    assert "tiny-llama + movie, float32" in text
    base, words = load_base_model(tiny_llama, False, "float32", "cpu")
    untuned = scoring.score(base, Encoder(words), ROWS).p_yes
    found = inspect_adapter(adapter, tiny_llama)
    tuned = scoring.score(attach_adapter(base, LoraConfig.from_pretrained(adapter), found), Encoder(words), ROWS).p_yes
    merged, words = load_base_model(resolve_base_model(str(tmp_path / "merged")), False, "float32", "cpu")
    np.testing.assert_allclose(scoring.score(merged, Encoder(words), ROWS).p_yes, tuned, atol=1e-5)
    assert np.abs(untuned - tuned).max() > 0.01  # an adapter that does nothing would prove nothing

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")  # without anything of this repository
    assert not [name for name in plain.state_dict() if "lora" in name]
    words = [AutoTokenizer.from_pretrained(folder)("Yes.")["input_ids"] for folder in (tmp_path / "merged", tiny_llama)]
    assert words[0] == words[1]
    note = json.loads((tmp_path / "merged" / "export.json").read_text())
    assert note["base_model"]["fingerprint"] == base_model_fingerprint(tiny_llama)
    assert note["adapter"]["sha256"] == files.sha256(found.weights) and note["adapter"]["chain"] == ["movie"]
    assert note["adapter"]["path"] == "movie"  # no folder of this machine is shared
    for file in [*(tmp_path / "merged").glob("*.json"), tmp_path / "merged" / "README.md"]:
        assert str(tiny_llama.parents[1]) not in file.read_text(), file


@pytest.mark.parametrize("name", TOKENIZER_CONFIGS)
def test_export_keeps_the_tokens_of_a_sentencepiece_folder(tmp_path, name):
    base = write_layout(name, tmp_path / "llama")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(
        r=8, target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(tmp_path / "adapter")
    export.main(str(base), str(tmp_path / "adapter"), str(tmp_path / "merged"))
    before, after = (load_tokenizer(folder) for folder in (base, tmp_path / "merged"))
    for text in PROBES:
        assert after(text).input_ids == before(text).input_ids


def test_export_refuses_a_base_model_that_is_replaced_while_it_is_loaded(tiny_llama, adapter, tmp_path, monkeypatch):
    base = shutil.copytree(tiny_llama, tmp_path / "base")

    def replaced(*arguments):
        loaded = load_base_model(*arguments)
        weights = load_file(base / "model.safetensors")
        save_file({name: tensor * 2 for name, tensor in weights.items()}, base / "model.safetensors", {"format": "pt"})
        return loaded

    monkeypatch.setattr(export, "load_base_model", replaced)
    refused(f"{base}: ", export.main, str(base), str(adapter), str(tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()


def test_export_refuses_what_cannot_be_merged_and_writes_nothing(tiny_llama, adapter, tmp_path):
    def declined(base, *more):
        return command("-m", "base_model.export", "--base_model", base, "--lora_weights", adapter, *more,
                       home=tmp_path, code=2)

    quantised = tmp_path / "quantised"
    for part in load_base_model(tiny_llama, True, "float32", "cpu"):
        part.save_pretrained(quantised)
    assert "its weights are quantised" in declined(quantised, "--output_dir", tmp_path / "merged")
    assert "already exists" in declined(tiny_llama, "--output_dir", quantised)
    assert "not a UTF-8 name" in declined(tiny_llama, "--output_dir", tmp_path / os.fsdecode(b"caf\xe9"))
    assert "--dtype 'int8' is unknown" in declined(tiny_llama, "--output_dir", tmp_path / "merged", "--dtype", "int8")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_model.safetensors").symlink_to(adapter / "adapter_model.safetensors")
    (other / "adapter_config.json").write_text(json.dumps(settings | {"r": 4}))
    text = command("-m", "base_model.export", "--base_model", tiny_llama, "--lora_weights", other,
                   "--output_dir", tmp_path / "merged", home=tmp_path, code=2)
    assert "the base model needs 4x" in text
    assert not (tmp_path / "merged").exists() and not list(tmp_path.glob(".making-*"))


def test_export_refuses_saved_layers_of_a_tied_model(tiny_llama, adapter, tmp_path):
    base = shutil.copytree(tiny_llama, tmp_path / "tied")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(base / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    adapter = shutil.copytree(adapter, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"modules_to_save": ["lm_head"]}))
    refused("has modules_to_save", export.main, str(base), str(adapter), str(tmp_path / "merged"))
    assert not (tmp_path / "merged").exists()
