"""The files of a base model's folder, validated before torch is imported; they may come from a stranger."""

import importlib.util
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from tlrec.errors import InputError
from tlrec.files import check_lfs_pointer, read_json, safetensors_names, validate
from tlrec.model.hub import model_name, pinned_name
from tlrec.model.weight_files import FLOATS, INDEX, PICKLE, SAFETENSORS, StoredTensor, stored_tensors, weight_files

_AGAIN = "fetch the model again"
# saved by older versions of transformers, computed anew by the model itself
_BUFFERS = re.compile(r"(^|\.)(\w*inv_freq|(cos|sin)_cached|position_ids|masked_bias|(\w*attn|attention)\.bias)$")
_SCALES = ("SCB", "weight.absmax", "weight_scale", "weight_scale_inv", "scales")  # beside a quantised weight
BITSANDBYTES = "bitsandbytes"
_NATIVE = ("fp8", "mxfp4")  # read by transformers alone
_PACKAGES = {"gptq": "gptqmodel", "awq": "gptqmodel", "auto-round": "auto_round", "aqlm": "aqlm", "hqq": "hqq",
             "compressed-tensors": "compressed_tensors", "quanto": "optimum", "torchao": "torchao"}  # read with these
# settings of quantisers in files of their own, which transformers does not read
_QUANTISER_FILES = {"quantize_config.json": "GPTQ", "quant_config.json": "AWQ", "hf_quant_config.json": "ModelOpt"}
_PACKED = (".qweight", ".qzeros")  # tensors of GPTQ and AWQ
_Count = Annotated[int, Field(ge=1, le=10_000)]
_Width = Annotated[int, Field(ge=1, le=1 << 24)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_KEYS: dict[Any, tuple[str, ...]] = {
    _Count | list[_Count]: ("num_key_value_heads", "num_heads"),
    _Count: (*_LAYERS, *_HEADS),
    _Width: (*_HIDDEN, "vocab_size", "head_dim"),
    _Width | list[_Width]: ("intermediate_size", "n_inner", "ffn_dim", "moe_intermediate_size"),
    Annotated[int, Field(ge=1, le=1 << 31)]: ("max_position_embeddings", "n_positions"),
    Annotated[int, Field(ge=0, le=10_000)]: ("num_local_experts", "num_experts", "n_routed_experts", "num_labels"),
    _Fraction: ("attention_dropout", "hidden_dropout", "dropout", "activation_dropout", "attn_pdrop", "embd_pdrop",
             "resid_pdrop", "resid_dropout", "embedding_dropout", "layerdrop", "rms_norm_eps", "layer_norm_eps",
             "layer_norm_epsilon", "norm_eps"),
    Annotated[float, Field(gt=0)]: ("rope_theta",),
    bool: ("tie_word_embeddings", "use_cache", "attention_bias", "mlp_bias"),
    Literal[True]: ("return_dict",),
    Literal[False]: ("torchscript", "output_attentions", "output_hidden_states", "is_encoder_decoder"),
}  # of every architecture; transformers checks the others by type
_FIELDS: dict[str, Any] = {name: (kind | None, None) for kind, names in _KEYS.items() for name in names}
_ModelConfig = create_model("_ModelConfig", __config__=ConfigDict(strict=True, allow_inf_nan=False), **_FIELDS)


# TALLRec's base model: what its config.json says, and what it may leave out
_LLAMA_1_7B = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
               "num_attention_heads": 32, "vocab_size": 32_000, "rms_norm_eps": 1e-6}
_LLAMA_1_7B_DEFAULTS = {"num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu", "rope_scaling": None,
                        "rope_theta": 1e4, "rope_type": "default", "attention_bias": False, "mlp_bias": False,
                        "tie_word_embeddings": False}
_LLAMA_1_ANSWERS = {"Yes": 8241, "No": 3782}  # TALLRec's evaluate.py reads the scores of these two tokens


def is_llama_1_7b(folder: Path) -> bool:
    """Whether a folder's config.json and its tokenizer's ids of "Yes" and "No" are those of LLaMA-1-7B.

    LLaMA-2 has another config (4,096 positions), OpenLLaMA the same one and another tokenizer. What was tuned from
    LLaMA-1-7B has both.
    """
    config = read_json(folder / "config.json", "a Hugging Face model folder needs one")
    positions = config.get("max_position_embeddings", config.get("max_sequence_length"))  # the older name
    rope = config.get("rope_parameters")  # as transformers 5 writes them
    config |= rope if isinstance(rope, dict) else {}
    if positions != 2048 or any(config.get(name) != value for name, value in _LLAMA_1_7B.items()) or any(
            config.get(name) not in (None, value) for name, value in _LLAMA_1_7B_DEFAULTS.items()):
        return False
    from tlrec.model.load_tokenizer import load_tokenizer

    return load_tokenizer(folder).convert_tokens_to_ids([*_LLAMA_1_ANSWERS]) == [*_LLAMA_1_ANSWERS.values()]


