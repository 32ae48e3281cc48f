"""LoRA adapters on disk: read and validated before torch is imported, then their weights onto a model."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError, first_line
from tlrec.files import read_bytes
from tlrec.model.adapter_config import CONFIG_FILE, AdapterConfig, read_adapter_config
from tlrec.model.adapter_manifest import MANIFEST_FILE, Manifest, read_manifest
from tlrec.model.fingerprint import base_model_fingerprint

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")


@dataclass(frozen=True)
class Adapter:
    """A validated adapter, read once; `manifest` is None for one that was not tuned here."""

    folder: Path
    weights: Path
    content: bytes = field(repr=False)  # of the weights file
    sha256: str  # of the content
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
    checkpoints = sorted((path.parent.name for name in WEIGHT_FILES for path in folder.glob(f"checkpoint-*/{name}")),
                         key=lambda name: (len(name), name))
    if path is None and checkpoints:
        raise InputError(f"{folder}: no {WEIGHT_FILES[0]} (nor .bin), but training checkpoints; name one of them, as "
                         f"{folder / checkpoints[-1]}")
    if path is None:
        raise InputError(f"{folder}: no {WEIGHT_FILES[0]} (nor .bin); the adapter was never saved, tune it again")
    return path


def inspect_adapter(folder: str | Path, base: Path) -> Adapter:
    """Validate an adapter before anything heavy is loaded.

    Raises InputError where it is missing, empty, not LoRA, was tuned on another base model, or is not the one that its
    manifest describes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such adapter; tune it first, or leave the flag out")
    weights = weights_file(folder)
    config, config_hash = read_adapter_config(folder)
    content = read_bytes(weights, "tune the adapter again")
    digest = hashlib.sha256(content).hexdigest()
    if weights.suffix == ".safetensors" and not _tensor_names(content, weights):
        raise InputError(f"{weights}: an empty adapter (old PEFT versions saved such files); tune it again")
    manifest = read_manifest(folder)
    if manifest:
        _check_manifest(manifest, folder, base, {CONFIG_FILE: config_hash, weights.name: digest})
    return Adapter(folder, weights, content, digest, config, manifest)


def _check_manifest(manifest: Manifest, folder: Path, base: Path, hashes: dict[str, str]) -> None:
    """InputError where the manifest is of another base model, or of other files than those with these hashes."""
    if manifest.base_model.fingerprint != base_model_fingerprint(base):
        raise InputError(f"{folder}: tuned on base model {manifest.base_model.name}, not on {base.name} as it is in "
                         f"{base} (weights, config and tokenizer count)")
    for name, current in hashes.items():
        if manifest.files.get(name) != current:
            raise InputError(f"{folder / name}: not the file that {MANIFEST_FILE} describes (its sha256 differs); tune "
                             f"the adapter again, or remove {MANIFEST_FILE} to use it without its history")


def _tensor_names(content: bytes, path: Path) -> list[str]:
    """InputError where the content is not a safetensors file."""
    from safetensors import SafetensorError, deserialize

    try:
        return [name for name, _ in deserialize(content)]
    except SafetensorError as error:
        raise InputError(f"{path}: not a valid safetensors file ({error}); tune or download it again") from None


def read_adapter_weights(adapter: Adapter) -> dict:
    """An adapter's tensors by name; never runs code from the file. InputError if empty or not finite."""
    import torch
    from safetensors.torch import load

    try:
        if adapter.weights.suffix == ".safetensors":
            weights = load(adapter.content)
        else:
            weights = torch.load(io.BytesIO(adapter.content), weights_only=True, map_location="cpu")
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
