"""Records for a report: read from files, the latest of each run, averaged over seeds into the cells of Table 1."""

import glob
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.evaluation.record_schema import EvaluationRecord, chain_name

CONTROLS = ("liked-ratio", "popularity", "item-mean", "liked-ratio+item-mean", "logistic")
BASELINES = ("GRU", "Caser", "SASRec", "DROS", "GRU-BERT", "DROS-BERT")  # the order of the published table
ALIASES = {"GRU4Rec": "GRU", "GRU4Rec-BERT": "GRU-BERT"}  # ours: the published name of the same system
GROUPS = ("controls", "baselines", "language models")
DOMAINS = ("movie", "book")
BLOCKS = {  # of the published figures: the system's name in tables
    "movie, block 'results in the paper'": "TLRec (paper's block)",
    "movie, block 'latest results'": "TLRec (latest block)",
    "book, block 'latest results'": "TLRec (latest block)",
}


@dataclass(frozen=True)
class Cell:
    """One system on one test split at one number of target rows; figures are means over its runs, AUCs in 0 to 1."""

    system: str
    group: str
    figures: str  # ours or published
    domain: str
    shots: int  # 0: zero-shot, or needs no rows
    seeds: int
    n: int | None = None  # test rows
    auc: float | None = None
    auc_sd: float | None = None  # over seeds; None for a single one
    auc_low: float | None = None  # means of the runs' 95% intervals: users resampled where they are known, else rows
    auc_high: float | None = None
    uauc: float | None = None
    stratified_auc: float | None = None
    spearman_liked_ratio: float | None = None

    @property
    def published(self) -> bool:
        return self.figures == "published"

    @property
    def published_name(self) -> str:
        """The published name of the same system."""
        return ALIASES.get(self.system, self.system)

    @property
    def percent(self) -> float:
        """AUC x 100; NaN, which a figure leaves out, where it is undefined."""
        return math.nan if self.auc is None else 100 * self.auc


def read_runs(runs: list[str] | None) -> list[dict]:
    """All records of the files (default: results/runs.jsonl), each with the `folder` that its predictions lie under."""
    read = []
    for path in [Path(name) for pattern in runs or [str(run_log.runs_file())]
                 for name in sorted(glob.glob(pattern)) or [pattern]]:
        if not path.is_file():
            raise InputError(f"{path}: no such file; evaluate something first, or name a record with --runs")
        for number, record in enumerate(run_log.read_records(path), 1):
            files.validate(EvaluationRecord, record, f"{path}: line {number}", "remove that line")
            read.append(record | {"folder": path.parent})
    return read


def latest_per_request(records: list[dict], experiment: str | None = None) -> list[dict]:
    """The evaluations (of one experiment), of each run the latest record."""
    latest = {json.dumps(record["request"], sort_keys=True): record for record in records
              if experiment in (None, record.get("experiment"))}
    if not latest:
        folders = ", ".join(sorted({str(record["folder"]) for record in records})) or "the files read"
        known = ", ".join(sorted({repr(record.get("experiment") or "") for record in records}))
        raise InputError(f"{folders}: no evaluation" + (f" of experiment {experiment!r}; choose from {known}"
                                                        if known else "; evaluate something first"))
    return list(latest.values())


def on_full_split(records: list[dict], split: str) -> tuple[list[dict], list[str]]:
    """The evaluations of all rows of one split, one for each system, shots and seed; and notes on what was left out.

    InputError where one domain's records are of different test files, whose figures cannot be averaged.
    """
    chosen: dict[tuple, dict] = {}
    first: dict[str, dict] = {}  # by domain
    notes = []
    for record in records:
        domain, name = record["test_domain"], f"{system(record)}, {shots(record):,} shots"
        if Path(record["test_data"]["path"]).stem != split:
            notes.append(f"left out: {name} ({record['run_id']}), not on {split}")
            continue
        if record["test_data"].get("sampled_with_seed") is not None:
            notes.append(f"left out: {name} ({record['run_id']}), on a sample of {record['metrics']['n']:,} rows")
            continue
        other = first.setdefault(domain, record)
        if other["test_data"]["sha256"] != record["test_data"]["sha256"]:
            raise InputError(f"runs {other['run_id']} and {record['run_id']} were made on different files "
                             f"{domain}/{split}; keep them apart with --experiment or --runs")
        key = (system(record), domain, shots(record), record["seed"])
        if key in chosen:
            earlier, record = sorted((chosen[key], record), key=lambda run: run["time"])
            notes.append(f"left out: {name} ({earlier['run_id']}), an earlier run of the same seed")
        chosen[key] = record
    return list(chosen.values()), notes


