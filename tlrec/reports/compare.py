"""Runs on the same test rows, compared row for row from their predictions."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tlrec import paths
from tlrec.data import samples
from tlrec.data.id_csv import known_users
from tlrec.errors import InputError, first_line
from tlrec.evaluation import metrics, significance
from tlrec.evaluation.intervals import MIN_USERS, Estimate
from tlrec.evaluation.metrics import format_figure
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.files import read_bytes
from tlrec.reports import records, table_formats

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


def compare(systems: list[EvaluationRecord], reference: EvaluationRecord) -> str:
    """Each system minus the reference as text. InputError where they were not measured on the same rows of one file."""
    other = predictions(reference)
    labels, users = other["label"].to_numpy(), known_users(other if "user_id" in other else None)
    rows_of_test = other["row"].to_numpy()
    counts = next((found for record in (reference, *systems)
                   if (found := _title_counts(record, rows_of_test)) is not None), None)
    scores = {"B": other["score"].to_numpy()}
    runs = {"B": reference}
    for number, record in enumerate(systems, 1):
        letter = f"A{number}" if len(systems) > 1 else "A"
        runs[letter], scores[letter] = record, _paired_scores(record, reference, other)
    letters = [letter for letter in runs if letter != "B"]
    tests = [test for letter in letters for test in _tests(labels, scores[letter], scores["B"], users, counts, letter)]
    p_values = [test.estimate and test.estimate.p for test in tests]
    adjusted: dict[int, float | None] = {}
    for kind in dict.fromkeys((test.figure, test.name) for test in tests):  # each kind over the systems
        numbers = [number for number, test in enumerate(tests) if (test.figure, test.name) == kind]
        adjusted |= zip(numbers, significance.holm([p_values[number] for number in numbers]), strict=True)
    several = len(systems) > 1
    rows = [["A − B in", "test", "difference", "95% interval", "p", *["p, Holm"] * several, "from"]]
    for number, test in enumerate(tests):
        *row, units = _row(test)
        name = f"{test.letter} {row[0]}" if several else row[0]
        rows.append([name, *row[1:], *[_p(adjusted[number])] * several, units])
    header = ["", "run", "system", "shots", "seed", "AUC", "UAUC", "GAUC"]
    table = [header, *(_figures(letter, runs[letter], labels, scores[letter], users) for letter in [*letters, "B"])]
    return "\n\n".join([f"{len(labels):,} rows of {reference.test_data.path}", table_formats.markdown(table),
                        table_formats.markdown(rows), _reading(users, counts is not None, several)])


class _Test(NamedTuple):
    letter: str  # of the system
    figure: str
    name: str
    estimate: Estimate | None
    units: str


def _paired_scores(first: EvaluationRecord, second: EvaluationRecord, other: pd.DataFrame) -> np.ndarray:
    """The scores of `first`, row for row beside `other`, the predictions of `second`; InputError where rows differ."""
    one = predictions(first)
    runs = f"runs {first.run_id} and {second.run_id}"
    ids = first.request.get("test_ids_sha256")  # equal for the same rows in another text, as with neutral titles
    if first.test_data.sha256 != second.test_data.sha256 and (not ids or ids != second.request.get("test_ids_sha256")):
        names = [f"{run.test_domain}/{Path(run.test_data.path).name}" for run in (first, second)]
        raise InputError(f"{runs} were made on different test files ({names[0]}, {names[1]}); evaluate both on one")
    if not np.array_equal(one["row"], other["row"]) or not np.array_equal(one["label"], other["label"]):
        raise InputError(f"{runs} were made on different test rows ({len(one['row']):,} and {len(other['row']):,}); "
                         "evaluate both with the same --test_rows")
    if list(one.get("user_id", ())) != list(other.get("user_id", ())):
        raise InputError(f"{runs} were made with different user ids (the CSV beside the test file changed in between); "
                         "evaluate both again")
    return one["score"].to_numpy()


def _title_counts(record: EvaluationRecord, row_numbers: np.ndarray) -> np.ndarray | None:
    """Liked and disliked titles of the record's test rows, shape (n, 2); None where the test file has none, or is not
    the one that it was made on."""
    path = paths.home_dir() / record.test_data.path
    try:
        file = samples.read_sample_file(path, answers_only=True)
        rows = [file.rows[number] for number in row_numbers]
        return samples.title_counts(rows, path, row_numbers) if file.sha256 == record.test_data.sha256 else None
    except (InputError, IndexError):
        return None


def _tests(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, users: np.ndarray | None, counts: np.ndarray | None,
    letter: str,
) -> list[_Test]:
    scores = labels, first, second
    tests = [_Test(letter, "AUC", "jackknife", significance.auc_difference(*scores, users),
                   "rows" if users is None else "users"),
             _Test(letter, "AUC", "DeLong", significance.delong_auc(*scores), "rows")]
    if users is not None:
        mean = significance.user_mean_difference
        tests += [_Test(letter, "UAUC", "jackknife", mean(*scores, users), "users"),
                  _Test(letter, "UAUC", "DeLong", significance.delong_uauc(*scores, users), "users"),
                  _Test(letter, "GAUC", "jackknife", mean(*scores, users, by_rows=True), "users")]
    if users is not None and counts is not None:
        tests.append(_Test(letter, "stratified AUC", "jackknife",
                           significance.stratified_auc_difference(*scores, counts, users), "users"))
    return tests


def _figures(
    letter: str, run: EvaluationRecord, labels: np.ndarray, scores: np.ndarray, users: np.ndarray | None
) -> list[str]:
    means = ["no users"] * 2
    if users is not None:
        means = [format_figure(mean and mean.value) for mean in metrics.user_means(labels, scores, users)[1:]]
    return [letter, run.run_id, records.system(run), str(records.shots(run)), "" if run.seed is None else str(run.seed),
            format_figure(metrics.auc(labels, scores)), *means]


def _row(test: _Test) -> list[str]:
    if test.estimate is None:
        return [test.figure, test.name, "undefined", "", "", ""]
    value, low, high, p, count = test.estimate
    units = f"{count:,} {test.units}"
    if low is None or high is None:
        few = test.units == "users" and count < MIN_USERS
        interval = f"none from fewer than {MIN_USERS} users" if few else "undefined"
    else:
        interval = f"{low:+.4f} to {high:+.4f}"
    return [test.figure, test.name, f"{value:+.4f}", interval, _p(p), units]


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _reading(users: np.ndarray | None, with_counts: bool, several: bool) -> str:
    text = ("Users are unknown: rows are taken as independent, and there is no UAUC." if users is None else
            "The jackknife leaves out whole users: what to expect of other users. DeLong's test takes the users as\n"
            "given: what to expect of other rows of theirs. For UAUC it needs two rows of each answer from a user.")
    if users is not None and not with_counts:
        text += ("\nNo stratified AUC: the test file of these runs is gone or changed, or its prompts have no lists of "
                 "titles.")
    return text + "\np, Holm: adjusted over the systems A1, A2 ... of each figure and test." * several
