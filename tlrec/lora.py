"""LoRA settings: which layers, and whether a starting adapter has the settings that tuning was asked for."""

from pathlib import Path

from tlrec import models
from tlrec.errors import InputError

AUTO = "auto"


def check_same_lora(adapter: models.Adapter, rank: int, alpha: int, targets: list[str] | str) -> None:
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
    return f"'[{','.join(sorted(value))}]'" if isinstance(value, list) else str(value)


def lora_targets(base: Path, names: list[str]) -> list[str] | str:
    """Layers that get LoRA: `names`, or for ["auto"] PEFT's choice for the architecture (for LLaMA as published).

    InputError where PEFT has none.
    """
    if names != [AUTO]:
        return names
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    kind = models.read_json(base / "config.json", "")["model_type"]
    if kind not in KNOWN:
        raise InputError(f"{base / 'config.json'}: --lora_target_modules auto knows no layers for model_type {kind!r}; "
                         "name them, as '[q_proj,v_proj]'")
    return KNOWN[kind]
