"""Fingerprint of a base model: of what its config, tokenizer and weights say, not of how their files are written.

A folder that another version of transformers wrote, in one file or in shards, as safetensors or as pickles, has the
same fingerprint. docs/base-models.md says what does not count.
"""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tlrec.errors import InputError
from tlrec.files import read_json
from tlrec.model.weights import StoredTensor, stored_tensors, weight_files

FULL_HASH_LIMIT = 2 << 30  # bytes of weights that are hashed in full
SAMPLES, SAMPLE_BYTES = 16, 1 << 13  # of a tensor in a larger model: so many blocks of so many bytes, evenly spaced
# no part of what a model computes from tokens
IGNORED = re.compile(
    r"_.*|architectures|auto_map|transformers_version|(torch_)?dtype|use_cache|initializer_range|.*_token_id|"
    r"return_dict.*|output_.*|torchscript|task_specific_params|id2label|label2id|problem_type|tokenizer_class|prefix|"
    r"max_sequence_length|pretraining_tp|attn_implementation")
DEFAULTS = {"rope_theta": 10000, "rope_type": "default"}
TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


def base_model_fingerprint(folder: Path) -> str:
    """sha256 over config, tokenizer and weights of a base model, in hex.

    Weights count by name, shape, type and value: all values below 2 GiB, else 16 blocks of 8 KiB in every tensor. A
    change between those blocks is not detected.
    """
    state = sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()
                   if path.is_file())
    return _fingerprint(folder, tuple(state))


@functools.cache
def _fingerprint(folder: Path, _state: tuple) -> str:
    """Cached until a file of the folder changes in size or time."""
    return _digest([_config(folder), _tokenizer(folder), _weights(folder)])


def check_unchanged(folder: Path, fingerprint: str) -> None:
    """InputError where a base model is no longer the one with this fingerprint, as after loading it."""
    if base_model_fingerprint(folder) != fingerprint:
        raise InputError(f"{folder}: the base model was replaced while it was being loaded; run the same command again")


def _config(folder: Path) -> dict[str, Any]:
    """The settings of config.json that change what the model computes, in one form for all versions."""
    config = read_json(folder / "config.json", "")
    rope = config.pop("rope_scaling", None) or {}
    rope = config.pop("rope_parameters", None) or rope
    if not any(isinstance(value, dict) for value in rope.values()):  # else one entry for each kind of layer
        rope["rope_type"] = rope.pop("type", None) or rope.get("rope_type")
        config |= rope
    else:
        config["rope_parameters"] = rope
    settings = {name: value for name, value in _plain(config).items()
                if not IGNORED.fullmatch(name) and value != _plain(DEFAULTS.get(name))}
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    derived = {"num_key_value_heads": heads, "head_dim": width // heads if heads and width else None}
    return {name: value for name, value in settings.items() if value != _plain(derived.get(name))}


def _tokenizer(folder: Path) -> dict[str, Any]:
    """Vocabulary, merges and rules of the tokenizer, its special tokens and its chat template."""
    settings = _optional(folder / "special_tokens_map.json") | _optional(folder / "tokenizer_config.json")
    special = {name: settings.get(name) for name in ("bos_token", "eos_token", "unk_token")}
    special = {name: token.get("content") if isinstance(token, dict) else token for name, token in special.items()}
    tokens = _optional(folder / "tokenizer.json")
    files = [] if tokens else sorted(
        path for pattern in ("*.model", "vocab*", "merges*", "added_tokens.json") for path in folder.glob(pattern))
    added = list((tokens.get("post_processor") or {}).get("special_tokens") or {})
    adds = {name: settings.get(f"add_{name}", special[name] in added) for name in ("bos_token", "eos_token")}
    model = dict(tokens.get("model", {}))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.pop("merges", None) or []]
    return {
        "vocabulary": [model.pop("vocab", None), merges],
        "model": _plain(model),
        "rules": _plain({name: tokens.get(name) for name in ("normalizer", "pre_tokenizer")}),
        "added": [[token.get("id"), _plain({name: value for name, value in token.items() if name != "normalized"})]
                  for token in tokens.get("added_tokens", [])],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "special": special,
        "adds": adds,
        "chat_template": _chat_template(folder),
    }


def _chat_template(folder: Path) -> object:
    for path in (folder / name for name in TEMPLATE_FILES):
        if path.is_file():
            template = (path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".jinja" else
                        _optional(path).get("chat_template"))
            if template:
                return template
    return None


def _optional(path: Path) -> dict[str, Any]:
    content = read_json(path, "") if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _weights(folder: Path) -> list[list]:
    """[name, shape, type, hash of the values] of every tensor; not of what is computed or tied when loading."""
    tensors = [tensor for path in weight_files(folder) for tensor in stored_tensors(path)]
    in_full = sum(tensor.nbytes for tensor in tensors) < FULL_HASH_LIMIT
    hashes = {tensor.name: [list(tensor.shape), tensor.dtype, _hash_values(tensor, in_full)] for tensor in tensors
              if not tensor.name.endswith("rotary_emb.inv_freq")}
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if head in hashes and hashes[head] == hashes.get(embedding):
        del hashes[head]
    return [[name, *content] for name, content in sorted(hashes.items())]


def _hash_values(tensor: StoredTensor, in_full: bool) -> str:
    digest = hashlib.sha256()
    if in_full or tensor.nbytes <= SAMPLES * SAMPLE_BYTES:
        block = 1 << 24
        for offset in range(0, tensor.nbytes, block):
            digest.update(tensor.read(offset, min(block, tensor.nbytes - offset)))
    else:
        for number in range(SAMPLES):
            offset = number * (tensor.nbytes - SAMPLE_BYTES) // (SAMPLES - 1)
            digest.update(tensor.read(offset, SAMPLE_BYTES))
    return digest.hexdigest()


def _plain(value: object) -> Any:
    """Without what is off or empty, which files may leave out; numbers as text with the digits that float32 has."""
    if isinstance(value, dict):
        inner = {name: _plain(item) for name, item in value.items() if name not in ("trim_offsets", "use_regex")}
        return {name: item for name, item in inner.items() if item not in (None, "", "0", [], {})}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or value is False:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    return str(value) if isinstance(value, int) and value is not True else value


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
