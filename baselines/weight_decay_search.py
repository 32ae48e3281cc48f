"""Weight decay: searched once for each system on validation with seed 0, then read from a file.

The committed search is results/reference/baselines/weight_decay.json, made by run.sh beside it; a search of your
own (another target, another text encoder) goes to results/weight_decay.json.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.files import read_json

GRID = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # as published
SHOTS = (16, 64, 256)  # and all rows
SEED = 0
COMMITTED = paths.ROOT / "results" / "reference" / "baselines" / "weight_decay.json"


def choose(bench, target: str, name: str) -> float:
    """The weight decay of a system on a target: the user's own search with these settings on this data, else the
    committed one (made with the default settings, used for any), else searched now.

    The choice is the highest mean validation AUC over the shot counts; bench is a baselines.train.Bench.
    """
    title, own = bench.title(name), paths.results_dir() / "weight_decay.json"
    basis = {"settings": asdict(bench.settings), "data": {split: bench.hashes[split] for split in ("train", "valid")}}
    found = _read(own).get(target, {}).get(title)
    if found and basis.items() <= found.items():  # what a reduced run found is not for a full one
        return found["weight_decay"]
    found = _read(COMMITTED).get(target, {}).get(title)
    if found:
        return found["weight_decay"]
    rows = len(bench.splits["train"].rows)
    counts = [count for count in SHOTS if count < rows] + [rows]
    print(f"{title}: searching the weight decay on {bench.splits['valid'].path}, seed {SEED}", flush=True)
    means = {}
    for value in GRID:
        fits = [bench.fit(name, count, SEED, value) for count in counts]
        means[f"{value:.0e}"] = float(np.mean([fitted.validation_auc for fitted in fits]))
    best = max(GRID, key=lambda value: means[f"{value:.0e}"])
    searched = _read(own)  # read again: another process may have searched another system
    choice = {"weight_decay": best, "shots": counts, "mean_validation_auc": means}
    searched.setdefault(target, {})[title] = choice | basis
    files.write_atomically(own, json.dumps(searched, indent=2) + "\n")
    print(f"{title}: weight decay {best:.0e}, kept in {own}")
    return best


def _read(path: Path) -> dict:
    said = read_json(path, "") if path.exists() else {}
    if not isinstance(said, dict) or not all(isinstance(systems, dict) and all(map(_whole, systems.values()))
                                             for systems in said.values()):
        raise InputError(f"{path}: not as the search writes it; remove it to search again")
    return said


def _whole(found: object) -> bool:
    return isinstance(found, dict) and type(found.get("weight_decay")) in (int, float) and found["weight_decay"] >= 0
