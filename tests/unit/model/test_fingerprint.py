"""A base model's fingerprint depends on what its files say, not on how they are written."""

import json
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from tlrec.model import fingerprint
from tlrec.model.fingerprint import base_model_fingerprint


@pytest.fixture
def other(tiny_llama, tmp_path):
    folder = tmp_path / "other-llama"
    shutil.copytree(tiny_llama, folder)
    return folder


def edit_json(path, **changes):
    content = json.loads(path.read_text()) if path.exists() else {}
    for name, value in changes.items():
        if value is None:
            content.pop(name, None)
        else:
            content[name] = value
    path.write_text(json.dumps(content))


def shards(folder, _):
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="2MB")
    assert (folder / "model.safetensors.index.json").exists()


def pickles(folder, _):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def older_config(folder, _):
    """As transformers 4 writes it: rope_theta of its own, torch_dtype, defaults spelt out."""
    rope = json.loads((folder / "config.json").read_text())["rope_parameters"]
    edit_json(folder / "config.json", rope_parameters=None, rope_theta=rope["rope_theta"], dtype=None,
              torch_dtype="float32", transformers_version="4.41.0", pretraining_tp=1, attention_bias=False,
              _name_or_path="/elsewhere", head_dim=None, rms_norm_eps=9.999999974752427e-07)


def older_tokenizer(folder, _):
    """As tokenizers before 0.20 wrote it: merges as text, fewer keys, another order and indentation."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    del content["model"]["ignore_merges"]
    path.write_text(json.dumps(dict(reversed(content.items())), indent=1))
    edit_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", backend=None,
              clean_up_tokenization_spaces=False)


def template_inside(folder, _):
    template = folder / "chat_template.jinja"
    if template.exists():
        edit_json(folder / "tokenizer_config.json", chat_template=template.read_text())
        template.unlink()


@pytest.mark.parametrize("rewrite", [shards, pickles, older_config, older_tokenizer, template_inside])
def test_the_same_model_written_in_another_way_has_the_same_fingerprint(tiny_llama, other, rewrite):
    rewrite(other, None)
    (other / "README.md").write_text("Notes do not count.")
    assert base_model_fingerprint(other) == base_model_fingerprint(tiny_llama)


def change_vocabulary(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    first, second = sorted(words, key=words.get)[:2]
    words[first], words[second] = words[second], words[first]
    (folder / "tokenizer.json").write_text(json.dumps(content))


def change_weights(folder):
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).view(-1)[3] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def rename_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    weights["renamed"] = weights.pop(sorted(weights)[0])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_type(folder):
    weights = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


CHANGES = {
    "vocabulary": change_vocabulary,
    "weights": change_weights,
    "tensor name": rename_tensor,
    "tensor type": other_type,
    "rope": lambda folder: edit_json(folder / "config.json", rope_parameters={"rope_theta": 5e5}),
    "norm": lambda folder: edit_json(folder / "config.json", rms_norm_eps=1e-3),
    "heads": lambda folder: edit_json(folder / "config.json", num_attention_heads=8, num_key_value_heads=4),
    "unknown setting": lambda folder: edit_json(folder / "config.json", attention_window=128),
    "bos": lambda folder: edit_json(folder / "tokenizer_config.json", add_bos_token=True),
    "template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_that_computes_otherwise_has_another_fingerprint(tiny_llama, other, change):
    change(other)
    assert base_model_fingerprint(other) != base_model_fingerprint(tiny_llama)


def test_a_tied_head_and_rotary_buffers_do_not_count(tiny_llama, other):
    weights = load_file(other / "model.safetensors")
    plain = dict(weights)
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    plain.pop("lm_head.weight", None)
    seen = set()
    for content in (plain, weights, weights | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}):
        save_file(content, other / "model.safetensors", metadata={"format": "pt"})
        seen.add(base_model_fingerprint(other))
    assert len(seen) == 1


def test_a_large_model_is_sampled_in_every_tensor(other, monkeypatch):
    monkeypatch.setattr(fingerprint, "FULL_HASH_LIMIT", 0)
    monkeypatch.setattr(fingerprint, "SAMPLE_BYTES", 64)
    path = other / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    seen = {base_model_fingerprint(other)}
    for name, entry in header.items():
        if name != "__metadata__":
            changed = bytearray(content)
            changed[8 + length + entry["data_offsets"][1] - 1] ^= 1  # the last byte of each tensor is in a block
            path.write_bytes(changed)
            seen.add(base_model_fingerprint(other))
    assert len(seen) == len(header)  # with __metadata__ as the unchanged one
    begin, _ = header["model.embed_tokens.weight"]["data_offsets"]
    changed = bytearray(content)
    changed[8 + length + begin + 100] ^= 1  # between two blocks: documented as not detected
    path.write_bytes(changed)
    assert base_model_fingerprint(other) in seen
