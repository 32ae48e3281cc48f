"""The commands that make a recorded run again, and whether its data, base model and adapter are still the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.model.adapter import weights_file
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.model.base_model import resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint


def command_lines(record: dict[str, Any]) -> list[str]:
    """What the run was, as a comment, and the commands that make it again in TLREC_HOME, first to last."""
    run = (f"{record['system']}: commit {record.get('commit')}, torch {record['versions'].get('torch')}, "
           f"{record['time']}; in {paths.home_dir()}")
    return [" ".join(line.split()) for line in (f"# {run}", *record["commands"])]  # one line each, whatever they hold


def changed_inputs(record: dict[str, Any]) -> list[str]:
    """What differs from the recorded run's inputs, one line each; empty where a rerun has what it needs."""
    request, arguments = record["request"], record["arguments"]
    changes = []

    def check(what: str, name: str | None, recorded: str | None, current: Callable[[Path], str]) -> None:
        if not name or not recorded:
            return
        path = paths.home_dir() / name
        try:
            if current(path) != recorded:
                changes.append(f"{what} {path}: differs from the recorded one")
        except (OSError, InputError) as error:
            changes.append(f"{what} {path}: cannot be read ({getattr(error, 'strerror', None) or error})")

    data = Path(record["test_data"]["path"])
    for split in ("test", "train", "valid"):
        name = arguments.get(f"{split}_data_path") or str(data.with_name(f"{split}.json"))
        check(f"{split} data", name, request.get(f"{split}_sha256"), files.sha256)
    fingerprint = request.get("base_model")
    base = arguments.get("base_model")  # a name under base_model/, or a path
    base = str(paths.home_dir() / base) if base and (paths.home_dir() / base).is_dir() else base
    check("base model", base, fingerprint,
          lambda _: base_model_fingerprint(resolve_base_model(base)))
    what, folder, weights = "adapter", arguments.get("lora_weights"), request.get("adapter_sha256")
    adapter, seen = record.get("adapter") or {}, set()
    while folder and folder not in seen:  # a chain that starts from itself would not end
        seen.add(folder)
        check(what, folder, weights, lambda path: files.sha256(weights_file(path)))
        for split, part in (adapter.get("data") or {}).items():
            if part:
                check(f"{split} data of the adapter", part["path"], part.get("sha256"), files.sha256)
        start = (adapter.get("arguments") or {}).get("resume_from_checkpoint")
        what, weights = "starting adapter", _manifest(folder).get("request", {}).get("start")
        folder, adapter = start, _manifest(start) if start else {}
    return changes


def _manifest(folder: str) -> dict[str, Any]:
    """The manifest of an adapter; empty where there is none."""
    try:
        return json.loads((paths.home_dir() / folder / MANIFEST_FILE).read_text())
    except (OSError, ValueError):
        return {}
