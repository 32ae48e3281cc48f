"""Records for a report: read from files, the latest of each run, and what makes two runs seeds of one system."""

import glob
import json
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tlrec import files
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.evaluation.record_schema import EvaluationRecord, chain_name

CONTROLS = ("liked-ratio", "popularity", "item-mean", "user-mean", "liked-ratio+item-mean", "user-mean+item-mean",
            "logistic", "logistic+user-mean")
BASELINES = ("GRU", "Caser", "SASRec", "DROS", "GRU-BERT", "DROS-BERT")  # the order of the published table
GROUPS = ("controls", "baselines", "language models")
DOMAINS = ("movie", "book")


def read_runs(runs: list[str] | None) -> list[EvaluationRecord]:
    """All records of the files (default: results/runs.jsonl) in their order. InputError names a broken line."""
    read = []
    for path in [Path(name) for pattern in runs or [str(run_log.runs_file())]
                 for name in sorted(glob.glob(pattern)) or [pattern]]:
        if not path.is_file():
            raise InputError(f"{path}: no such file; evaluate something first, or name a record with --runs")
        for number, line in run_log.read_lines(path):
            record = read_record(line, f"{path}: line {number}")
            record.folder = path.parent
            read.append(record)
    return read


def read_record(line: bytes, where: str) -> EvaluationRecord:
    """A line of a record file. InputError, which begins with `where`, for one that is not as evaluation writes it."""
    try:
        return EvaluationRecord.model_validate_json(line)
    except ValidationError:
        payload = run_log.parse_record(line)
    if payload is None:
        raise InputError(f"{where} is not a record in JSON; remove that line")
    # pydantic takes no lone surrogates, as of names that are not UTF-8; written as `&#56553;`
    readable = json.dumps(payload, ensure_ascii=False).encode("utf-8", "xmlcharrefreplace")
    return files.validate(EvaluationRecord, json.loads(readable), where, "remove that line")


def latest_per_request(records: list[EvaluationRecord], experiment: str | None = None) -> list[EvaluationRecord]:
    """The evaluations (of one experiment), of each run the last record in the log, whatever the clock said."""
    latest = {hashable(record.request): record for record in records
              if experiment in (None, record.experiment)}
    if not latest:
        folders = ", ".join(sorted({str(record.folder) for record in records})) or "the files read"
        known = ", ".join(sorted({repr(record.experiment or "") for record in records}))
        raise InputError(f"{folders}: no evaluation" + (f" of experiment {experiment!r}; choose from {known}"
                                                        if known else "; evaluate something first"))
    return list(latest.values())


def on_full_split(records: list[EvaluationRecord], split: str) -> tuple[list[EvaluationRecord], list[str]]:
    """The evaluations of all rows of one split, the last one for each system, shots and seed; and notes on what was
    left out.

    InputError where one domain's records are of different test files, whose figures cannot be averaged. Files of ids
    alone (CSV, the baselines' on book) stand beside those of text.
    """
    chosen: dict[tuple, EvaluationRecord] = {}
    first: dict[tuple[str, bool], EvaluationRecord] = {}  # by domain, and whether its file has ids alone
    notes = []
    for record in records:
        domain, ids = record.test_domain, on_id_rows(record)
        if os.path.splitext(os.path.basename(record.test_data.path))[0] != split:
            notes.append(f"left out: {_name(record)}, not on {split}")
            continue
        if record.metrics.hit_rate is not None:
            notes.append(f"left out: {_name(record)}, a ranking, which has no AUC")
            continue
        if record.test_data.sampled_with_seed is not None:
            notes.append(f"left out: {_name(record)}, on a sample of {record.metrics.n:,} rows")
            continue
        other = first.setdefault((domain, ids), record)
        for ending, same in (("json", other.test_data.sha256 == record.test_data.sha256),
                             ("csv", other.request.get("test_ids_sha256") == record.request.get("test_ids_sha256"))):
            if not same:
                raise InputError(f"runs {other.run_id} and {record.run_id} were made on different files "
                                 f"{domain}/{split}.{ending}; keep them apart with --experiment or --runs")
        key = system(record), domain, shots(record), tuple(seeds(record)), hashable(cell_identity(record))
        if key in chosen:
            notes.append(f"left out: {_name(chosen.pop(key))}, an earlier run of the same seed")
        chosen[key] = record
    return list(chosen.values()), notes


