"""LoRA settings: an adapter's adapter_config.json, and which layers get LoRA."""

import contextlib
import functools
import hashlib
import itertools
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tlrec.errors import InputError
from tlrec.files import parse_json, read_bytes, read_json, validate
from tlrec.model.weights import stored_tensors, weight_files

CONFIG_FILE = "adapter_config.json"
AUTO = "auto"
INFORMATIONAL_SETTINGS = {
    "peft_type",
    "peft_version",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "revision",
    "auto_mapping",
}  # they do not change what an adapter computes
NOT_TUNED = ("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layers_to_transform",
             "modules_to_save", "bias")  # scored, but no start for a tuning
PEFT_ALPHA = 8  # where a file gives none
MATCHING_SECONDS = 2
INACTIVE_DEFAULTS = {"megatron_core": "megatron.core", "qalora_group_size": 16}  # PEFT writes them into every file


Layers = re.Pattern[str] | list[str]  # a pattern over all names, or names
Rank = Annotated[int, Field(ge=1, le=4096)]
Alpha = Annotated[int | float, Field(ge=1e-6, le=1e6)]


class AdapterConfig(BaseModel):
    """adapter_config.json of a LoRA adapter, as PEFT writes it.

    A setting that PEFT would act on and that is not a field here is refused: some of them import modules by name, or
    change the base model's weights. Empty settings and notes are read over.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)

    peft_type: Literal["LORA"]
    r: Rank = Field(description="rank of the low-rank matrices")
    lora_alpha: Alpha | None = Field(None, description="scale times rank; PEFT's default is 8")
    lora_dropout: float | None = Field(None, ge=0, le=0.99)
    target_modules: Layers | None = None
    exclude_modules: Layers | None = None
    bias: Literal["none", "all", "lora_only"] | None = None
    task_type: str | None = None
    fan_in_fan_out: bool | None = None
    use_rslora: bool | None = Field(None, description="scale by the root of the rank")
    use_dora: bool | None = None
    rank_pattern: dict[re.Pattern[str], Rank] | None = Field(None, description="layers with their own rank")
    alpha_pattern: dict[re.Pattern[str], Alpha] | None = Field(None, description="layers with their own lora_alpha")
    layers_to_transform: list[int] | int | None = None
    layers_pattern: Layers | None = None
    modules_to_save: list[str] | None = Field(None, description="layers whose own weights the adapter holds")

    @model_validator(mode="after")
    def _nothing_else_is_active(self) -> "AdapterConfig":
        for name, value in (self.model_extra or {}).items():
            if value and name not in INFORMATIONAL_SETTINGS and value != INACTIVE_DEFAULTS.get(name):
                raise ValueError(f"sets {name}, which is not supported here")
        return self

    @property
    def made_for(self) -> str:
        """What PEFT noted of the base model, a name on the Hub or a path on its maker's machine; empty: nothing."""
        note = (self.model_extra or {}).get("base_model_name_or_path")
        return note if isinstance(note, str) else ""

    def to_peft(self):
        """The peft LoraConfig with these settings. Imports torch."""
        from peft import LoraConfig

        values = self.model_dump(mode="json", include=type(self).model_fields.keys() - {"peft_type"})
        return LoraConfig(**{name: value for name, value in values.items() if value})

    def settings_hash(self) -> str:
        """Hash of the settings that the computation depends on; the weights are the other half of an adapter.

        Empty settings and notes do not count, nor does the order of layer names.
        """
        settings = {
            name: sorted(value, key=str) if isinstance(value, list) else value
            for name, value in self.model_dump(mode="json").items()
            if value and name not in INFORMATIONAL_SETTINGS
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def read_adapter_config(folder: Path) -> tuple[AdapterConfig, str]:
    """The LoRA settings in an adapter folder, and the sha256 of their file.

    InputError names the setting that is wrong or not supported.
    """
    path = folder / CONFIG_FILE
    content = read_bytes(path, "an adapter folder needs one")
    payload = parse_json(content, path, "tune or fetch the adapter again")
    config = validate(AdapterConfig, payload, path, "not usable as a LoRA adapter, tune or fetch it again")
    return config, hashlib.sha256(content).hexdigest()


def check_patterns(folder: Path, config: AdapterConfig, base: Path) -> None:
    """InputError where a regular expression of an adapter does not match the base model's layers in time.

    One like (\\w+)*x takes a time that is exponential in the length of a name; PEFT would wait for it.
    """
    settings = config.model_dump(mode="json", include={"target_modules", "exclude_modules", "layers_pattern",
                                                       "rank_pattern", "alpha_pattern"})
    texts = [[value] if isinstance(value, str) else list(value or ()) for value in settings.values()]
    patterns = [text for text in itertools.chain(*texts) if not re.fullmatch(r"[\w.-]*", text)]
    for pattern in patterns:
        try:
            with _time_limit(MATCHING_SECONDS):
                for name in _layer_names(base):
                    re.match(rf"(.*\.)?({pattern})$", name)
        except TimeoutError:
            raise InputError(f"{folder / CONFIG_FILE}: the regular expression {pattern[:80]!r} takes longer than "
                             f"{MATCHING_SECONDS} s to match a model's layers; write their names instead") from None


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds; in the main thread only, and `re` stops for it."""

    def stop(*_) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def check_same_lora(
    folder: Path, config: AdapterConfig, rank: int, alpha: int, targets: list[str] | str, base: Path
) -> None:
    """InputError, with the flags to give, unless a starting adapter has the LoRA settings that tuning was asked for.

    Layers that are given as a regular expression are those of the base model that it matches.
    """
    existing = config.model_dump(mode="json")
    for name in NOT_TUNED:
        if existing[name] not in (None, False, "none", [], {}):
            raise InputError(f"{folder}: the starting adapter has {name}, which tuning does not support; choose a "
                             "plain LoRA adapter")
    layers = existing["target_modules"] or resolve_target_modules(base, [AUTO])
    if isinstance(layers, str) and layers != targets:
        names = _layer_names(base)
        layers, asked = _matching(layers, names), _matching(targets, names)
        last = sorted({name.rpartition(".")[2] for name in layers})
        layers = targets if layers == asked else last if _matching(last, names) == layers else sorted(layers)
    wanted = {"r": (rank, existing["r"]), "alpha": (alpha, existing["lora_alpha"] or PEFT_ALPHA),
              "target_modules": (targets, layers)}
    needed = [f"--lora_{name} {_as_flag(has)}" for name, (asked, has) in wanted.items()
              if _as_flag(asked) != _as_flag(has)]
    if needed:
        raise InputError(f"{folder}: the starting adapter has other LoRA settings; give {' '.join(needed)}")


def _matching(targets: list[str] | str, names: list[str]) -> set[str]:
    """The layers that get LoRA, as PEFT chooses them."""
    if isinstance(targets, str):
        return {name for name in names if re.fullmatch(targets, name)}
    return {name for name in names if any(f".{name}".endswith(f".{target}") for target in targets)}


def _as_flag(value: object) -> str:
    return f"'[{','.join(sorted(map(str, value)))}]'" if isinstance(value, list) else str(value)


@functools.cache
def _layer_names(base: Path) -> list[str]:
    """Names of the base model's layers that have a weight, as its files call them."""
    names = (tensor.name for path in weight_files(base) for tensor in stored_tensors(path))
    return [name.removesuffix(".weight") for name in names if name.endswith(".weight")]


def resolve_target_modules(base: Path, names: list[str]) -> list[str] | str:
    """Layers that get LoRA: `names`, or for ["auto"] PEFT's choice for the architecture (for LLaMA as published).

    InputError where PEFT has none.
    """
    if names != [AUTO]:
        return names
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    model_type = read_json(base / "config.json", "")["model_type"]
    if model_type not in KNOWN:
        layers = ", ".join(_linear_layers(base)) or "the config's architecture in transformers"
        raise InputError(f"{base / 'config.json'}: --lora_target_modules auto knows no layers for model_type "
                         f"{model_type!r}; name some as '[NAME,NAME]', from {layers}")
    targets = KNOWN[model_type]
    return targets if isinstance(targets, str) else list(targets)


def _linear_layers(base: Path) -> list[str]:
    """Names of the layers in the model's blocks that have a weight matrix, from the safetensors headers."""
    from safetensors import safe_open

    names = set()
    for path in base.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            names |= {name.split(".")[-2] for name in file.keys()
                      if re.search(r"\.\d+\..+\.weight$", name) and len(file.get_slice(name).get_shape()) == 2}
    return sorted(names)
