"""A look at files from strangers, before anything that acts on them is loaded."""

import json
import struct
from pathlib import Path

from tlrec.errors import InputError


def check_regular(path: Path) -> None:
    """InputError for a pipe or a device, of which a reader may never see the end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: a pipe or a device; name a file")


def read_json(path: Path, need: str) -> object:
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {need}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None


def check_base_files(folder: Path) -> None:
    """InputError for a model folder that wants code of its own to run, weights from outside it, or has broken ones, and
    for one with an adapter in it, which transformers would put on the model by itself."""
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{folder}: holds an adapter (adapter_config.json) beside the base model; move the adapter to "
                         "a folder of its own, and name that where an adapter is wanted")
    for path in sorted(folder.glob("*.safetensors")):
        safetensors_names(path)
    for path in sorted(folder.glob("*.json")):
        said = read_json(path, "") if path.name.endswith(("config.json", ".index.json")) else {}
        if not isinstance(said, dict):
            raise InputError(f"{path}: not a JSON object; fetch the model again")
        if "auto_map" in said:
            raise InputError(f"{path}: wants code of the folder's own to run (auto_map); no such code is run here: "
                             "take a model that transformers knows by itself, or remove the entry")
        shards = said.get("weight_map", {})
        names = shards.values() if isinstance(shards, dict) else [None]
        outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
        if outside:
            raise InputError(f"{path}: names weights outside its folder ({outside[0]!r}); fetch the model again")


def check_quantised(folder: Path, config: dict) -> None:
    """InputError where config.json says that the weights are bitsandbytes' and they are not."""
    said = config.get("quantization_config")
    if not isinstance(said, dict | None):
        raise InputError(f"{folder / 'config.json'}: quantization_config is not an object; fetch the model again")
    names = [name for path in folder.glob("*.safetensors") for name in safetensors_names(path)]
    ours = said and "bitsandbytes" in str(said.get("quant_method", "bitsandbytes"))
    if ours and names and not any(name.endswith((".SCB", ".absmax")) for name in names):
        raise InputError(f"{folder / 'config.json'}: quantization_config says that the weights are quantised, and they "
                         "are not; remove that entry, and give --load_in_8bit True or --load_in_4bit True")


def check_manifest(path: Path, manifest: object) -> None:
    """InputError where an adapter's tlrec.json is not of the form that tuning writes."""
    kinds = {"chain": list, "rows_of_chain": list, "base_model": dict, "arguments": dict, "data": dict}
    form = isinstance(manifest, dict) and all(isinstance(manifest.get(name, kind()), kind)
                                              for name, kind in kinds.items())
    whole = (int, type(None))
    parts = {"chain": str, "rows_of_chain": whole}
    values = {"shots": whole, "seed": whole}
    form = form and all(isinstance(part, kind) for name, kind in parts.items() for part in manifest.get(name, []))
    form = form and all(isinstance(manifest.get(name), kind) for name, kind in values.items())
    form = form and all(_seconds(manifest.get(name, 0)) for name in ("seconds", "seconds_before"))
    form = form and manifest.get("chain") != [] and _is_json(manifest)
    if not form or len(manifest.get("chain", [])) != len(manifest.get("rows_of_chain", manifest.get("chain", []))):
        raise InputError(f"{path}: not as tuning writes it; tune the adapter again, or remove this file")


def _seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e9


def _is_json(value: object) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False))
    except ValueError:  # NaN, which Python's reader takes
        return False


def safetensors_names(path: Path) -> list[str]:
    """Tensor names from the header alone. InputError where the header does not fit the file."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError("its header claims to be longer than the file")
            header = json.loads(file.read(length))
        ends = {name: int(said["data_offsets"][1]) for name, said in header.items() if name != "__metadata__"}
        if max(ends.values(), default=0) != size - 8 - length:
            raise ValueError("it is cut short, or its header lies about its size")
        return list(ends)
    except (struct.error, ValueError, OSError, AttributeError, TypeError, LookupError, RecursionError,
            OverflowError) as error:
        raise InputError(f"{path}: not a safetensors file ({error}); tune or fetch it again") from None
