"""LoRA adapters on disk: read and validated before torch is imported, then their weights onto a model."""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError, first_line
from tlrec.files import read_bytes, sha256
from tlrec.model import hub
from tlrec.model.adapter_config import CONFIG_FILE, AdapterConfig, read_adapter_config
from tlrec.model.adapter_manifest import MANIFEST_FILE, Manifest, read_manifest
from tlrec.model.adapter_tensors import check_shapes, misfit, saved_names
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.hub import model_name, pinned_name
from tlrec.model.target_layers import check_patterns

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
        return self.manifest.chain if self.manifest else [model_name(self.folder)]

    @property
    def rows_of_chain(self) -> list[int | None]:
        """Training rows of each stage; None where they are not known."""
        return self.manifest.rows_of_chain if self.manifest else [None]

    @property
    def commands(self) -> list[str]:
        """Commands that tune it again, first to last; a comment stands for an adapter without a manifest."""
        if self.manifest:
            return self.manifest.commands
        path = pinned_name(self.folder) or str(paths.relative_to_home(str(self.folder.resolve())))
        return [f"# {' '.join(path.split())}: no manifest; bring this adapter"]  # one line, whatever it holds

    @property
    def seconds(self) -> float:
        """Wall time of all its tuning stages, as far as it is known."""
        return self.manifest.seconds + self.manifest.seconds_before if self.manifest else 0


def weights_file(folder: Path) -> Path:
    """An adapter's file of weights. InputError where it has none."""
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is not None:
        return path
    if (folder / "pytorch_model.bin").is_file():
        raise InputError(f"{folder}: a training checkpoint (pytorch_model.bin, no adapter_model.bin); copy that file "
                         f"to {WEIGHT_FILES[1]}, and put the {CONFIG_FILE} of its run beside it")
    missing = f"{folder}: no {WEIGHT_FILES[0]} (nor .bin)"
    inner = sorted((path.parent for name in WEIGHT_FILES for path in folder.glob(f"*/{name}")),
                   key=lambda path: (not path.name.startswith("checkpoint-"), len(path.name), path.name))
    if inner:
        raise InputError(f"{missing}, but in its subfolders; name one of them, as {inner[-1]}")
    if (folder / "zero_to_fp32.py").is_file() or list(folder.glob("global_step*")):
        raise InputError(f"{missing}, but a DeepSpeed checkpoint; run `python zero_to_fp32.py . OUT` in it, and copy "
                         f"OUT/pytorch_model.bin to {WEIGHT_FILES[1]}")
    raise InputError(f"{missing}; take the folder that the adapter was saved in, or tune it again")


def inspect_adapter(adapter: str | Path, base: Path) -> Adapter:
    """Validate an adapter before anything heavy is loaded; prints what nothing proves of it.

    adapter: a folder, or `owner/name[@revision]` on the Hub. Raises InputError where it is missing, empty, not LoRA,
    was tuned on another base model, or is not the one that its manifest describes.
    """
    folder = Path(adapter)
    if not folder.exists() and hub.is_hub_name(str(adapter)):
        folder = hub.fetch(str(adapter), (CONFIG_FILE, MANIFEST_FILE), WEIGHT_FILES,
                           lambda snapshot, files: _check_names(str(adapter), snapshot, files))
    if not folder.is_dir():
        hub.check_no_address(str(adapter))
        raise InputError(f"{folder}: no such adapter; tune it first, or leave the flag out")
    with hub.named_as(str(adapter), folder):
        return _inspect(str(adapter), folder, base)


def _inspect(name: str, folder: Path, base: Path) -> Adapter:
    """name: how the adapter was given."""
    weights = weights_file(folder)
    config, config_hash = read_adapter_config(folder)
    check_patterns(folder, config, base)
    content = read_bytes(weights, "tune the adapter again")
    digest = hashlib.sha256(content).hexdigest()
    shapes = _shapes(content, weights)
    if not shapes:
        raise InputError(f"{weights}: an empty adapter (old PEFT versions saved such files); tune it again")
    check_shapes(weights, shapes, config, base)
    manifest = read_manifest(folder)
    if manifest:
        _check_manifest(manifest, folder, base, config, {CONFIG_FILE: config_hash, weights.name: digest})
    else:
        print(_notice(name, config.made_for, model_name(base)), flush=True)
    return Adapter(folder, weights, content, digest, config, manifest)


