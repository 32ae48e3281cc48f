"""Weight decay of a system: searched once on validation with seed 0, then read from a file.

The committed search is results/reference/baselines/weight_decay.json, made by run.sh beside it. A search of your own
(another target, text encoder or setting) goes to results/weight_decay.json.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tlrec import files, paths
from tlrec.errors import InputError

if TYPE_CHECKING:
    from baselines.grid import Bench

GRID = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # as published
SHOTS = (16, 64, 256)  # and all rows
SEED = 0
COMMITTED = paths.ROOT / "results" / "reference" / "baselines" / "weight_decay.json"


class Choice(BaseModel):
    """The search of one system: the value with the highest mean validation AUC over the shot counts."""

    model_config = ConfigDict(strict=True)

    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    shots: list[int]
    mean_validation_auc: dict[str, float]
    settings: dict | None = None  # of the committed search: the defaults
    data: dict[str, str] | None = None  # SHA-256 of each split


_SEARCHES = TypeAdapter(dict[str, dict[str, Choice]])  # by target and system


def choose(bench: "Bench", target: str, name: str) -> float:
    """The weight decay of a system on a target: from the user's own search with these settings on this data, else from
    the committed one (made with the default settings, used for any), else from a search that is run now."""
    title, own = bench.title(name), paths.results_dir() / "weight_decay.json"
    settings, data = asdict(bench.settings), {split: bench.hashes[split] for split in ("train", "valid")}
    choice = _read(own).get(target, {}).get(title)
    if choice and (choice.settings, choice.data) == (settings, data):  # not that of a reduced run for a full one
        return choice.weight_decay
    choice = _read(COMMITTED).get(target, {}).get(title)
    if choice:
        return choice.weight_decay
    rows = len(bench.splits["train"].rows)
    counts = [count for count in SHOTS if count < rows] + [rows]
    print(f"{title}: searching the weight decay on {bench.splits['valid'].path}, seed {SEED}", flush=True)
    means = {}
    for value in GRID:
        fits = [bench.fit(name, count, SEED, value) for count in counts]
        means[f"{value:.0e}"] = float(np.mean([fitted.validation_auc for fitted in fits]))
    best = max(GRID, key=lambda value: means[f"{value:.0e}"])
    searches = _read(own)  # read again: another process may have searched another system
    searches.setdefault(target, {})[title] = Choice(weight_decay=best, shots=counts, mean_validation_auc=means,
                                                    settings=settings, data=data)
    text = json.dumps(_SEARCHES.dump_python(searches, exclude_none=True), indent=2)
    files.write_atomically(own, text + "\n")
    print(f"{title}: weight decay {best:.0e}, saved in {own}")
    return best


def _read(path: Path) -> dict[str, dict[str, Choice]]:
    try:
        return _SEARCHES.validate_python(files.read_json(path, "") if path.exists() else {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{path}: not as the search writes it ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
                         "remove it to search again") from None
