"""The results file of TALLRec's evaluate.py: AUC by training domain, test domain, model, seed and shots, nested."""

import json
from pathlib import Path
from typing import Any

from pydantic import RootModel

from tlrec import files, paths
from tlrec.data.samples import print_notice


class Results(RootModel[dict[str, dict[str, dict[str, dict[str, dict[str, float | None]]]]]]):
    """train -> test -> model -> seed -> shots -> AUC."""


def read(path: Path) -> Results:
    """What the file holds; nothing where there is none. InputError where it is of another form."""
    cure = "it is no results file of TALLRec's form, name another --result_json_data"
    return files.validate(Results, files.read_json(path, "", cure) if path.exists() else {}, path, cure)


def add(path: Path, record: dict[str, Any]) -> None:
    """Add the AUC of an evaluation's record, under the folder's lock.

    Figures of other rows than all of test.json have a test domain of their own, as `movie/valid` or `movie/test, 50
    rows`. A figure that is there is kept, as by TALLRec's script, with a notice where this one is another.
    """
    chain = record.get("chain") or []
    before = chain[:-1] if record.get("shots") is not None else chain
    model = "_".join([record["base_model"], *before]) if record.get("base_model") else record["system"]
    split, sampled = Path(record["test_data"]["path"]).stem, record["test_data"].get("sampled_with_seed") is not None
    rows = ("" if split == "test" and not sampled else f"/{split}") + f", {record['metrics']['n']} rows" * sampled
    keys = [record.get("train_domain") or "none", record["test_domain"] + rows, model, str(record.get("seed") or 0),
            str(record.get("shots") or 0)]
    with files.directory_lock(paths.writable_directory(path.parent)):
        results = read(path)
        level: Any = results.root
        for key in keys[:-1]:
            level = level.setdefault(key, {})
        auc = record["metrics"]["auc"]
        if level.setdefault(keys[-1], auc) != auc:
            print_notice(f"{path}: keeps {level[keys[-1]]} for {' > '.join(keys)}, and this run has {auc}; remove that "
                         "entry, or name another --result_json_data")
        files.write_atomically(path, json.dumps(results.model_dump(), indent=4) + "\n")
