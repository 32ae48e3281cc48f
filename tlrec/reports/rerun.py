"""The commands that make a recorded run again, and whether its data, base model and adapter are still the same."""

import json
from collections.abc import Callable
from pathlib import Path

import evaluate
from baselines import controls, grid
from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.model.adapter import weights_file
from tlrec.model.base import resolve_base_model
from tlrec.model.fingerprint import matches_fingerprint
from tlrec.model.manifest import MANIFEST_FILE


def commands(record: dict) -> list[str]:
    """The commands behind a record, first to last: every tuning stage whose manifest is at hand, then the evaluation.

    Run them in TLREC_HOME, to which the record's paths are relative.
    """
    arguments = record["arguments"]
    if record["method"] == "baseline":
        return [cli.command_line("-m baselines.grid", grid.main, arguments)]
    if record["method"] not in evaluate.METHODS:
        return [cli.command_line("-m baselines.controls", controls.main, arguments | {"methods": record["method"]})]
    adapter = record.get("adapter") or {}
    return [*adapter.get("commands", []), cli.command_line("evaluate.py", evaluate.main, arguments)]


def _manifest(folder: str) -> dict | None:
    try:
        return paths.relative_to_home(json.loads((paths.home_dir() / folder / MANIFEST_FILE).read_text()))
    except (OSError, ValueError):
        return None


def changed_inputs(record: dict) -> list[str]:
    """What is not as it was when the run was made, one line each; empty where a rerun has what it needs."""
    request, arguments = record["request"], record["arguments"]
    found = []

    def check(what: str, place: str | None, wanted: str | None, now: Callable[[Path], str]) -> None:
        if not place or not wanted:
            return
        path = paths.home_dir() / place
        try:
            if now(path) != wanted:
                found.append(f"{what} {path}: differs from the recorded one")
        except (OSError, InputError) as error:
            found.append(f"{what} {path}: cannot be read ({getattr(error, 'strerror', None) or error})")

    data = Path(record["test_data"]["path"])
    for split in ("test", "train", "valid"):
        place = arguments.get(f"{split}_data_path") or str(data.with_name(f"{split}.json"))
        check(f"{split} data", place, request.get(f"{split}_sha256"), files.sha256)
    made_on = request.get("base_model")
    base = arguments.get("base_model")  # a name under base_model/, or a path
    base = str(paths.home_dir() / base) if base and (paths.home_dir() / base).is_dir() else base
    check("base model", base, made_on,
          lambda _: made_on if matches_fingerprint(made_on, resolve_base_model(base)) else "")
    check("adapter", arguments.get("lora_weights"), request.get("adapter_sha256"), _weights_hash)
    place = arguments.get("lora_weights")
    for adapter in _chain(record):
        for split, part in (adapter.get("data") or {}).items():
            if part:
                check(f"{split} data of the adapter", part["path"], part.get("sha256"), files.sha256)
        made = (_manifest(place) if place else None) or {}
        start = (adapter.get("arguments") or {}).get("resume_from_checkpoint")
        check("starting adapter", start, made.get("request", {}).get("start"), _weights_hash)
        place = start
    return found


def _weights_hash(folder: Path) -> str:
    return files.sha256(weights_file(folder))


def _chain(record: dict) -> list[dict]:
    """Arguments and data of every tuning behind a record whose manifest is at hand, the last one first."""
    found, adapter = [], record.get("adapter")
    while adapter and len(found) < 100:  # a chain that starts from itself would not end
        found.append(adapter)
        start = (adapter.get("arguments") or {}).get("resume_from_checkpoint")
        adapter = _manifest(start) if start else None
    return found