def check_settings(folder: Path, files: set[str]) -> None:
    """Check all of a model folder but its weights, which may be missing still. files: the names of all its files.

    InputError where it is no Hugging Face model or not usable as one.
    """
    check_layout(model_name(folder) if pinned_name(folder) else str(folder), files)
    for path in sorted([*folder.glob("*/config.json"), *folder.glob("*/params.json")] if "config.json" not in files
                       else []):
        check_layout(str(path.parent), {entry.name for entry in path.parent.iterdir()})
        raise InputError(f"{folder}: no config.json, but in a subfolder; name that, {path.parent}")
    config = read_json(folder / "config.json", "a Hugging Face model folder needs one")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError(f"{folder / 'config.json'}: names no model_type; is this a Hugging Face model folder?")
    if not (list(folder.glob("tokenizer*")) or list(folder.glob("vocab*"))):
        raise InputError(f"{folder}: no tokenizer found; fetch the model again")
    check_base_files(folder)


def check_layout(name: str, files: set[str]) -> None:
    """InputError where these names of files are those of LLaMA in Meta's layout, of GGUF, or of an adapter."""
    if "params.json" in files and "config.json" not in files:
        raise InputError(f"{name}: LLaMA in Meta's own layout (params.json, consolidated.*.pth); convert it with "
                         "convert_llama_weights_to_hf.py of transformers, and name the folder that it writes")
    if any(file.endswith(".gguf") for file in files) and not files & {
            file + index for file in (SAFETENSORS, PICKLE) for index in ("", INDEX)}:
        raise InputError(f"{name}: GGUF, which is for llama.cpp; take the model that it was made from (config.json and "
                         "safetensors), with --load_in_4bit True where memory is short")
    if "adapter_config.json" in files:  # transformers would load it onto the model without being asked
        raise InputError(f"{name}: holds an adapter (adapter_config.json)"
                         f"{' beside the base model' if 'config.json' in files else ', and no base model'}; name the "
                         "adapter, in a folder of its own, where an adapter is wanted (--lora_weights)")


def check_model(folder: Path, config: dict) -> None:
    """Check a model's config.json against the range of its numbers and its weight files.

    InputError where a value is one that no model has, where it asks for a larger model than the files hold, or where
    weights are integers or 8-bit floats without a scale. What only torch can read (pytorch_model.bin) is checked by
    check_types() when it is loaded.
    """
    path = folder / "config.json"
    files = weight_files(folder)
    if not files:
        raise InputError(f"{folder}: no weights found (model.safetensors, pytorch_model.bin, or the index of either); "
                         f"{_AGAIN}")
    for file in files:
        if file.name not in {entry.name for entry in folder.iterdir() if entry.is_file()}:
            raise InputError(f"{folder}: an index of weights names {file.name!r}, which is missing; {_AGAIN}")
    tensors = list(stored_tensors(folder, pickles=False))
    quantised = "quantization_config" in config
    held = sum(math.prod(tensor.shape) for tensor in tensors)
    if not tensors or quantised:
        held = sum(file.stat().st_size for file in files) * (4 if quantised else 1)  # at least 2 bits a weight, or 8
    if _has_nan(config):
        raise InputError(f"{path}: holds NaN, which no model has; {_AGAIN}")
    for part in (config, config.get("text_config")):
        if part is None:
            continue
        numbers = validate(_ModelConfig, part, path, f"no model has that; {_AGAIN}")
        layers, asked = _smallest_size(numbers)
        if tensors and layers > len(tensors) or asked > 2 * held:  # twice, for layers that share their weights
            raise InputError(f"{path}: asks for {layers:,} layers, at least {asked:,} weights, and the files hold "
                             f"{held:,}; {_AGAIN}")
    check_types(folder, tensors)


def _smallest_size(numbers: Any) -> tuple[int, int]:
    """(layers, weights) that a config of any architecture asks for at least.

    Counted are the embedding and, per layer, a matrix to the attention heads and one to the inner width.
    """
    layers, hidden, heads = (max(getattr(numbers, name) or 0 for name in names) for names in (_LAYERS, _HIDDEN, _HEADS))
    inner = numbers.intermediate_size or numbers.n_inner or numbers.ffn_dim or 0
    inner = min(inner, default=0) if isinstance(inner, list) else inner
    attention = heads * numbers.head_dim if numbers.head_dim else hidden
    return layers, layers * hidden * (attention + inner) + (numbers.vocab_size or 0) * hidden


