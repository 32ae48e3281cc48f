"""The results file of TALLRec's evaluate.py: AUC by training domain, test domain, model, seed and shots, nested."""

import json
from pathlib import Path
from typing import Any

from pydantic import RootModel

from tlrec import files, paths


class Results(RootModel[dict[str, dict[str, dict[str, dict[str, dict[str, float | None]]]]]]):
    """train -> test -> model -> seed -> shots -> AUC."""


def read(path: Path) -> Results:
    """What the file holds; nothing where there is none. InputError where it is of another form."""
    cure = "it is no results file of TALLRec's form, name another --result_json_data"
    return files.validate(Results, files.read_json(path, "", cure) if path.exists() else {}, path, cure)


def add(path: Path, record: dict[str, Any]) -> None:
    """Add the AUC of an evaluation's record, under the folder's lock; an earlier figure there is replaced."""
    chain = record.get("chain") or []
    before = chain[:-1] if record.get("shots") is not None else chain
    model = "_".join([record["base_model"], *before]) if record.get("base_model") else record["system"]
    with files.directory_lock(paths.writable_directory(path.parent)):
        results = read(path)
        seeds = results.root.setdefault(record.get("train_domain") or "none", {}).setdefault(
            record["test_domain"], {}).setdefault(model, {})
        seeds.setdefault(str(record.get("seed") or 0), {})[str(record.get("shots") or 0)] = record["metrics"]["auc"]
        files.write_atomically(path, json.dumps(results.model_dump(), indent=4) + "\n")
