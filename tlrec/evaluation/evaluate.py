"""Evaluate any system on a test set: look the request up, score, measure, append one record, print.

A language model, a baseline and a control differ in their System alone.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlrec import distributed, files, paths
from tlrec.data import samples, split_files
from tlrec.data.id_csv import known_users, read_id_view
from tlrec.errors import InputError, printable
from tlrec.evaluation import metrics, run_log
from tlrec.evaluation.intervals import MIN_USERS
from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.evaluation.record_schema import EvaluationRecord, Metrics

SAMPLE_SEED = 0


@dataclass(frozen=True)
class SplitData:
    """Rows of a split, text and ids, read and hashed once; n of them."""

    path: Path
    sha256: str
    rows: list[samples.Sample]  # none of a split that has ids only
    row_numbers: np.ndarray  # (n,) in the file
    labels: np.ndarray  # (n,) 1 liked, 0 disliked
    id_view: pd.DataFrame | None  # n rows of text; None without a CSV view that tells users and ratings
    ids_sha256: str | None  # of the CSV view
    title_counts: np.ndarray | None  # (n, 2) liked and disliked titles; None where a prompt has no lists
    seed: int | None  # of the sample; None for all rows
    domain: str = ""  # default: the folder's name
    # (n,) whether user and target are in train.csv beside the file; None where that holds for all rows or for none
    warm: np.ndarray | None = None

    @property
    def users(self) -> np.ndarray | None:
        """User ids, shape (n,); None where they are unknown."""
        return known_users(self.id_view)


@dataclass(frozen=True)
class Scores:
    """What a system says of n rows."""

    columns: dict[str, np.ndarray]  # (n,) each, the predictions file; the first one is the score
    fields: dict[str, Any] = field(default_factory=dict)  # of the record, known only now: what training found, its cost


@dataclass(frozen=True)
class System:
    """What evaluate_system needs of a language model, a baseline or a control."""

    name: str  # in tables
    method: str
    request: dict[str, Any]  # what determines its scores, beside the test rows
    score: Callable[[SplitData], Scores]
    commands: list[str]  # those behind it, the evaluation's own last; paths relative to TLREC_HOME
    arguments: dict[str, Any]  # the flags that were given
    fields: dict[str, Any] = field(default_factory=dict)  # of the record: shots, seed, chain, train_domain ...
    probabilities: bool = True  # whether the score is a probability of Yes
    measure: Callable[[SplitData, Scores], dict[str, Any]] | None = None  # None: AUC and what is read beside it

    @property
    def title(self) -> str:
        """The name as it is printed: with shots and seed where they are not part of it."""
        shots, seed = (None if self.fields.get("chain") else self.fields.get(name) for name in ("shots", "seed"))
        name = self.name + ("" if shots is None else f", {shots:,} shots") + ("" if seed is None else f", seed {seed}")
        return printable(name)


def read_split(
    path: str | Path, test_rows: int = -1, needs_titles: bool = False, flag: str = "test_rows",
) -> SplitData:
    """Read the JSON of a split and the CSV beside it. InputError where the file or `test_rows` cannot be used.

    test_rows: take so many, drawn with a fixed seed; -1 is all. flag: the flag that gave them, for the error.
    needs_titles: refuse prompts without lists of titles, which a language model can score.
    """
    path = Path(path)
    file = samples.read_sample_file(path, answers_only=True)
    rows = file.rows
    view = read_id_view(path, rows)
    if test_rows != -1 and not 0 < test_rows <= len(rows):
        raise InputError(f"--{flag} {test_rows}: {path} has {len(rows)} rows; give 1 to {len(rows)}, or -1")
    row_numbers, seed = np.arange(len(rows)), None
    if test_rows not in (-1, len(rows)):
        row_numbers = np.sort(np.random.default_rng(SAMPLE_SEED).permutation(len(rows))[:test_rows])
        seed = SAMPLE_SEED
    rows = [rows[number] for number in row_numbers]
    try:
        title_counts = samples.title_counts(rows, path, row_numbers)
    except InputError:
        if needs_titles:
            raise
        title_counts = None
    labels = np.array([row.label for row in rows])
    table = None if view is None or view.table is None else view.table.iloc[row_numbers]
    warm = None if table is None else split_files.warm_rows(path.with_name("train.csv"), table)
    return SplitData(path, file.sha256, rows, row_numbers, labels, table, None if view is None else view.sha256,
                     title_counts, seed, warm=None if warm is None or warm.all() or not warm.any() else warm)


def evaluate_system(
    system: System, data: SplitData, experiment: str = "", skip_recorded: bool = False
) -> dict[str, Any] | None:
    """The record of the system on the test set, appended to results/runs.jsonl and printed; None in other processes
    than the main one.

    skip_recorded: take the earlier record of exactly this request, if there is one, instead of scoring again; where its
    experiment, names, paths or commands are others now, it is appended once more with these.
    """
    distributed.init()
    request = {"method": system.method, "test_sha256": data.sha256, "test_ids_sha256": data.ids_sha256,
               "test_rows": len(data.labels), **system.request}
    if data.warm is not None:
        request["warm_rows_sha256"] = hashlib.sha256(data.warm.tobytes()).hexdigest()
    description = {
        "system": system.name,
        "experiment": experiment,
        "method": system.method,
        "base_model": None,
        "chain": [],
        "rows_of_chain": [],
        "shots": None,
        "seed": None,
        "train_domain": None,
        **system.fields,
        "test_domain": data.domain or data.path.resolve().parent.name,
        "test_data": {"path": os.path.abspath(data.path), "sha256": data.sha256, "rows": len(data.labels),
                      "sampled_with_seed": data.seed},
        "arguments": system.arguments,
        "commands": system.commands,
    }
    recorded = distributed.broadcast_from_main(lambda: run_log.find_record(request)) if skip_recorded else None
    if recorded:
        checked = files.validate(EvaluationRecord, recorded, f"{run_log.runs_file()}: run {recorded.get('run_id')}",
                                 "remove that line")
        print(f"{system.title}: already recorded as {recorded['run_id']}; reused")
        if distributed.is_main_process() and recorded | paths.relative_to_home(description) != recorded:
            run_log.append_record({**recorded, **description, "reused_from": recorded["run_id"]})
        print_figures(checked.metrics)
        return recorded
    print(f"{system.title}: {len(data.labels)} rows of {printable(str(data.path))}")
    run_log.check_appendable()
    began = time.time()
    scores = system.score(data)
    if not distributed.is_main_process():
        return None
    figures = (system.measure or partial(_auc_figures, system.probabilities))(data, scores)
    record = {
        "tuning_seconds": 0,
        **description,
        **scores.fields,
        "metrics": figures,
        "seconds": round(time.time() - began - scores.fields.get("tuning_seconds", 0), 2),
        "peak_memory_gib": run_log.peak_memory_gib(),
        **run_log.environment(),
        "request": request,
    }
    users = {} if data.users is None else {"user_id": data.users}
    columns = {"row": data.row_numbers, **users, "label": data.labels, **scores.columns}
    run_id = run_log.append_record(record, {name: values.tolist() for name, values in columns.items()})
    print(f"recorded as {run_id} in {printable(str(run_log.runs_file()))}")
    print_figures(Metrics(**figures))
    return {**record, "run_id": run_id}


def _auc_figures(probabilities: bool, data: SplitData, scores: Scores) -> dict[str, Any]:
    score = next(iter(scores.columns.values()))
    figures = metrics.evaluate(data.labels, score, data.users, data.title_counts, probabilities)
    if "p_yes_published" in scores.columns:
        figures["auc_published_score"] = metrics.auc(data.labels, scores.columns["p_yes_published"])
    if data.warm is not None and data.users is not None:
        figures |= {name: metrics.evaluate_subset(data.labels[rows], score[rows], data.users[rows])
                    for name, rows in (("warm", data.warm), ("cold", ~data.warm))}
    return figures


def print_figures(figures: Metrics) -> None:
    if figures.hit_rate is not None:
        k = figures.ranking_k
        for name, value, interval in ((f"HR@{k}", figures.hit_rate, figures.hit_rate_interval_users),
                                      (f"NDCG@{k}", figures.ndcg, figures.ndcg_interval_users)):
            print(f"===== {name}: {format_figure(value)} (95% interval over users: {format_interval(interval)}; "
                  f"{figures.n:,} targets) =====")
        return
    few = figures.users is not None and figures.users < MIN_USERS
    of_users = (f"none from {figures.users} users, at least {MIN_USERS} are needed" if few else
                format_interval(figures.auc_interval_users))
    print(f"n {figures.n}, share of Yes {format_figure(figures.share_yes, 3)}")
    print(f"95% interval of the AUC, {figures.interval_rule} over users: {of_users}")
    print(f"95% interval of the AUC, {figures.interval_rule} over rows:  {format_interval(figures.auc_interval_rows)}")
    print(f"UAUC {format_figure(figures.uauc)}, GAUC {format_figure(figures.gauc)} (weighted by rows), over "
          f"{figures.uauc_users} users with both answers")
    for name, rows in (("warm", figures.warm), ("cold", figures.cold)):
        if rows:
            print(f"{name} rows (user and item {'are' if name == 'warm' else 'not both'} in train): n {rows.n}, AUC "
                  f"{format_figure(rows.auc)}, UAUC {format_figure(rows.uauc)} over {rows.uauc_users} users")
    if figures.stratified_pairs:
        print(f"stratified AUC {format_figure(figures.stratified_auc)} over {figures.stratified_pairs:,} pairs "
              "with equal numbers of liked and of disliked titles; Spearman with liked-ratio "
              f"{format_figure(figures.spearman_liked_ratio)}")
    print(f"accuracy {format_figure(figures.accuracy)}, log loss {format_figure(figures.log_loss)}, "
          f"calibration error {format_figure(figures.calibration_error)}")
    if figures.auc_published_score is not None:
        print(f"AUC by the published score p(Yes) - p(No): {format_figure(figures.auc_published_score)}")
    print(f"===== auc: {format_figure(figures.auc)} =====")
