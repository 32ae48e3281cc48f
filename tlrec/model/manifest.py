"""The manifest tlrec.json that tuning writes beside an adapter."""

import json
from pathlib import Path

from tlrec.errors import InputError


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
