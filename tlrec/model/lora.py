"""LoRA settings: which layers, and whether a starting adapter has the settings that tuning was asked for."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from tlrec.errors import InputError, first_line
from tlrec.files import read_json
from tlrec.model.adapter import Adapter

AUTO = "auto"
SUPPORTED_SETTINGS = {"r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "bias", "task_type",
            "fan_in_fan_out", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "layers_to_transform",
            "layers_pattern"}
INFORMATIONAL_SETTINGS = {
    "peft_type",
    "peft_version",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "revision",
    "auto_mapping",
}  # nothing is done by them here


def lora_config(adapter: Adapter):
    """The adapter's peft LoraConfig, from its plain settings alone.

    InputError for a setting that peft could act on and that is not among them: some import modules by name, or change
    the base model's weights.
    """
    from peft import LoraConfig

    usual = {field.name: field.default for field in dataclasses.fields(LoraConfig)}
    asked = {name: value for name, value in adapter.config.items()
             if value and value != usual.get(name) and name not in INFORMATIONAL_SETTINGS}
    other = sorted(asked.keys() - SUPPORTED_SETTINGS)
    place = adapter.folder / "adapter_config.json"
    if other:
        raise InputError(f"{place}: sets {other[0]}, which is not supported here; tune the adapter again without it")
    for name, right in _RIGHT.items():
        if adapter.config.get(name) is not None and not right(adapter.config[name]):
            said = str(adapter.config[name])[:60]
            raise InputError(f"{place}: {name} is {said!r}, which LoRA does not take; tune or fetch the adapter again")
    try:
        return LoraConfig(**asked)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{place}: not usable ({error}); tune or fetch the adapter again") from None


def _number(value: object, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _names(value: object) -> bool:
    """A list of layers, or a regular expression over their names."""
    if isinstance(value, list):
        return all(isinstance(name, str) for name in value)
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        return False


def _pattern(value: object, most: float) -> bool:
    return isinstance(value, dict) and all(_names(name) and _number(number, 1, most) for name, number in value.items())


def _layers(value: object) -> bool:
    return type(value) is int or isinstance(value, list) and all(type(number) is int for number in value)


_RIGHT = {
    "r": lambda value: type(value) is int and 1 <= value <= 4096,
    "lora_alpha": lambda value: _number(value, 1e-6, 1e6),
    "lora_dropout": lambda value: _number(value, 0, 0.99),
    "target_modules": _names,
    "exclude_modules": _names,
    "layers_pattern": _names,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "rank_pattern": lambda value: _pattern(value, 4096),
    "alpha_pattern": lambda value: _pattern(value, 1e6),
    "layers_to_transform": _layers,
    **dict.fromkeys(("fan_in_fan_out", "use_rslora", "use_dora"), lambda value: isinstance(value, bool)),
}


def check_same_lora(adapter: Adapter, rank: int, alpha: int, targets: list[str] | str) -> None:
    """InputError, with the flags to give, unless a starting adapter has the LoRA settings that tuning was asked for."""
    for name in ("use_rslora", "use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern"):
        if adapter.config.get(name):
            raise InputError(f"{adapter.folder}: the starting adapter has {name}, which tuning here does not know; "
                             "choose a plain LoRA adapter")
    needed = [
        f"{flag} {_as_flag(found)}"
        for flag, wanted, found in (
            ("--lora_r", rank, adapter.config["r"]),
            ("--lora_alpha", alpha, adapter.config.get("lora_alpha")),
            ("--lora_target_modules", targets, adapter.config.get("target_modules")),
        )
        if _as_flag(wanted) != _as_flag(found)
    ]
    if needed:
        raise InputError(f"{adapter.folder}: the starting adapter has other LoRA settings; give {' '.join(needed)}")


def _as_flag(value: object) -> str:
    return f"'[{','.join(sorted(map(str, value)))}]'" if isinstance(value, list) else str(value)


def lora_settings_hash(adapter: Adapter) -> str:
    """Hash of what adapter_config.json says about the computation: its weights are half of what an adapter is.

    Left out are what is empty, and notes such as where the base model was; the order of layer names says nothing.
    """
    said = {name: sorted(value, key=str) if isinstance(value, list) else value
            for name, value in adapter.config.items() if value and name not in INFORMATIONAL_SETTINGS}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def resolve_target_modules(base: Path, names: list[str]) -> list[str] | str:
    """Layers that get LoRA: `names`, or for ["auto"] PEFT's choice for the architecture (for LLaMA as published).

    InputError where PEFT has none.
    """
    if names != [AUTO]:
        return names
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    kind = read_json(base / "config.json", "")["model_type"]
    if kind not in KNOWN:
        named = ", ".join(_linear_layers(base)) or "the config's architecture in transformers"
        raise InputError(f"{base / 'config.json'}: --lora_target_modules auto knows no layers for model_type {kind!r}; "
                         f"name some as '[NAME,NAME]', from {named}")
    return KNOWN[kind]


def _linear_layers(base: Path) -> list[str]:
    """Names of what has a matrix of weights in the model's blocks, by its safetensors files' headers."""
    from safetensors import safe_open

    names = set()
    for path in base.glob("*.safetensors"):
        try:
            with safe_open(path, framework="np") as file:
                names |= {name.split(".")[-2] for name in file.keys() if re.search(r"\.\d+\..+\.weight$", name)
                          and len(file.get_slice(name).get_shape()) == 2}
        except Exception as error:  # of the safetensors' own kind
            raise InputError(f"{path}: not a safetensors file ({first_line(error)}); fetch it again") from None
    return sorted(names)