def _check_names(name: str, snapshot: Path, files: set[str]) -> None:
    """InputError where a repository on the Hub holds no LoRA adapter, from its settings and its files' names."""
    if CONFIG_FILE not in files:
        raise InputError(f"{name}: holds no {CONFIG_FILE}, so it is no adapter; name it as --base_model where it is a "
                         "model")
    read_adapter_config(snapshot)


def _notice(adapter: str, made_for: str, base_name: str) -> str:
    """What is printed of an adapter without a manifest."""
    named = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", made_for)  # a path of its maker's machine says nothing
    if named and Path(made_for).name != Path(base_name).name:
        return (f"notice: {adapter} was made for {made_for}, and --base_model is {base_name}: scores mean something "
                "only if they are the same weights")
    return f"notice: {adapter} has no {MANIFEST_FILE}: nothing proves that it was made for {base_name}"


def _check_manifest(
    manifest: Manifest, folder: Path, base: Path, config: AdapterConfig, hashes: dict[str, str]
) -> None:
    """InputError where the manifest is of another base model or of other settings than the adapter's, or of other files
    than those with these hashes."""
    cure = f"tune the adapter again, or remove {MANIFEST_FILE} to use it without its history"
    if manifest.base_model.fingerprint != base_model_fingerprint(base):
        raise InputError(f"{folder}: tuned on base model {manifest.base_model.name}, not on {model_name(base)} as it "
                         f"is in {base} (weights, config and tokenizer count)")
    for name in hashes | manifest.files:
        if manifest.files.get(name) != (hashes.get(name) or (folder / name).is_file() and sha256(folder / name)):
            raise InputError(f"{folder / name}: not the file that {MANIFEST_FILE} describes (missing, or its sha256 "
                             f"differs); {cure}")
    settings = manifest.request.get("settings")
    settings, base_model = settings if isinstance(settings, dict) else {}, manifest.base_model
    for name, recorded, expected in (
        ("lora_r", settings.get("lora_r"), [config.r]),
        ("lora_alpha", settings.get("lora_alpha"), [config.lora_alpha]),
        ("base_model", Path(config.made_for).name or None, [Path(base_model.name).name, base_model.commit])):
        if recorded is not None and recorded not in expected:
            raise InputError(f"{folder / MANIFEST_FILE}: {name} is not what {CONFIG_FILE} says ({recorded}, "
                             f"{expected[0]}); {cure}")


def _shapes(content: bytes, path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file by their saved names. InputError where the file is not valid."""
    from safetensors import SafetensorError, deserialize

    if path.suffix != ".safetensors":
        return {name: tuple(tensor.shape) for name, tensor in _read_tensors(content, path).items()}
    try:
        return saved_names({name: tuple(tensor["shape"]) for name, tensor in deserialize(content)})
    except SafetensorError as error:
        raise InputError(f"{path}: not a valid safetensors file ({error}); tune or download it again") from None


def _read_tensors(content: bytes, path: Path) -> dict:
    """The tensors of a weights file by their saved names; never runs code from the file. InputError if empty."""
    import torch
    from safetensors.torch import load

    try:
        weights = load(content) if path.suffix == ".safetensors" else (
            torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    except Exception as error:  # the loaders raise many kinds for a bad file
        raise InputError(f"{path}: not readable as adapter weights ({first_line(error)})") from None
    if not isinstance(weights, dict) or not weights or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()):
        raise InputError(f"{path}: empty, or holds other things than named tensors; tune or fetch it again")
    for name, tensor in weights.items():
        if not _is_dense_float(tensor):
            raise InputError(f"{path}: {name} is not a dense floating-point tensor; tune it again")
    return saved_names(weights)


def read_adapter_weights(adapter: Adapter) -> dict:
    """An adapter's tensors by their saved names. InputError if empty or not finite."""
    import torch

    weights = _read_tensors(adapter.content, adapter.weights)
    for name, tensor in weights.items():
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
        with warnings.catch_warnings(action="ignore"):  # of embedding layers, which are saved with the others
            expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(wrapped).items()}
        actual = {name: tensor.shape for name, tensor in weights.items()}
        for name in sorted(expected.keys() | actual.keys()):
            if expected.get(name) != actual.get(name):
                raise misfit(adapter.weights, name, actual.get(name), expected.get(name))
        set_peft_model_state_dict(wrapped, weights)
    return wrapped
