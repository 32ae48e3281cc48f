"""Weight decay of a system: searched once on validation with seed 0, as in TALLRec's paper, then read from
results/weight_decay.json.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, RootModel

from tlrec import files, paths

if TYPE_CHECKING:
    from baselines.grid import Bench

GRID = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # as published
SHOTS = (16, 64, 256)  # and all rows
SEED = 0


class Choice(BaseModel):
    """The search of one system: the value with the highest mean validation AUC over the shot counts."""

    model_config = ConfigDict(strict=True)

    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    shots: list[int]
    mean_validation_auc: dict[str, float]
    settings: dict
    data: dict[str, str | None]  # hashes of what was read: Bench.hashes()


class Searches(RootModel[dict[str, dict[str, Choice]]]):
    """The file: a Choice by target and system."""


def choose(bench: "Bench", name: str) -> float:
    """The weight decay of a system on a target: from an earlier search with these settings on this data, else from one
    that is run now."""
    title, target, file = bench.title(name), bench.grid.target, paths.results_dir() / "weight_decay.json"
    train, valid = bench.splits["train"].data, bench.splits["valid"].data
    settings, hashes = asdict(bench.settings), bench.hashes(name)
    choice = _read(file).get(target, {}).get(title)
    if choice and (choice.settings, choice.data) == (settings, hashes):  # not that of a reduced run for a full one
        return choice.weight_decay
    counts = [count for count in SHOTS if count < len(train.labels)] + [len(train.labels)]
    print(f"{title}: searching the weight decay on {valid.path}, seed {SEED}", flush=True)
    means = {}
    for value in GRID:
        fits = [bench.fit(name, count, SEED, value) for count in counts]
        means[f"{value:.0e}"] = float(np.mean([fitted.validation_auc for fitted in fits]))
    best = max(GRID, key=lambda value: means[f"{value:.0e}"])
    searches = _read(file)  # read again: another process may have searched another system
    searches.setdefault(target, {})[title] = Choice(weight_decay=best, shots=counts, mean_validation_auc=means,
                                                    settings=settings, data=hashes)
    files.write_atomically(file, Searches(searches).model_dump_json(indent=2) + "\n")
    print(f"{title}: weight decay {best:.0e}, saved in {file}")
    return best


def _read(path: Path) -> dict[str, dict[str, Choice]]:
    payload = files.read_json(path, "") if path.exists() else {}
    return files.validate(Searches, payload, path, "remove it to search again").root
