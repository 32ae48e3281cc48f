"""Two runs on the same test rows, compared row for row from their predictions."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd

from tlrec.errors import InputError, first_line
from tlrec.evaluation import metrics, significance
from tlrec.evaluation.metrics import MIN_USERS, format_figure
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.evaluation.significance import Difference
from tlrec.files import read_bytes
from tlrec.reports import records, text_tables

SCORES = ("p_yes", "score")  # the column of a predictions file that holds the score


def predictions(record: EvaluationRecord) -> pd.DataFrame:
    """The record's predictions: columns row, label, score and, where users are known, user_id. InputError where they
    are missing, or not those that the record was made with."""
    path = record.folder / (record.predictions or f"predictions/{record.run_id}.csv")
    content = read_bytes(path, f"run {record.run_id} has no predictions beside its record, evaluate it again")
    if hashlib.sha256(content).hexdigest() != record.predictions_sha256:
        raise InputError(f"{path}: differs from the predictions that run {record.run_id} recorded (sha256); evaluate "
                         "the run again")
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)  # pandas' own float parser may round
        kinds = {"row": int, "label": int} | dict.fromkeys(SCORES, float)
        table = table.astype({name: kind for name, kind in kinds.items() if name in table})
    except ValueError as error:  # a row cut short, a wrong value, or bytes that are not UTF-8
        raise InputError(f"{path}: not valid CSV ({first_line(error)}); evaluate the run again") from None
    score = next((name for name in SCORES if name in table), None)
    if score is None or not {"row", "label"} <= set(table):
        raise InputError(f"{path}: needs the columns row, label and {' or '.join(SCORES)}; evaluate the run again")
    if not np.isfinite(table[score]).all() or not table["label"].isin([0, 1]).all():
        raise InputError(f"{path}: holds a score that is not finite, or a label other than 0 and 1; evaluate the run "
                         "again")
    auc = metrics.auc(table["label"].to_numpy(), table[score].to_numpy())
    if auc is None or record.metrics.auc is None or abs(auc - record.metrics.auc) > 1e-9:
        raise InputError(f"{path}: gives an AUC of {format_figure(auc)}, run {record.run_id} recorded "
                         f"{format_figure(record.metrics.auc)}; evaluate the run again")
    return table.rename(columns={score: "score"})


def compare(first: EvaluationRecord, second: EvaluationRecord) -> str:
    """The comparison as text. InputError where the two were not measured on the same rows of the same file."""
    one, other = predictions(first), predictions(second)
    runs = f"runs {first.run_id} and {second.run_id}"
    if first.test_data.sha256 != second.test_data.sha256:
        names = [f"{run.test_domain}/{Path(run.test_data.path).name}" for run in (first, second)]
        raise InputError(f"{runs} were made on different test files ({names[0]}, {names[1]}); evaluate both on one")
    if not np.array_equal(one["row"], other["row"]) or not np.array_equal(one["label"], other["label"]):
        raise InputError(f"{runs} were made on different test rows ({len(one['row']):,} and {len(other['row']):,}); "
                         "evaluate both with the same --test_rows")
    if list(one.get("user_id", ())) != list(other.get("user_id", ())):
        raise InputError(f"{runs} were made with different user ids (the CSV beside the test file changed in between); "
                         "evaluate both again")
    labels = one["label"].to_numpy()
    users = one["user_id"].to_numpy(dtype=object) if "user_id" in one else None
    scores = one["score"].to_numpy(), other["score"].to_numpy()
    drawn = "rows" if users is None else "users"
    tests = {"AUC": [("bootstrap", significance.bootstrap_auc(labels, *scores, users), drawn),
                     ("DeLong", significance.delong_auc(labels, *scores), "rows")]}
    if users is not None:
        tests["UAUC"] = [("bootstrap", significance.bootstrap_uauc(labels, *scores, users), "users"),
                         ("DeLong", significance.delong_uauc(labels, *scores, users), "users")]
    systems = [["", "run", "system", "shots", "seed", "AUC", "UAUC"]]
    for letter, run, score in zip("AB", (first, second), scores, strict=True):
        uauc = "no users" if users is None else format_figure(metrics.uauc(labels, score, users)[0])
        seed = "" if run.seed is None else str(run.seed)
        systems.append([letter, run.run_id, records.system(run), str(records.shots(run)), seed,
                        format_figure(metrics.auc(labels, score)), uauc])
    rows = [["A − B in", "test", "difference", "95% interval", "p", "from"]]
    rows += [_row(figure, *test) for figure, by_kind in tests.items() for test in by_kind]
    return "\n\n".join([f"{len(labels):,} rows of {first.test_data.path}", text_tables.markdown(systems),
                        text_tables.markdown(rows), _reading(users)])


def _row(figure: str, test: str, difference: Difference | None, units: str) -> list[str]:
    if difference is None:
        return [figure, test, "undefined", "", "", ""]
    value, low, high, p, count = difference
    if low is None or high is None or p is None:
        few = units == "users" and count < MIN_USERS
        return [figure, test, f"{value:+.4f}", f"none from fewer than {MIN_USERS} users" if few else "undefined", "",
                f"{count:,} {units}"]
    return [figure, test, f"{value:+.4f}", f"{low:+.4f} to {high:+.4f}", "< 0.001" if p < 0.001 else f"{p:.3f}",
            f"{count:,} {units}"]


def _reading(users: np.ndarray | None) -> str:
    if users is None:
        return "Users are unknown: rows are taken as independent, and there is no UAUC."
    return ("The bootstrap draws whole users: what to expect of other users. DeLong's test takes the users as given:\n"
            "what to expect of other rows of theirs. For UAUC it needs two rows of each answer from a user.")
