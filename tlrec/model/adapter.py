"""LoRA adapters on disk: validated before torch is imported, then their weights onto a model."""

from dataclasses import dataclass
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError, first_line
from tlrec.files import safetensors_names
from tlrec.model.adapter_config import CONFIG_FILE, AdapterConfig, read_adapter_config
from tlrec.model.adapter_manifest import Manifest, read_manifest
from tlrec.model.fingerprint import matches_fingerprint

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True)
class Adapter:
    """A validated adapter on disk; `manifest` is None for one that was not tuned here."""

    folder: Path
    weights: Path
    config: AdapterConfig
    manifest: Manifest | None

    @property
    def chain(self) -> list[str]:
        """Names of the tuning stages; an adapter without a manifest is one stage with its folder's name."""
        return self.manifest.chain if self.manifest else [self.folder.name]

    @property
    def rows_of_chain(self) -> list[int | None]:
        """Training rows of each stage; None where they are not known."""
        return self.manifest.rows_of_chain if self.manifest else [None]

    @property
    def commands(self) -> list[str]:
        """Commands that tune it again, first to last; a comment stands for an adapter without a manifest."""
        if self.manifest:
            return self.manifest.commands
        path = " ".join(str(paths.relative_to_home(str(self.folder.resolve()))).split())  # one line, whatever it holds
        return [f"# {path}: no manifest; bring this adapter"]

    @property
    def seconds(self) -> float:
        """Wall time of all its tuning stages, as far as it is known."""
        return self.manifest.seconds + self.manifest.seconds_before if self.manifest else 0


def weights_file(folder: Path) -> Path:
    """An adapter's file of weights. InputError where it has none."""
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: no {WEIGHT_FILES[0]} (nor .bin); the adapter was never saved, tune it again")
    return path


def inspect_adapter(folder: str | Path, base: Path) -> Adapter:
    """Validate an adapter before anything heavy is loaded.

    Raises InputError where it is missing, empty, not LoRA, or was tuned on another base model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such adapter; tune it first, or leave the flag out")
    weights = weights_file(folder)
    config = read_adapter_config(folder)
    if weights.suffix == ".safetensors" and not safetensors_names(weights):
        raise InputError(f"{weights}: an empty adapter (old PEFT versions saved such files); tune it again")
    manifest = read_manifest(folder)
    if manifest and not matches_fingerprint(manifest.base_model.fingerprint, base):
        raise InputError(f"{folder}: tuned on base model {manifest.base_model.name}, not on {base.name} as it is in "
                         f"{base} (weights, config.json and tokenizer count)")
    return Adapter(folder, weights, config, manifest)


def read_adapter_weights(adapter: Adapter) -> dict:
    """An adapter's tensors by name; never runs code from the file. InputError if empty or not finite."""
    import torch
    from safetensors.torch import load_file

    try:
        if adapter.weights.suffix == ".safetensors":
            weights = load_file(adapter.weights)
        else:
            weights = torch.load(adapter.weights, weights_only=True, map_location="cpu")
    except Exception as error:  # the loaders raise many kinds for a bad file
        raise InputError(f"{adapter.weights}: not readable as adapter weights ({first_line(error)})") from None
    if not isinstance(weights, dict) or not weights or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()):
        raise InputError(f"{adapter.weights}: empty, or holds other things than named tensors; tune or fetch it again")
    for name, tensor in weights.items():
        if not _is_dense_float(tensor):
            raise InputError(f"{adapter.weights}: {name} is not a dense floating-point tensor; tune it again")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{adapter.weights}: {name} holds NaN or infinity; tune it again")
    return weights


def _is_dense_float(tensor) -> bool:
    """Whether it is a strided CPU tensor of a floating-point type whose storage holds every element."""
    import torch

    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return (tensor.dtype in dtypes and tensor.layout is torch.strided and not tensor.is_nested
            and tensor.device.type == "cpu"
            and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size())


def attach_adapter(model, config, adapter: Adapter | None):
    """Wrap `model` with LoRA; with an adapter, load its weights and check that each one fits.

    config: a peft LoraConfig, None for the adapter's own. LoRA weights stay in fp32 whatever the base model's type.
    InputError where the adapter's settings or tensors do not fit the model.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    try:
        wrapped = get_peft_model(model, adapter.config.to_peft() if adapter and not config else config)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        source = f"{adapter.folder / CONFIG_FILE}" if adapter else "--lora_target_modules"
        raise InputError(f"{source}: LoRA cannot be attached ({first_line(error)[:200]}); name layers that the base "
                         "model has, or `auto`") from None
    if adapter is not None:
        weights = read_adapter_weights(adapter)
        expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(wrapped).items()}
        actual = {name: tensor.shape for name, tensor in weights.items()}
        wrong = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
        if wrong:
            raise InputError(
                f"{adapter.weights}: {wrong[0]} is {_shape(actual, wrong[0])}, the base model needs "
                f"{_shape(expected, wrong[0])}; the adapter is of another base model or of other LoRA settings"
            )
        set_peft_model_state_dict(wrapped, weights)
    return wrapped


def _shape(shapes: dict, name: str) -> str:
    return "x".join(map(str, shapes[name])) if name in shapes else "absent"
