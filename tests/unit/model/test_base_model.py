"""Base models: what makes one what it is, what is refused, how they are loaded."""

import shutil

import pytest
import torch
from conftest import logits, refused
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import auto_dtype, load_base_model, resolve_base_model, resolve_dtype_name
from tlrec.model.weight_files import stored_dtype

CONFIG = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def test_load_base_model_leaves_a_sharded_model_unplaced(tiny_llama, monkeypatch):
    load, placed = AutoModelForCausalLM.from_pretrained, []

    def noted(*words, device_map=None, **how):
        placed.append(device_map)
        return load(*words, **how)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noted)
    for shard in (False, True):
        load_base_model(tiny_llama, False, "float32", "cuda", shard=shard)
    assert placed == [{"": "cuda"}, None]


def test_resolve_refuses_unusable_model_folders(tmp_path, tiny_llama):
    refused("none", resolve_base_model, str(tmp_path / "none"))
    broken = tmp_path / "broken"
    shutil.copytree(tiny_llama, broken)
    (broken / "config.json").write_text("{")
    refused("config.json", resolve_base_model, str(broken))
    (broken / "config.json").unlink()
    refused("config.json", resolve_base_model, str(broken))
    shutil.copy(tiny_llama / "config.json", broken)
    (broken / "model.safetensors").write_bytes(b"junk")
    refused("broken", load_base_model, broken, False, "float32", "cpu")
    (broken / "model.safetensors").unlink()
    refused("broken", resolve_base_model, str(broken))


@pytest.mark.parametrize(("device", "has_bf16", "stored", "expected"), [
    ("cuda", True, "bfloat16", "bfloat16"),  # Qwen2 and Gemma give NaN in fp16
    ("cuda", False, "bfloat16", "float16"),
    ("cuda", True, "float16", "float16"),
    ("cuda", True, "float32", "float16"),
    ("cpu", True, "float16", "bfloat16"),
    ("cpu", True, "float32", "bfloat16"),
    ("cpu", False, "bfloat16", "float32"),
])
def test_auto_dtype_by_device_and_checkpoint(device, has_bf16, stored, expected):
    assert auto_dtype(device, has_bf16, stored) == expected


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_auto_dtype_reads_the_type_of_the_stored_weights(tiny_llama, tmp_path, monkeypatch, suffix):
    """Not that of config.json, nor of the few norms that some checkpoints keep in fp32."""
    weights = load_file(tiny_llama / "model.safetensors")
    shutil.copytree(tiny_llama, tmp_path / "bf16", ignore=shutil.ignore_patterns("*.safetensors"))
    weights = {name: weight.bfloat16() if weight.dim() > 1 else weight for name, weight in weights.items()}
    if suffix == "bin":
        torch.save(weights, tmp_path / "bf16" / "pytorch_model.bin")
    else:
        save_file(weights, tmp_path / "bf16" / "model.safetensors", metadata={"format": "pt"})
    assert (stored_dtype(tiny_llama), stored_dtype(tmp_path / "bf16")) == ("float32", "bfloat16")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    assert resolve_dtype_name("auto", "cuda", tmp_path / "bf16") == "bfloat16"
    assert resolve_dtype_name("auto", "cuda", tiny_llama) == "float16"
    assert resolve_dtype_name("float16", "cuda", tmp_path / "bf16") == "float16"


def test_load_base_model_ignores_spare_weights(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "spare")
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(folder / "model.safetensors").items()},
              folder / "x.safetensors", metadata={"format": "pt"})
    for in_8bit in (False, True):
        found, plain = (logits(load_base_model(place, in_8bit, "float32", "cpu")[0]) for place in (folder, tiny_llama))
        assert torch.equal(found, plain)


@pytest.mark.parametrize("bits", [{"load_in_8bit": True}, {"load_in_8bit": False, "load_in_4bit": True}])
def test_load_quantised_with_tied_embeddings_and_no_pad_token(tiny_llama, tmp_path, bits):
    """The output layer stays what the input embedding is; padding takes a token that the tokenizer has."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tied = tmp_path / "tied"
    words = AutoTokenizer.from_pretrained(tiny_llama)
    words.pad_token = words.unk_token = words.eos_token = None
    words.save_pretrained(tied)
    torch.manual_seed(0)
    plain = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        tie_word_embeddings=True, initializer_range=0.2))
    plain.save_pretrained(tied)
    model, tokenizer = load_base_model(tied, dtype="float32", device="cpu", **bits)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tokenizer.pad_token_id is not None
    assert model.model.layers[0].mlp.up_proj.weight.dtype in (torch.int8, torch.uint8)
    close = torch.corrcoef(torch.stack([logits(model).flatten(), logits(plain).flatten()]))[0, 1]
    assert close > (0.99 if bits["load_in_8bit"] else 0.8)


def test_4bit_weights_keep_their_gradient_after_an_evaluation(tiny_llama, monkeypatch):
    """On processors with AVX512-BF16 bitsandbytes packs them in the first evaluation, which ends their gradient."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu", load_in_4bit=True)
    model = attach_adapter(model, LoraConfig(**CONFIG), None)
    before = logits(model)
    model.train()
    loss = model(torch.arange(5, 25)[None]).logits.logsumexp(-1).sum()
    loss.backward()
    moved = {name: float(weight.grad.abs().max()) for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(value > 0 for name, value in moved.items() if "lora_B" in name)
    assert torch.equal(logits(model), before)
