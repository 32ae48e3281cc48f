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

from tlrec.errors import InputError, first_line
from tlrec.files import read_json, read_optional_json
from tlrec.model.base_model_checks import is_buffer
from tlrec.model.load_tokenizer import SPECIAL_TOKENS, special_token
from tlrec.model.prompts import chat_template
from tlrec.model.weight_files import StoredTensor, stored_tensors

FULL_HASH_LIMIT = 2 << 30  # bytes of weights that are hashed in full
SAMPLES, SAMPLE_BYTES = 16, 1 << 13  # of a tensor in a larger model: so many blocks of so many bytes, evenly spaced
# no part of what a model computes from tokens, or shown by the names of its tensors
IGNORED = re.compile(
    r"_.*|architectures|auto_map|transformers_version|(torch_)?dtype|use_cache|initializer_range|.*_token_id|"
    r"return_dict.*|output_.*|torchscript|task_specific_params|id2label|label2id|problem_type|tokenizer_class|prefix|"
    r"max_sequence_length|pretraining_tp|attn_implementation|(attention|mlp)_bias|classifier_dropout|is_decoder|type")
RENAMED = {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"}  # by transformers 5
# what a setting means that a file leaves out, as other versions do
DEFAULTS = {"rope_theta": 10000, "rope_local_base_freq": 10000, "rope_type": "default", "attention_dropout": 0,
            "add_cross_attention": False, "use_bidirectional_attention": False}
OFF_BY_NULL = ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping", "logit_scale")  # others: left out
TOKENIZER_DEFAULTS = {"ignore_merges": False, "byte_fallback": False, "fuse_unk": False, "use_regex": True,
                      "split": True, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
HEADS = ("lm_head.weight", "embed_out.weight")


def base_model_fingerprint(folder: Path) -> str:
    """sha256 over config, tokenizer and weights of a base model, in hex; InputError where they cannot be read.

    Weights count by name, shape, type and value: all values below 2 GiB, else 16 blocks of 8 KiB in every tensor. A
    change between those blocks is not detected.
    """
    state = sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()
                   if path.is_file())
    try:
        return _fingerprint(folder, tuple(state))
    except InputError:
        raise
    except Exception as error:  # a stranger's JSON or pickle may hold anything
        raise InputError(f"{folder}: its config, tokenizer or weights are not as transformers writes them "
                         f"({type(error).__name__}: {first_line(error)[:200]}); fetch the model again") from None


@functools.cache
def _fingerprint(folder: Path, _state: tuple) -> str:
    """Cached until a file of the folder changes in size or time."""
    tensors = _tensors(folder)
    return _digest([_config(folder, tied=not any(name in tensors for name in HEADS)), _tokenizer(folder), tensors])


def check_unchanged(folder: Path, fingerprint: str) -> None:
    """InputError where a base model is no longer the one with this fingerprint, as after loading it."""
    if base_model_fingerprint(folder) != fingerprint:
        raise InputError(f"{folder}: the base model was replaced while it was being loaded; run the same command again")


def _config(folder: Path, tied: bool) -> dict[str, Any]:
    """The settings of config.json that change what the model computes, in one form for all versions.

    tied: whether the output layer has no weights of its own.
    """
    config = {RENAMED.get(name, name): value for name, value in read_json(folder / "config.json", "").items()}
    rope = (config.pop("rope_scaling", None) or {}) | (config.pop("rope_parameters", None) or {})
    if "sliding_attention" in rope:  # transformers 5 keeps the two kinds of layers apart
        config["rope_local_base_freq"] = rope.pop("sliding_attention")["rope_theta"]
        rope |= rope.pop("full_attention")
    config |= rope | {"rope_type": rope.get("type") or rope.get("rope_type")}
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    defaults = DEFAULTS | {"num_key_value_heads": heads, "head_dim": width // heads if heads and width else None,
                           "tie_word_embeddings": tied}
    return {name: _number(value) for name, value in config.items()
            if not IGNORED.fullmatch(name) and (value is not None or name in OFF_BY_NULL)
            and not (name in defaults and _number(value) == _number(defaults[name]))}


def _tokenizer(folder: Path) -> dict[str, Any]:
    """Vocabulary, merges and rules of the tokenizer, its special tokens and its chat template."""
    names = "special_tokens_map.json", "tokenizer_config.json", "tokenizer.json"
    token_map, config, tokens = (read_optional_json(folder / name) for name in names)
    settings = token_map | config
    special = {name: special_token(settings, name) for name in SPECIAL_TOKENS}
    files = [] if tokens else sorted(
        path for pattern in ("*.model", "vocab*", "merges*", "added_tokens.json") for path in folder.glob(pattern))
    added = _added_by_template(tokens.get("post_processor") or {})
    if "add_bos_token" in settings or "add_eos_token" in settings:  # transformers then makes its own template
        added = [[special[name]] if settings.get(f"add_{name}") else [] for name in ("bos_token", "eos_token")]
    model = dict(tokens.get("model", {}))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.pop("merges", None) or []]
    return {
        "vocabulary": [model.pop("vocab", None), merges],
        "model": _rules(model),
        "rules": [_rules(tokens.get(name)) for name in ("normalizer", "pre_tokenizer")],
        "added": [{name: value for name, value in token.items() if name != "normalized"}
                  for token in tokens.get("added_tokens", [])],
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "special": special,
        "adds": added,
        "chat_template": chat_template(folder),
    }


def _rules(rule: Any) -> Any:
    """A part of tokenizer.json in one form for all versions of tokenizers."""
    if not isinstance(rule, dict):
        return [_rules(item) for item in rule] if isinstance(rule, list) else rule
    if rule.get("type") == "Sequence" and [] in rule.values():
        return None
    if rule.get("type") == "Metaspace":
        rule = {"prepend_scheme": "always" if rule.get("add_prefix_space") else "never"} | {
            name: value for name, value in rule.items() if name not in ("add_prefix_space", "str_rep")}
    return {name: _rules(value) for name, value in rule.items()
            if value is not None and name != "trim_offsets" and value != TOKENIZER_DEFAULTS.get(name)}


def _added_by_template(processor: dict[str, Any]) -> list[list]:
    """The tokens that a post-processor of tokenizer.json puts before a text, and those that it puts after it."""
    added = [processor[name][:1] if name in processor else [] for name in ("cls", "sep")]
    seen_text = False
    for part in processor.get("single", []):
        seen_text |= "Sequence" in part
        added[seen_text] += [part["SpecialToken"]["id"]] if "SpecialToken" in part else []
    for inner in processor.get("processors", []):
        added = [one + other for one, other in zip(added, _added_by_template(inner), strict=True)]
    return added


def _tensors(folder: Path) -> dict[str, list]:
    """[shape, type, hash of the values] by name; not of buffers, nor of an output layer that equals the embedding."""
    tensors = [tensor for tensor in stored_tensors(folder) if not is_buffer(tensor.name)]
    in_full = sum(tensor.nbytes for tensor in tensors) < FULL_HASH_LIMIT
    hashes = {tensor.name: [list(tensor.shape), tensor.dtype, _hash_values(tensor, in_full)] for tensor in tensors}
    others = [content for name, content in hashes.items() if name not in HEADS]
    return {name: content for name, content in hashes.items() if name not in HEADS or content not in others}


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


def _number(value: object) -> Any:
    """Numbers as text with the digits that float32 has, at any depth."""
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(value) if isinstance(value, int) else str(int(value)) if value.is_integer() else f"{value:.6g}"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
