"""A base model's fingerprint depends on what its files say, not on how they are written."""

import json
import shutil
import struct

import pytest
import torch
from conftest import refused
from published_files import EXCERPTS
from safetensors.torch import load_file, save_file

from tlrec.model import fingerprint
from tlrec.model.fingerprint import base_model_fingerprint

CONFIGS = json.loads((EXCERPTS / "configs_of_two_versions.json").read_text())


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


def older_metaspace(folder):
    edit_json(folder / "tokenizer.json", pre_tokenizer={"type": "Metaspace", "replacement": "▁", "str_rep": "▁",
                                                        "add_prefix_space": True})


def metaspace(folder):
    edit_json(folder / "tokenizer.json", pre_tokenizer={"type": "Metaspace", "replacement": "▁", "split": True,
                                                        "prepend_scheme": "always"})


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


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_that_two_versions_wrote_of_one_model_agree(other, name):
    """Written by 4.57.1, then loaded and written again by 5.23.0."""
    if CONFIGS[name]["5.23.0"]["tie_word_embeddings"]:
        weights = load_file(other / "model.safetensors")
        del weights["lm_head.weight"]
        save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    seen = set()
    for config in CONFIGS[name].values():
        (other / "config.json").write_text(json.dumps(config))
        seen.add(base_model_fingerprint(other))
    assert len(seen) == 1


def test_pre_tokenizers_that_two_versions_wrote_agree(other):
    metaspace(other)
    newer = base_model_fingerprint(other)
    older_metaspace(other)
    assert base_model_fingerprint(other) == newer


def test_the_template_of_a_tokenizer_counts_wherever_it_is_written(other):
    template = {"type": "TemplateProcessing", "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1]}},
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}
    unused = {**template, "single": template["single"][1:]}
    after = {**template, "single": template["single"][::-1]}
    inside = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    roberta = {"type": "RobertaProcessing", "cls": ["<s>", 1], "sep": ["</s>", 2]}
    seen = []
    for processor in (template, inside, unused, after, roberta, None):
        edit_json(other / "tokenizer.json", post_processor=processor)
        seen.append(base_model_fingerprint(other))
    assert seen[0] == seen[1] and seen[2] == seen[5] and len(set(seen)) == 4
    for flag, same_as in ((False, None), (True, template)):
        edit_json(other / "tokenizer_config.json", bos_token="<s>", add_bos_token=flag)
        edit_json(other / "tokenizer.json", post_processor=after)  # the flag replaces it
        flagged = base_model_fingerprint(other)
        edit_json(other / "tokenizer_config.json", add_bos_token=None)
        edit_json(other / "tokenizer.json", post_processor=same_as)
        assert base_model_fingerprint(other) == flagged


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
    "byte-level pattern": lambda folder: edit_json(folder / "tokenizer.json", pre_tokenizer={
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}),
    "a rule switched off": lambda folder: edit_json(folder / "config.json", norm_topk_prob=False),
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


def test_a_sliding_window_that_is_switched_off_counts(other):
    config = json.loads((other / "config.json").read_text())
    seen = set()
    for change in ({}, {"sliding_window": None}):
        (other / "config.json").write_text(json.dumps(config | change))
        seen.add(base_model_fingerprint(other))
    assert len(seen) == 2


@pytest.mark.parametrize("names", [("transformer.wte.weight", "lm_head.weight"), ("gpt_neox.embed_in.weight",
                                                                                  "embed_out.weight")], ids=str)
def test_a_tied_head_of_any_architecture_does_not_count(other, names):
    embedding, head = names
    table = torch.arange(12.0).reshape(4, 3)
    (other / "model.safetensors").unlink()
    seen = []
    for tensors in ({embedding: table}, {embedding: table, head: table}, {embedding: table, head: table + 1}):
        torch.save({**tensors, "h.0.attn.bias": torch.ones(1, 1, 4, 4)}, other / "pytorch_model.bin")
        seen.append(base_model_fingerprint(other))
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(("file", "content"), [
    ("config.json", {"rope_parameters": [1]}), ("config.json", {"rope_scaling": "x"}),
    ("config.json", {"rope_parameters": {"sliding_attention": 1}}), ("config.json", {"hidden_size": "64"}),
    ("tokenizer.json", {"model": [1]}), ("tokenizer.json", {"post_processor": [1]}),
    ("tokenizer.json", {"added_tokens": 5}), ("tokenizer.json", {"model": {"merges": [[1, 2]]}}),
    ("tokenizer.json", {"post_processor": {"single": [1]}})], ids=str)
def test_files_of_another_form_are_refused(other, file, content):
    edit_json(other / file, **content)
    refused("other-llama: ", base_model_fingerprint, other)


@pytest.mark.parametrize("tensor", ["text", [torch.ones(2)], torch.zeros(1).expand(10**7, 10**6)], ids=type)
def test_pickles_that_hold_no_plain_tensors_are_refused(other, tensor):
    (other / "model.safetensors").unlink()
    torch.save({"model.norm.weight": tensor}, other / "pytorch_model.bin")
    refused("other-llama: ", base_model_fingerprint, other)


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
