"""Records for a report: read from files, the latest of each run, averaged over seeds into the cells of Table 1."""

import glob
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.evaluation.record import validate_record

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
    published: bool
    domain: str
    shots: int  # 0: zero-shot, or needs no rows
    seeds: int
    n: int | None  # test rows
    auc: float | None
    sd: float | None  # over seeds; None for a single one
    low: float | None  # means of the runs' 95% intervals: users resampled where they are known, else rows
    high: float | None
    uauc: float | None
    stratified: float | None
    spearman: float | None

    @property
    def percent(self) -> float:
        """AUC x 100; NaN, which a figure leaves out, where it is undefined."""
        return math.nan if self.auc is None else 100 * self.auc


def read_runs(runs: list[str] | None) -> list[dict]:
    """All records of the files (default: results/runs.jsonl), each with the `folder` that its predictions lie under."""
    files = [Path(name) for pattern in runs or [str(run_log.runs_file())]
             for name in sorted(glob.glob(pattern)) or [pattern]]
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: no such file; evaluate something first, or name a record with --runs")
    return [validate_record(record, path, number) | {"folder": path.parent}
            for path in files for number, record in enumerate(run_log.read_records(path), 1)]


def latest_per_request(records: list[dict], experiment: str | None = None) -> list[dict]:
    """The evaluations (of one experiment), of each run the latest record."""
    latest, files = {}, ", ".join(sorted({str(record["folder"]) for record in records})) or "the files read"
    for record in records:
        if record.get("kind") == "evaluation" and experiment in (None, record.get("experiment")):
            latest[json.dumps(record["request"], sort_keys=True)] = record
    if not latest:
        known = sorted({repr(r.get("experiment") or "") for r in records if r.get("kind") == "evaluation"})
        raise InputError(f"{files}: no evaluation" + (f" of experiment {experiment!r}; choose from {', '.join(known)}"
                                                      if known else "; evaluate something first"))
    return list(latest.values())


def on_full_split(records: list[dict], split: str) -> tuple[list[dict], list[str]]:
    """The evaluations of all rows of one split, one for each system, shots and seed; and notes on what was left out.

    InputError where one domain's records are of different test files, whose figures cannot be averaged.
    """
    chosen: dict[tuple, dict] = {}
    files: dict[str, dict] = {}
    notes = []
    for record in records:
        domain, name = record["test_domain"], f"{system(record)}, {shots(record):,} shots"
        if Path(record["test_data"]["path"]).stem != split:
            notes.append(f"left out: {name} ({record['run_id']}), not on {split}")
            continue
        if record["test_data"].get("sampled_with_seed") is not None:
            notes.append(f"left out: {name} ({record['run_id']}), on a sample of {record['metrics']['n']:,} rows")
            continue
        other = files.setdefault(domain, record)
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
    runs = {record["run_id"]: record for record in records if record.get("kind") == "evaluation"}
    if name in runs:
        return runs[name]
    matches = [run for run in runs if name and (run.startswith(name) or run.endswith(name))]
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
    named = [name if rows is None else f"{name} ({rows:,} rows)" for name, rows in stages(record)]
    return " + ".join([record["base_model"], *named])


def _few_shot(record: dict) -> bool:
    return bool(record["shots"]) and bool(record["chain"]) and record["chain"][-1] == record["test_domain"]


def cells(records: list[dict]) -> list[Cell]:
    """Averages over seeds: one cell for each system, domain and number of shots."""
    grouped: dict[tuple[str, str, str, int], list[dict]] = {}
    for record in records:
        grouped.setdefault((system(record), group(record), record["test_domain"], shots(record)), []).append(record)
    return [_cell(*key, [record["metrics"] for record in runs]) for key, runs in grouped.items()]


def _cell(name: str, kind: str, domain: str, count: int, figures: list[dict]) -> Cell:
    def mean(values: list) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    aucs = [f["auc"] for f in figures if f["auc"] is not None]
    intervals = [f["auc_interval_users"] or f["auc_interval_rows"] or (None, None) for f in figures]
    low, high = (mean([interval[end] for interval in intervals]) for end in (0, 1))
    uauc, stratified, spearman = (
        mean([f.get(key) for f in figures]) for key in ("uauc", "stratified_auc", "spearman_liked_ratio"))
    return Cell(name, kind, False, domain, count, len(figures), figures[0]["n"], mean(aucs),
                statistics.stdev(aucs) if len(aucs) > 1 else None, low, high, uauc, stratified, spearman)


def published_figures() -> dict:
    return json.loads((paths.ROOT / "results" / "reference" / "published_results.json").read_text(encoding="utf-8"))


def published_cells() -> list[Cell]:
    """The published figures (results/reference/published_results.json) as cells."""
    figures = published_figures()

    def cell(name: str, kind: str, domain: str, count: int, auc: float, seeds: int) -> Cell:
        return Cell(name, kind, True, domain, count, seeds, None, auc / 100, None, None, None, None, None, None)

    table, cells = figures["tallrec_table_1"], []
    for name, values in table.items():
        if name not in ("source", "columns"):
            kind = "baselines" if name in BASELINES else "language models"
            for column, value in zip(table["columns"], values, strict=True):
                domain, count = column.split("/")
                cells.append(cell(name, kind, domain, int(count), value, 5))
    for block, name in BLOCKS.items():
        for stage, value in figures["tlrec_llama_7b"][block].items():
            if "zero-shot" in stage or "-shot" in stage:
                count = 0 if "zero-shot" in stage else int(stage.split("-")[0])
                values = value if isinstance(value, list) else [value]
                cells.append(cell(name, "language models", block.split(",")[0], count, statistics.fmean(values),
                                 len(values)))
    return cells
