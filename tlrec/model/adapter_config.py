"""LoRA settings: an adapter's adapter_config.json."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from tlrec.files import parse_json, read_bytes, validate

CONFIG_FILE = "adapter_config.json"
INFORMATIONAL_SETTINGS = {
    "peft_type",
    "peft_version",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "revision",
    "auto_mapping",
}  # they do not change what an adapter computes
INACTIVE_DEFAULTS = {"megatron_core": "megatron.core", "qalora_group_size": 16}  # PEFT writes them into every file


Layers = re.Pattern[str] | list[str]  # a pattern over all names, or names
Rank = Annotated[int, Field(ge=1, le=4096)]
Alpha = Annotated[int | float, Field(ge=1e-6, le=1e6)]


class AdapterConfig(BaseModel, strict=True, extra="allow", frozen=True, allow_inf_nan=False):
    """adapter_config.json of a LoRA adapter, as PEFT writes it.

    A setting that PEFT would act on and that is not a field here is refused: some of them import modules by name, or
    change the base model's weights. Empty settings and notes are read over.
    """

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