def _has_nan(value: object) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_nan, value.values() if isinstance(value, dict) else value))
    return value != value


def check_types(folder: Path, tensors: Iterable[StoredTensor]) -> None:
    """InputError where a weight is neither floating-point nor quantised, with its scale beside it."""
    quantised = "quantization_config" in read_json(folder / "config.json", "")
    types = {tensor.name: tensor.dtype for tensor in tensors}
    for name, dtype in types.items():
        scaled = quantised and any(name.removesuffix("weight") + scale in types for scale in _SCALES)
        if not (dtype in FLOATS or scaled or is_buffer(name) or quantised and not name.endswith(".weight")):
            raise InputError(f"{folder}: {name} is of type {dtype}, without a scale that gives it its values; take the "
                             "model in fp16, bf16 or fp32")


def _can_be_read(method: str) -> bool:
    package = _PACKAGES.get(method)
    return BITSANDBYTES in method or method in _NATIVE or package is not None and (
        importlib.util.find_spec(package) is not None)


def check_saved_bits(folder: Path, load_in_8bit: bool | None, load_in_4bit: bool) -> None:
    """InputError where a base model that bitsandbytes saved in 4-bit is to be loaded in 8-bit, or the reverse."""
    saved = read_json(folder / "config.json", "").get("quantization_config") or {}
    for bits, other, asked in ((4, 8, load_in_8bit), (8, 4, load_in_4bit)):
        if asked and saved.get(f"load_in_{bits}bit"):
            raise InputError(f"{folder}: its weights are saved in {bits}-bit; give --load_in_{other}bit False "
                             f"--load_in_{bits}bit True")


def is_buffer(name: str) -> bool:
    """Whether a tensor of a model's files is a constant that the model does not need, such as a rotary frequency."""
    return bool(_BUFFERS.search(name))


def check_base_files(folder: Path) -> None:
    """Validate a model folder from an untrusted source.

    InputError where it wants its own code run, names weights outside the folder, has broken ones, calls plain ones
    quantised or has some of a quantisation that is not read here. Its weights may be missing still.
    """
    for path in filter(Path.is_file, sorted(folder.iterdir())):
        if path.stat().st_size < 1024:
            check_lfs_pointer(path, path.read_bytes())
    tensors = [name for path in sorted(folder.glob("*.safetensors")) for name in safetensors_names(path)]
    for path in sorted(folder.glob("*.json")):
        content = read_json(path, "") if path.name.endswith(("config.json", ".index.json")) else {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: not a JSON object; fetch the model again")
        if "auto_map" in content:
            raise InputError(f"{path}: wants code of the folder's own to run (auto_map), which is never done here: "
                             "take a model that transformers supports, or remove the entry")
        shards = content.get("weight_map", None if path.name.endswith(".index.json") else {})
        names = shards.values() if isinstance(shards, dict) else [None]
        outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
        if outside:
            raise InputError(f"{path}: names weights outside its folder ({outside[0]!r}); fetch the model again")
        quantization = content.get("quantization_config")
        if not isinstance(quantization, dict | None):
            raise InputError(f"{path}: quantization_config is not an object; fetch the model again")
        method = str(quantization.get("quant_method", BITSANDBYTES)) if quantization else None
        if path.name == "config.json" and not (quantization or {}).get("quant_method"):
            method = _unnamed_method(folder, content, tensors) or method
        if method and not _can_be_read(method):
            raise InputError(f"{path}: quantised by {method}, which is not read here; take the model in fp16, bf16 or "
                             "fp32, with --load_in_4bit True or --load_in_8bit True where memory is short")
        bitsandbytes = method and BITSANDBYTES in method
        if bitsandbytes and tensors and not any(name.endswith((".SCB", ".absmax")) for name in tensors):
            raise InputError(f"{path}: quantization_config says that the weights are quantised, and they are not; "
                             "remove that entry, and give --load_in_8bit True or --load_in_4bit True")


def _unnamed_method(folder: Path, config: dict, tensors: list[str]) -> str | None:
    """How a model is quantised whose config.json does not name the method; None where nothing else tells."""
    packed = any(name.endswith(_PACKED) for name in tensors)
    if packed or not tensors:
        named = next((method for name, method in _QUANTISER_FILES.items() if (folder / name).is_file()), None)
        if packed or named:
            return named or "GPTQ or AWQ"
    return "MLX" if isinstance(config.get("quantization"), dict) else None