def find(records: list[dict], name: str) -> dict:
    """The evaluation whose run_id is, begins with or ends with `name`; InputError where none or several do."""
    runs = {record["run_id"]: record for record in records}
    matches = [name] if name in runs else [run for run in runs if name and (run.startswith(name) or run.endswith(name))]
    if len(matches) != 1:
        count = f"{len(matches)} runs are" if matches else "no evaluation is"
        raise InputError(f"{count} called {name!r} in the record; `python report.py table --ids True` lists the runs")
    return runs[matches[0]]


def short(record: dict) -> dict:
    """One evaluation in short: systems, domains, shots, seed and figures."""
    names = ("run_id", "system", "base_model", "chain", "train_domain", "test_domain", "shots", "seed")
    return {name: record[name] for name in names} | record["metrics"] | {
        "tuning_seconds": record["tuning_seconds"], "seconds": record["seconds"], "commit": record["commit"]}


def group(record: dict) -> str:
    if record["base_model"] is not None:
        return "language models"
    return "controls" if record["method"] in CONTROLS else "baselines"


def shots(record: dict) -> int:
    """Rows of the tested domain that the system was tuned on."""
    return record["shots"] or 0 if group(record) != "language models" or _few_shot(record) else 0


def stages(record: dict) -> list[tuple[str, int | None]]:
    """(name, rows) of a language model's tuning stages before the shots of the tested domain."""
    rows = record.get("rows_of_chain") or [None] * len(record["chain"])
    chain = list(zip(record["chain"], rows, strict=True))
    return chain[:-1] if _few_shot(record) else chain


def system(record: dict) -> str:
    """A run's system without its number of shots: `smollm2-135m + netflix (512 rows)`, `SASRec`."""
    if group(record) != "language models":
        return record["system"]
    return chain_name(record["base_model"], [name for name, _ in stages(record)], [rows for _, rows in stages(record)])


def _few_shot(record: dict) -> bool:
    return bool(record["shots"]) and bool(record["chain"]) and record["chain"][-1] == record["test_domain"]


def cells(records: list[dict]) -> list[Cell]:
    """Averages over seeds: one cell for each system, domain and number of shots."""
    grouped: dict[tuple[str, str, str, str, int], list[dict]] = {}
    for record in records:
        key = (system(record), group(record), "ours", record["test_domain"], shots(record))
        grouped.setdefault(key, []).append(record["metrics"])
    return [Cell(*key, seeds=len(runs), n=runs[0]["n"], **_means(runs)) for key, runs in grouped.items()]


def _means(runs: list[dict]) -> dict[str, Any]:
    """The figures of a cell from the metrics of its runs; a run without a figure does not count for it."""
    rows = []
    for metrics in runs:
        low, high = metrics["auc_interval_users"] or metrics["auc_interval_rows"] or (None, None)
        rows.append({name: metrics.get(name) for name in ("auc", "uauc", "stratified_auc", "spearman_liked_ratio")}
                    | {"auc_low": low, "auc_high": high})
    table = pd.DataFrame(rows, dtype=float)
    figures = table.mean().to_dict() | {"auc_sd": table["auc"].std()}
    return {str(name): None if math.isnan(value) else value for name, value in figures.items()}


def published_figures() -> dict:
    return json.loads((paths.ROOT / "results" / "reference" / "published_results.json").read_text(encoding="utf-8"))


def published_cells() -> list[Cell]:
    """The published figures (results/reference/published_results.json) as cells."""
    figures = published_figures()
    table, cells = figures["tallrec_table_1"], []
    for name in [name for name in table if name not in ("source", "columns")]:
        kind = "baselines" if name in BASELINES else "language models"
        for column, auc in zip(table["columns"], table[name], strict=True):
            domain, count = column.split("/")
            cells.append(Cell(name, kind, "published", domain, int(count), 5, auc=auc / 100))
    for block, name in BLOCKS.items():
        for stage, value in figures["tlrec_llama_7b"][block].items():
            count = 0 if "zero-shot" in stage else int(stage.split("-")[0]) if "-shot" in stage else None
            if count is not None:
                aucs = value if isinstance(value, list) else [value]
                cells.append(Cell(name, "language models", "published", block.split(",")[0], count, len(aucs),
                                  auc=statistics.fmean(aucs) / 100))
    return cells
