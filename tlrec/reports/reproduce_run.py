"""The commands that make a recorded run again, and whether its data, base model and adapter are still the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.model import hub
from tlrec.model.adapter import weights_file
from tlrec.model.adapter_config import read_adapter_config
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.model.base_model import resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint


def command_lines(record: EvaluationRecord) -> list[str]:
    """What the run was, as a comment, and the commands that make it again in TLREC_HOME, first to last."""
    run = (f"{record.system}: commit {record.commit}, torch {record.versions.get('torch')}, "
           f"{record.time}; in {paths.home_dir()}")
    return [" ".join(line.split()) for line in (f"# {run}", *record.commands)]  # one line each, whatever they hold


def changed_inputs(record: EvaluationRecord) -> list[str]:
    """What differs from the recorded run's inputs, one line each; empty where a rerun has what it needs."""
    request, arguments = record.request, record.arguments
    changes: list[str] = []
    data = Path(record.test_data.path)
    for split in ("test", "train", "valid"):
        name = arguments.get(f"{split}_data_path") or str(data.with_stem(split))
        changes += _change(f"{split} data", name, request.get(f"{split}_sha256"), files.sha256)
        view = Path(name).with_suffix(".csv")
        ids = f"{split}_ids_sha256"
        changes += _change(f"ids of the {split} data", str(view), request.get(ids), files.sha256)
        if ids in request and request[ids] is None and str(view) != name and (paths.home_dir() / view).exists():
            changes.append(f"ids of the {split} data {paths.home_dir() / view}: were not there")
    base = arguments.get("base_model")  # a name under base_model/, or a path
    base = str(paths.home_dir() / base) if base and (paths.home_dir() / base).is_dir() else base
    changes += _change("base model", base, request.get("base_model"), lambda folder: _base_hash(folder, str(base)))
    encoder = arguments.get("text_encoder")
    embedded = encoder and paths.home_dir() / "base_model" / encoder
    changes += _change("text encoder", str(embedded if embedded and embedded.is_dir() else encoder),
                       request.get("text_encoder"), base_model_fingerprint)
    changes += changed_adapter(record)
    folder, adapter = arguments.get("lora_weights"), record.adapter.model_dump() if record.adapter else {}
    seen: set[str] = set()
    while folder and folder not in seen:  # a chain that starts from itself would not end
        seen.add(folder)
        for split, part in (adapter.get("data") or {}).items():
            if part:
                changes += _change(f"{split} data of the adapter", part["path"], part.get("sha256"), _data_hash)
        start = (adapter.get("arguments") or {}).get("resume_from_checkpoint")
        if start:
            recorded = _manifest(folder).get("request", {}).get("start")
            changes += _change("starting adapter", start, recorded, _weights_hash)
        folder, adapter = start, _manifest(start) if start else {}
    return changes


def changed_adapter(record: EvaluationRecord) -> list[str]:
    """What differs from the adapter that was scored, one line each; empty where there was none."""
    folder = record.adapter.path if record.adapter else record.arguments.get("lora_weights")
    checks = [("adapter", "adapter_sha256", _weights_hash),
              ("settings of the adapter", "adapter_settings_sha256",
               lambda path: read_adapter_config(path)[0].settings_hash())]
    return [change for what, name, current in checks
            for change in _change(what, folder, record.request.get(name), current)][:1]


def _change(what: str, name: str | None, recorded: str | None, current: Callable[[Path], Any]) -> list[str]:
    """How a file or folder differs from the recorded one, in one line; empty where it does not, or none is recorded."""
    if not name or not recorded:
        return []
    path = paths.home_dir() / name
    if not path.exists() and hub.is_hub_name(name):
        path = hub.cached_snapshot(name) or path  # nothing is downloaded to look
    try:
        return [] if current(path) == recorded else [f"{what} {path}: differs from the recorded one"]
    except FileNotFoundError:
        return [f"{what} {path}: no such file or folder"]
    except OSError as error:
        return [f"{what} {path}: cannot be read ({error.strerror})"]
    except InputError as error:
        return [f"{what} {error}"]  # which names the path


def _base_hash(folder: Path, name: str) -> str:
    if not folder.is_dir() and hub.is_hub_name(name):
        raise FileNotFoundError
    return base_model_fingerprint(resolve_base_model(str(folder) if folder.is_dir() else name))


def _data_hash(path: Path) -> str:
    """Of the file, or of several whose names the path joins with commas, as relative_to_home() leaves them."""
    named = paths.data_files(paths.relative_to_home(str(path)), paths.home_dir())
    return files.joint_sha256([files.sha256(file) for file in named])


def _weights_hash(folder: Path) -> str:
    if not folder.is_dir():
        raise FileNotFoundError
    return files.sha256(weights_file(folder))


def _manifest(folder: str) -> dict[str, Any]:
    """The manifest of an adapter; empty where there is none."""
    try:
        return json.loads((paths.home_dir() / folder / MANIFEST_FILE).read_text())
    except (OSError, ValueError):
        return {}
