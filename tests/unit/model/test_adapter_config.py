"""LoRA settings: target modules, settings that determine the computation, what tuning can start from."""

import json

import pytest
import torch
from conftest import refused
from safetensors.torch import save_file

from tlrec.model.adapter_config import read_adapter_config
from tlrec.model.target_layers import check_same_lora, resolve_target_modules


def test_settings_hash_depends_on_settings_that_change_logits(adapter):
    original = json.loads((adapter / "adapter_config.json").read_text())

    def settings(**changes):
        (adapter / "adapter_config.json").write_text(json.dumps(original | changes))
        return read_adapter_config(adapter)[0].settings_hash()

    assert settings() == settings(base_model_name_or_path="moved", target_modules=["v_proj", "q_proj"], new=None)
    assert len({settings(), settings(lora_alpha=1600), settings(r=4), settings(use_rslora=True)}) == 4


@pytest.mark.parametrize(("kind", "names"), [("llama", ["q_proj", "v_proj"]), ("mistral", ["q_proj", "v_proj"]),
                                             ("qwen3", ["q_proj", "v_proj"]), ("gpt2", ["c_attn"])])
def test_target_modules_by_architecture(tmp_path, kind, names):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    assert resolve_target_modules(tmp_path, ["auto"]) == names
    assert resolve_target_modules(tmp_path, ["lm_head"]) == ["lm_head"]


def test_target_modules_refuse_an_unknown_architecture(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    refused("abacus", resolve_target_modules, tmp_path, ["auto"])


def test_check_same_lora_refuses_rslora(tiny_llama, adapter):
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"use_rslora": True}))
    refused("use_rslora", check_same_lora, adapter, read_adapter_config(adapter)[0], 8, 16, ["q_proj", "v_proj"],
            tiny_llama)


def test_target_modules_suggest_layers_of_the_model(tmp_path):
    block = {"self_attn.qkv_proj": (6, 2), "self_attn.o_proj": (2, 2), "mlp.gate_up_proj": (8, 2),
             "mlp.down_proj": (2, 4), "input_layernorm": (2,)}
    weights = {f"model.layers.0.{name}.weight": torch.zeros(shape, dtype=torch.bfloat16)
               for name, shape in block.items()}
    save_file(weights | {"model.embed_tokens.weight": torch.zeros(4, 2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi3"}))
    refused("down_proj, gate_up_proj, o_proj, qkv_proj", resolve_target_modules, tmp_path, ["auto"])
