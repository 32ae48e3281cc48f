"""The commands that make a recorded run again, and whether its data, base model and adapter are still the same."""

import json
from collections.abc import Callable
from pathlib import Path

import evaluate
import ins_tuning
import rec_tuning
from baselines import controls, grid
from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.model.adapter import MANIFEST_FILE, weights_file
from tlrec.model.base import resolve_base_model
from tlrec.model.fingerprint import matches_fingerprint

_OTHER_NAMES = {"train_path": "train_data_path", "valid_path": "val_data_path", "start": "resume_from_checkpoint"}


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
    stages = _stages(adapter.get("arguments"), adapter.get("data"))
    return [*stages, cli.command_line("evaluate.py", evaluate.main, arguments)]


def _stages(arguments: dict | None, data: dict | None) -> list[str]:
    if not arguments:
        return []
    named, notes = {_OTHER_NAMES.get(name, name): value for name, value in arguments.items()}, []
    if "sample" not in named:  # of an adapter from before it was noted
        named["sample"] = data["train"]["rows"] if named["shots"] is None else named["shots"]
        notes = ["# --sample is the number of rows tuned on: this adapter is older than the note of what was asked for"]
    if named["shots"] is not None:
        command = cli.command_line("rec_tuning.py", rec_tuning.main, named)
    else:
        if data["valid"] and data["valid"]["path"] == data["train"]["path"]:
            named |= {"val_data_path": None, "val_set_size": data["valid"]["rows"]}
        command = cli.command_line("ins_tuning.py", ins_tuning.main, named)
    if not named["resume_from_checkpoint"]:
        return [*notes, command]
    manifest = _manifest(named["resume_from_checkpoint"])
    if manifest is None:
        place = " ".join(str(named["resume_from_checkpoint"]).split())  # one line, whatever it holds
        return [f"# {place}: its manifest is not here; bring this adapter", command]
    return [*_stages(manifest["arguments"], manifest["data"]), *notes, command]


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
        made, start = (_manifest(place) if place else None) or {}, (adapter.get("arguments") or {}).get("start")
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
        start = (adapter.get("arguments") or {}).get("start")
        adapter = _manifest(start) if start else None
    return found