def on_id_rows(record: EvaluationRecord) -> bool:
    """Whether the test file holds ids alone: another shuffle of book's users than the text."""
    return record.test_data.path.endswith(".csv")


def _name(record: EvaluationRecord) -> str:
    return f"{system(record)}, {shots(record):,} shots ({record.run_id})"


def find(records: list[EvaluationRecord], name: str) -> EvaluationRecord:
    """The evaluation whose run_id is, begins with or ends with `name`; InputError where none or several do."""
    runs = {record.run_id: record for record in records}
    matches = [name] if name in runs else [run for run in runs if name and (run.startswith(name) or run.endswith(name))]
    if len(matches) != 1:
        count = f"{len(matches)} runs are" if matches else "no evaluation is"
        raise InputError(f"{count} called {name!r} in the record; `python report.py table --ids True` lists the runs")
    return runs[matches[0]]


def short(record: EvaluationRecord) -> dict:
    """One evaluation in short: systems, domains, shots, seed and figures."""
    names = ("run_id", "system", "base_model", "chain", "train_domain", "test_domain", "shots", "seed")
    return record.model_dump(include=set(names)) | record.metrics.model_dump(exclude_unset=True) | record.model_dump(
        include={"tuning_seconds", "seconds", "commit"})


def group(record: EvaluationRecord) -> str:
    if record.base_model is not None:
        return "language models"
    return "controls" if record.method in (*CONTROLS, "combination") else "baselines"


def shots(record: EvaluationRecord) -> int:
    """Rows of the tested domain that the system was tuned on, or shown in its prompt."""
    tuned_on = record.chain[-1].split("+") if record.chain else [record.test_domain]  # several domains: rows of each
    return record.shots or 0 if group(record) != "language models" or record.test_domain in tuned_on else 0


def stages(record: EvaluationRecord) -> list[tuple[str, int | None]]:
    """(name, rows) of a language model's tuning stages before the shots of the tested domain."""
    return record.chain_with_rows[:-1] if _few_shot(record) else record.chain_with_rows


def system(record: EvaluationRecord) -> str:
    """A run's system without its number of shots: `smollm2-135m + netflix (512 rows)`, `SASRec`."""
    if record.base_model is None:
        return record.system
    return chain_name(record.base_model, stages(record))


def _few_shot(record: EvaluationRecord) -> bool:
    return bool(record.shots) and bool(record.chain) and record.chain[-1] == record.test_domain


def cell_identity(record: EvaluationRecord) -> dict[str, Any]:
    """What determines the record's figures but the seeds of its stages, by name; unset entries are left out.

    Runs of one cell are seeds of one system where this is equal. Of an adapter whose stages are not known, the hash of
    its weights stands for them: another seed is then another system.
    """
    stages = record.adapter.stages if record.adapter else []
    seeded = {"seed", "adapter_sha256"} if stages else {"seed"}
    identity = {name: value for name, value in record.request.items() if name not in seeded}
    for number, stage in enumerate(stages, 1):
        entries = stage | stage.get("settings", {})
        for split in ("train", "valid"):
            entries |= {f"{split} {name}": value for name, value in (entries.pop(split, None) or {}).items()}
        identity |= {f"stage {number} {name}": value for name, value in entries.items()
                     if name not in ("settings", "seed")}
    return {name: value for name, value in identity.items() if value is not None}


def hashable(entries: dict[str, Any]) -> Hashable:
    """A dict as a key: equal for equal dicts."""
    try:
        return frozenset(entries.items())
    except TypeError:  # lists and dicts among the values
        return json.dumps(entries, sort_keys=True)


def seeds(record: EvaluationRecord) -> list[int | None]:
    """Seeds of the record's stages, first to last."""
    stages = record.adapter.stages if record.adapter else []
    return [stage.get("settings", {}).get("seed") for stage in stages[:-1]] + [record.seed]
