"""The cells of Table 1: runs of one system on one split, averaged over seeds."""

import itertools
import math
import re
import statistics
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlrec.errors import printable
from tlrec.evaluation.record_schema import EvaluationRecord, Metrics
from tlrec.reports import records

ALIASES = {"GRU4Rec": "GRU", "GRU4Rec-BERT": "GRU-BERT"}  # ours: the published name of the same system
ID_ROWS = "ours, id rows"


@dataclass(frozen=True)
class Cell:
    """One system on one test split at one number of target rows; figures are means over its runs, AUCs in 0 to 1."""

    system: str
    group: str
    figures: str  # ours, ours on id rows, or published
    domain: str
    shots: int  # 0: zero-shot, or needs no rows
    seeds: int
    n: int | None = None  # test rows
    auc: float | None = None
    auc_sd: float | None = None  # over seeds; None for a single one
    auc_low: float | None = None  # means of the runs' 95% intervals: over users where they are known, else over rows
    auc_high: float | None = None
    interval_rule: str | None = None  # of the intervals
    uauc: float | None = None
    uauc_low: float | None = None  # as of AUC
    uauc_high: float | None = None
    gauc: float | None = None
    stratified_auc: float | None = None
    spearman_liked_ratio: float | None = None
    warm_n: int | None = None
    warm_auc: float | None = None
    warm_uauc: float | None = None
    cold_auc: float | None = None
    cold_uauc: float | None = None

    @property
    def published(self) -> bool:
        return self.figures == "published"

    @property
    def published_name(self) -> str:
        """The published name of the same system."""
        return ALIASES.get(self.system, self.system)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.auc_low is None or self.auc_high is None else (self.auc_low, self.auc_high)

    @property
    def uauc_interval(self) -> tuple[float, float] | None:
        return None if self.uauc_low is None or self.uauc_high is None else (self.uauc_low, self.uauc_high)

    @property
    def percent(self) -> float:
        """AUC x 100; NaN, which a figure leaves out, where it is undefined."""
        return math.nan if self.auc is None else 100 * self.auc


def cells_with_runs(evaluations: list[EvaluationRecord]) -> list[tuple[Cell, list[EvaluationRecord]]]:
    """Averages over seeds: one cell for each system, domain and number of shots; and the runs behind it, by seed.

    Runs of one name that differ in more than the seed are systems of their own, whose names show what differs.
    """
    by_name: dict[tuple[str, str, str, int], dict[Hashable, list[EvaluationRecord]]] = {}
    for record in evaluations:
        key = records.system(record), records.group(record), record.test_domain, records.shots(record)
        by_name.setdefault(key, {}).setdefault(records.hashable(records.cell_identity(record)), []).append(record)
    cells = []
    for (name, group, domain, shots), variants in by_name.items():
        identities = [records.cell_identity(runs[0]) for runs in variants.values()]
        differing = [entry for entry in dict.fromkeys(itertools.chain(*identities))
                     if any(other.get(entry) != identities[0].get(entry) for other in identities)]
        for identity, runs in zip(identities, variants.values(), strict=True):
            described = ", ".join(f"{entry} {_brief(identity.get(entry))}" for entry in differing)
            runs.sort(key=lambda run: run.seed or 0)
            cell = Cell(name + (f" [{described}]" if described else ""), group,
                        ID_ROWS if records.on_id_rows(runs[0]) else "ours", domain, shots, seeds=len(runs),
                        n=runs[0].metrics.n, warm_n=getattr(runs[0].metrics.warm, "n", None),
                        **_means([run.metrics for run in runs]))
            cells.append((cell, runs))
    return cells


def _brief(value: object) -> str:
    """A value of cell_identity() in a name; of a hash its first eight digits."""
    text = printable(str(value))
    return text[:8] if re.fullmatch("[0-9a-f]{64}.*", text) else text


def own_cells(evaluations: list[EvaluationRecord]) -> list[Cell]:
    """The cells of cells_with_runs()."""
    return [cell for cell, _ in cells_with_runs(evaluations)]


def _means(runs: list[Metrics]) -> dict[str, Any]:
    """The figures of a cell from the metrics of its runs; a run without a figure does not count for it."""
    intervals = [run.auc_interval or (None, None) for run in runs]
    values = {name: [getattr(run, name) for run in runs] for name in (
        "auc", "uauc", "gauc", "stratified_auc", "spearman_liked_ratio")}
    values |= {f"{name}_{figure}": [getattr(getattr(run, name), figure, None) for run in runs]
               for name in ("warm", "cold") for figure in ("auc", "uauc")}
    for name, bounds in (("auc", intervals), ("uauc", [run.uauc_interval or (None, None) for run in runs])):
        values |= {f"{name}_low": [low for low, _ in bounds], f"{name}_high": [high for _, high in bounds]}
    defined = {name: [value for value in column if value is not None] for name, column in values.items()}
    means = {name: statistics.fmean(column) if column else None for name, column in defined.items()}
    rules = sorted({run.interval_rule for run in runs if run.interval_rule})
    return means | {"auc_sd": float(np.std(defined["auc"], ddof=1)) if len(defined["auc"]) > 1 else None,
                    "interval_rule": " and ".join(rules) or None}
