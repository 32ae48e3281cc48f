"""Files of a base model that would give a wrong number, or a model that is never there: refused before it is built."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import logits, refused
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GPT2Config, GPT2LMHeadModel

from tlrec import paths
from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.base_model_checks import check_saved_bits

WEIGHT = "model.layers.0.self_attn.q_proj.weight"
NO_MODEL_HAS = [
    {"num_hidden_layers": 10**7}, {"num_hidden_layers": 1e7}, {"num_hidden_layers": 3000}, {"num_hidden_layers": -1},
    {"num_hidden_layers": 0}, {"hidden_size": 10**6}, {"hidden_size": "64"}, {"hidden_size": True},
    {"intermediate_size": 10**7}, {"vocab_size": 10**7}, {"head_dim": 10**6}, {"num_attention_heads": 0},
    {"num_labels": 10**8}, {"max_position_embeddings": 10**12}, {"attention_dropout": 5}, {"attention_dropout": -0.1},
    {"rms_norm_eps": float("nan")}, {"rms_norm_eps": float("inf")}, {"rms_norm_eps": "1e-6"}, {"rope_theta": -1},
    {"rope_parameters": {"rope_theta": float("nan")}}, {"return_dict": False}, {"torchscript": True},
    {"output_attentions": True}, {"output_hidden_states": True}, {"is_encoder_decoder": True},
    {"tie_word_embeddings": "false"}, {"use_cache": 1}, {"text_config": [1]}, {"text_config": {"n_layer": 10**7}},
]


@pytest.fixture
def folder(tiny_llama, tmp_path):
    return shutil.copytree(tiny_llama, tmp_path / "model")


def save(folder, tensors, file="model.safetensors"):
    (folder / "model.safetensors").unlink()
    if file.endswith(".bin"):
        torch.save(tensors, folder / file)
    else:
        save_file(tensors, folder / file, metadata={"format": "pt"})


def set_config(folder, change):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def load(folder):
    return load_base_model(resolve_base_model(str(folder)), False, "float32", "cpu")[0]


@pytest.mark.parametrize("change", NO_MODEL_HAS, ids=str)
def test_resolve_refuses_config_values_that_no_model_has(folder, change):
    set_config(folder, change)
    refused("config.json", resolve_base_model, str(folder))


@pytest.mark.parametrize("change", [
    {"max_position_embeddings": 10**7}, {"head_dim": None}, {"num_labels": 0}, {"pad_token_id": -1},
    {"attention_dropout": 0}, {"time_step_limit": [0.0, float("inf")]}, {"dropout": 0.1, "n_inner": None}], ids=str)
def test_resolve_accepts_config_values_that_models_have(folder, change):
    set_config(folder, change)
    resolve_base_model(str(folder))


def test_resolve_refuses_a_config_that_a_pickle_is_too_small_for(folder):
    save(folder, load_file(folder / "model.safetensors"), "pytorch_model.bin")
    resolve_base_model(str(folder))
    set_config(folder, {"hidden_size": 4096, "num_hidden_layers": 32})
    refused("config.json", resolve_base_model, str(folder))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn], ids=str)
def test_weights_that_are_not_floating_point_are_refused(folder, dtype):
    tensors = load_file(folder / "model.safetensors")
    tensors[WEIGHT] = tensors[WEIGHT].to(dtype)
    save(folder, tensors)
    refused(WEIGHT, resolve_base_model, str(folder))  # from the header
    save(folder, tensors, "pytorch_model.bin")
    refused(WEIGHT, load, folder)


def test_refusals_from_the_header_import_no_torch(folder):
    save(folder, {name: tensor.to(torch.int8) for name, tensor in load_file(folder / "model.safetensors").items()})
    program = ("import sys\nfrom tlrec.errors import InputError\n"
               "from tlrec.model.base_model import resolve_base_model\n"
               f"try:\n    resolve_base_model({str(folder)!r})\nexcept InputError:\n    print('torch' in sys.modules)")
    finished = subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT, capture_output=True, text=True)
    assert finished.stdout == "False\n", finished.stderr


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("name", [WEIGHT.replace("weight", "bias"), "model.layers.0.self_attn.q_norm.weight",
                                  "model.layers.2.mlp.up_proj.weight"])
def test_load_refuses_weights_that_the_config_does_not_know(folder, name, file):
    save(folder, load_file(folder / "model.safetensors") | {name: torch.ones(64)}, file)
    refused(name, load, folder)


def test_load_accepts_buffers_of_older_versions(folder, embedded, tmp_path):
    frequencies = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(8) for layer in (0, 1)}
    plain = logits(load(folder))
    save(folder, load_file(folder / "model.safetensors") | frequencies)
    assert torch.equal(logits(load(folder)), plain)
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4))
    gpt2.save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    masks = {f"transformer.h.0.attn.{name}": torch.ones(shape, dtype=dtype) for name, shape, dtype in (
        ("bias", (1, 1, 8, 8), torch.bool), ("masked_bias", (), torch.float32))}
    save(tmp_path / "gpt2", load_file(tmp_path / "gpt2" / "model.safetensors") | masks)
    assert torch.equal(logits(load(tmp_path / "gpt2")), logits(gpt2))


@pytest.mark.parametrize("bits", ["load_in_8bit", "load_in_4bit"])
def test_saved_quantised_weights_need_their_scales(folder, tmp_path, bits):
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=BitsAndBytesConfig(**{bits: True}))
    saved = shutil.copytree(folder, tmp_path / "saved")
    model.save_pretrained(saved)
    assert torch.isfinite(logits(load(saved))).all()
    tensors = load_file(saved / "model.safetensors")
    layer = "model.layers.1.mlp.up_proj"
    save(saved, {name: tensor for name, tensor in tensors.items()
                 if layer not in name or name == f"{layer}.weight"})
    refused(f"{layer}.weight", resolve_base_model, str(saved))


@pytest.mark.parametrize("saved", [4, 8])
@pytest.mark.parametrize("flag", [True, False])
def test_weights_that_bitsandbytes_saved_are_loaded_and_tuned(folder, tmp_path, saved, flag, recwarn):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=BitsAndBytesConfig(**{f"load_in_{saved}bit": True}))
    model.save_pretrained(shutil.copytree(folder, tmp_path / "saved", dirs_exist_ok=True))
    base = resolve_base_model(str(tmp_path / "saved"))
    in_8bit, in_4bit = flag and saved == 8, flag and saved == 4
    check_saved_bits(base, in_8bit, in_4bit)
    published, _ = load_base_model(base, in_8bit, "float32", "cpu", in_4bit, int8="llm.int8")
    for layer in model.modules():  # as load_base_model() does
        layer.support_avx512bf16_for_cpu = False
    assert torch.equal(logits(published), logits(model))
    loaded, _ = load_base_model(base, in_8bit, "float32", "cpu", in_4bit)
    assert torch.corrcoef(torch.stack([logits(loaded).flatten(), logits(model).flatten()]))[0, 1] > 0.99
    tuned = attach_adapter(loaded, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"), None)
    tuned(torch.arange(5, 25)[None]).logits.logsumexp(-1).sum().backward()
    assert any("lora_B" in name and weight.grad.abs().max() > 0 for name, weight in tuned.named_parameters())
    assert not [warning for warning in recwarn if "quantization_config" in str(warning.message)]
    other = {4: (True, False), 8: (False, True)}[saved]
    assert f"--load_in_{saved}bit True" in refused("saved", check_saved_bits, base, *other)


@pytest.mark.parametrize("method", ["gptq", "awq", "abacus", "compressed-tensors"])
def test_a_quantisation_that_is_not_read_here_is_refused(folder, method):
    set_config(folder, {"quantization_config": {"quant_method": method, "bits": 4}})
    assert "--load_in_4bit" in refused(f"quantised by {method}", resolve_base_model, str(folder))


@pytest.mark.parametrize(("change", "message"), [
    ({"hidden_act": "abacus"}, "config.json: hidden_act is 'abacus', which transformers"),
    ({"hidden_act": [1]}, "config.json: hidden_act is '[1]', which transformers"),
    ({"model_type": "abacus"}, "config.json: model_type is 'abacus', which transformers"),
    ({"intermediate_size": 256}, "model.layers.0.mlp.down_proj.weight is 64x128 in its files, and config.json asks for "
     "64x256"), ({"vocab_size": 50_000}, "x64 in its files, and config.json asks for 50000x64")])
def test_what_transformers_refuses_is_one_line_of_ours(folder, change, message, capfd):
    set_config(folder, change)
    refused(message, load, folder)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("shard", ["gone.safetensors", "a\0b.safetensors", "\ud800.safetensors"])
def test_resolve_refuses_an_index_of_files_that_are_not_there(folder, shard):
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {WEIGHT: shard}}))
    refused("model: ", resolve_base_model, str(folder))
    index.write_text(json.dumps({"metadata": {}}))
    refused("index.json", resolve_base_model, str(folder))
