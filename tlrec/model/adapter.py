"""LoRA adapters on disk: a look at their folder before torch is imported, then their weights onto a model."""

from dataclasses import dataclass
from pathlib import Path

from tlrec.errors import InputError, first_line
from tlrec.files import read_json, safetensors_names
from tlrec.model.fingerprint import matches_fingerprint
from tlrec.model.manifest import check_manifest

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
MANIFEST_FILE = "tlrec.json"  # written beside an adapter, after everything else


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk that has been looked at: its folder, weights file, LoRA settings and manifest."""

    folder: Path
    weights: Path
    config: dict
    manifest: dict

    @property
    def chain(self) -> list[str]:
        """Names of the tuning stages; an adapter from elsewhere is one stage with its folder's name."""
        return self.manifest.get("chain", [self.folder.name])

    @property
    def rows_of_chain(self) -> list[int | None]:
        """Training rows of each stage; None where they are not known."""
        return self.manifest.get("rows_of_chain", [None] * len(self.chain))


def weights_file(folder: Path) -> Path:
    """An adapter's file of weights. InputError where it has none."""
    found = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{folder}: holds no {WEIGHT_FILES[0]} (nor .bin); the adapter was never saved, tune it again")
    return found


def inspect_adapter(folder: str | Path, base: Path) -> Adapter:
    """Look at an adapter before anything heavy is loaded.

    Raises InputError where it is missing, empty, not LoRA, or was tuned on another base model.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such adapter; tune it first, or leave the flag out")
    weights = weights_file(folder)
    config = read_json(folder / "adapter_config.json", "an adapter folder needs one")
    if not isinstance(config, dict) or config.get("peft_type") != "LORA" or "r" not in config:
        raise InputError(f"{folder / 'adapter_config.json'}: not the configuration of a LoRA adapter")
    if weights.suffix == ".safetensors" and not safetensors_names(weights):
        raise InputError(f"{weights}: an empty adapter (old PEFT versions saved such files); tune it again")
    manifest = read_json(folder / MANIFEST_FILE, "") if (folder / MANIFEST_FILE).exists() else {}
    check_manifest(folder / MANIFEST_FILE, manifest)
    before = manifest.get("base_model", {})
    if not matches_fingerprint(before.get("fingerprint"), base):
        raise InputError(f"{folder}: tuned on base model {before.get('name')}, not on {base.name} as it is in {base} "
                         "(weights, config.json and tokenizer count)")
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
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{adapter.weights}: an empty adapter (old PEFT versions saved such files); tune it again")
    if not all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()):
        raise InputError(f"{adapter.weights}: holds other things than named tensors; tune or fetch it again")
    odd = [name for name, tensor in weights.items() if not _plain(tensor)]
    if odd:
        raise InputError(f"{adapter.weights}: {odd[0]} is no ordinary tensor of floating-point numbers; tune it again")
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{adapter.weights}: {broken[0]} holds NaN or infinity; tune it again")
    return weights


def _plain(tensor) -> bool:
    """Whether each of its numbers, of a type that LoRA weights have, lies in memory."""
    import torch

    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return (tensor.dtype in kinds and tensor.layout is torch.strided and not tensor.is_nested
            and tensor.device.type == "cpu"
            and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size())


def attach_adapter(model, config, adapter: Adapter | None):
    """Wrap `model` with LoRA; with an adapter, put its weights in and prove that every one found its place.

    config: a peft LoraConfig. LoRA weights stay in fp32 whatever the base model's type. InputError where the adapter's
    tensors do not fit the model.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    try:
        wrapped = get_peft_model(model, config)
    except (ValueError, TypeError, RuntimeError) as error:
        place = f"{adapter.folder / 'adapter_config.json'}" if adapter else "--lora_target_modules"
        said = first_line(error)[:200]
        raise InputError(f"{place}: LoRA cannot be attached ({said}); name layers that the base model has, or `auto`"
                         ) from None
    if adapter is not None:
        weights = read_adapter_weights(adapter)
        expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(wrapped).items()}
        found = {name: tensor.shape for name, tensor in weights.items()}
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if wrong:
            raise InputError(
                f"{adapter.weights}: {wrong[0]} is {_shape(found, wrong[0])}, the base model needs "
                f"{_shape(expected, wrong[0])}; the adapter is of another base model or of other LoRA settings"
            )
        set_peft_model_state_dict(wrapped, weights)
    return wrapped


def _shape(shapes: dict, name: str) -> str:
    return "x".join(map(str, shapes[name])) if name in shapes else "absent"
