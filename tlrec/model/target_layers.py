"""Which layers of a base model get LoRA: by names, by a regular expression, or by PEFT's choice."""

import contextlib
import functools
import itertools
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tlrec.errors import InputError
from tlrec.files import read_json
from tlrec.model.adapter_config import CONFIG_FILE, AdapterConfig
from tlrec.model.weight_files import stored_tensors

AUTO = "auto"
NOT_TUNED = ("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layers_to_transform",
             "modules_to_save", "bias")  # scored, but no start for a tuning
PEFT_ALPHA = 8  # where a file gives none
MATCHING_SECONDS = 2


def check_patterns(folder: Path, config: AdapterConfig, base: Path) -> None:
    """InputError where a regular expression of an adapter does not match the base model's layers in time.

    One like (\\w+)*x takes a time that is exponential in the length of a name; PEFT would wait for it.
    """
    settings = config.model_dump(mode="json", include={"target_modules", "exclude_modules", "layers_pattern",
                                                       "rank_pattern", "alpha_pattern"})
    names = ("target_modules", "exclude_modules")  # as lists these are names, the others patterns in any form
    texts = [[value] if isinstance(value, str) else [] if name in names else list(value or ())
             for name, value in settings.items()]
    patterns = [text for text in itertools.chain(*texts) if not re.fullmatch(r"[\w.-]*", text)]
    for pattern in patterns:
        try:
            with _time_limit(MATCHING_SECONDS):
                for name in _layer_names(base):
                    re.match(rf"(.*\.)?({pattern})$", name)
        except re.error as error:
            raise InputError(f"{folder / CONFIG_FILE}: {pattern[:80]!r} is not a regular expression ({error}); write "
                             "names of layers instead") from None
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

    Layers are compared as those of the base model that names or a regular expression choose.
    """
    existing = config.model_dump(mode="json")
    for name in NOT_TUNED:
        if existing[name] not in (None, False, "none", [], {}):
            raise InputError(f"{folder}: the starting adapter has {name}, which tuning does not support; choose a "
                             "plain LoRA adapter")
    layers = existing["target_modules"] or resolve_target_modules(base, [AUTO])
    names = _layer_names(base) if layers != targets else []
    if tuned := _matching(layers, names):
        last = sorted({name.rpartition(".")[2] for name in tuned})
        layers = targets if tuned == _matching(targets, names) else (
            last if _matching(last, names) == tuned else sorted(tuned))
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
    return [tensor.name.removesuffix(".weight") for tensor in stored_tensors(base) if tensor.name.endswith(".weight")]


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
    return sorted({tensor.name.split(".")[-2] for tensor in stored_tensors(base, pickles=False)
                   if re.search(r"\.\d+\..+\.weight$", tensor.name) and len(tensor.shape) == 2})
