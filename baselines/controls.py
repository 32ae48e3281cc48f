"""Controls: what a few lines reach on the same rows, without a language model or a sequence model.

    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json
    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json \
        --sample 64 --seed 0 --methods item-mean,logistic

item-mean               share of likes among the training rows whose target is the item, shrunk by 5 rows towards the
                        share of likes of all training rows; an item that never was a target has that share
popularity              training rows whose target is the item
logistic                logistic regression on liked-ratio and item-mean (scikit-learn's defaults)
liked-ratio+item-mean   their plain sum
user-mean               share of likes among the training rows of the user, shrunk likewise; by name only, since it says
                        nothing where no user of the test set is among the training rows, as on movie
user-mean+item-mean     their plain sum

One more, liked-ratio, needs no training rows: `evaluate.py --method liked-ratio`.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from tlrec import cli, flag_syntax, paths
from tlrec.data import preference_text, samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics
from tlrec.evaluation.evaluate import Scores, SplitData, System, evaluate_system, read_split
from tlrec.evaluation.metrics import format_figure
from tlrec.reports import text_tables
from tlrec.signature_flags import PathText

METHODS = ("item-mean", "popularity", "logistic", "liked-ratio+item-mean")
OF_USERS = ("user-mean", "user-mean+item-mean")
PROBABILITIES = ("item-mean", "logistic", "user-mean")  # of the methods, those whose score is one
SHRINKAGE = 5  # rows of the mean that every item and user starts with
FOLDS = 5


def main(
    train_data_path: PathText,
    test_data_path: PathText,
    methods: list[str] = METHODS,
    sample: int = -1,
    seed: int = 0,
    experiment: str = "",
    skip_recorded: bool = False,
) -> None:
    """Fit controls on training rows and score a test set: one record each in results/runs.jsonl.

    Args:
        train_data_path: instruction JSON whose outputs are `Yes.` and `No.`
        test_data_path: the same, to be scored
        methods: any of item-mean, popularity, logistic, liked-ratio+item-mean, user-mean, user-mean+item-mean, with
            commas between
        sample: training rows to take, as rec_tuning.py takes them; -1 is all
        seed: of the few-shot subset; without effect on all rows
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the controls that are recorded already
    """
    if not methods:
        raise InputError(f"--methods names none; choose from {', '.join((*METHODS, *OF_USERS))}")
    samples.check_seed(seed)
    unknown = [name for name in methods if name not in (*METHODS, *OF_USERS)]
    if unknown:
        raise InputError(f"--methods {unknown[0]!r} is unknown; choose from {', '.join((*METHODS, *OF_USERS))}")
    train, test = (read_split(path, needs_titles=True) for path in (train_data_path, test_data_path))
    samples.check_sample_size(train.path, len(train.rows), sample)
    train_items, test_items = target_items(train, test)
    rows = train.row_numbers if sample == -1 else np.array(samples.shuffled_rows(len(train.rows), seed, sample))
    training_rows = train_items[rows], train.labels[rows], train.title_counts[rows]
    users_missing = next((split.path for split in (train, test) if split.users is None), None)
    if set(methods) & set(OF_USERS) and users_missing:
        raise InputError(f"{users_missing}: no CSV with user ids beside it, which user-mean needs")
    if "logistic" in methods and len(set(train.labels[rows])) < 2:
        raise InputError(f"{train.path}: the {len(rows)} rows of seed {seed} hold one answer only, too little for "
                         "logistic; take more with --sample, or another --seed")
    arguments = paths.relative_to_home({
        "train_data_path": os.path.abspath(train.path), "test_data_path": os.path.abspath(test.path), "sample": sample,
        "seed": seed, "experiment": experiment})
    trained = {"shots": len(rows), "seed": None if sample == -1 else seed}
    for method in methods:
        evaluate_system(
            System(
                name=method,
                method=method,
                request={"train_sha256": train.sha256, "train_ids_sha256": train.ids_sha256, **trained},
                score=lambda _, method=method: Scores({"score": (
                    user_scores(method, train, rows, train_items, test, test_items) if method in OF_USERS else
                    score(method, *training_rows, test_items, test.title_counts))}),
                commands=[flag_syntax.command_line("-m baselines.controls", main, {**arguments, "methods": method})],
                arguments=arguments,
                fields={**trained, "train_domain": train.path.resolve().parent.name},
                probabilities=method in PROBABILITIES,
            ),
            test, experiment, skip_recorded)


def score(
    method: str, items: np.ndarray, labels: np.ndarray, counts: np.ndarray, test_items: np.ndarray,
    test_counts: np.ndarray,
) -> np.ndarray:
    """Scores of the test rows, shape (m,).

    items, labels: target item and 0/1 of the training rows, shape (n,); counts, test_counts: liked and disliked titles
    per prompt, shapes (n, 2) and (m, 2); test_items: shape (m,).
    """
    if method == "popularity":
        return pd.Series(test_items).map(pd.Series(items).value_counts()).fillna(0).to_numpy(dtype=float)
    means = item_mean(items, labels, test_items)
    if method == "item-mean":
        return means
    ratios = samples.liked_ratio(test_counts)
    if method == "liked-ratio+item-mean":
        return ratios + means
    from sklearn.linear_model import LogisticRegression

    features = np.stack([samples.liked_ratio(counts), held_out_item_mean(items, labels)], axis=1)
    fitted = LogisticRegression().fit(features, labels)
    return fitted.predict_proba(np.stack([ratios, means], axis=1))[:, 1]


def user_scores(method: str, train: SplitData, rows: np.ndarray, train_items: np.ndarray, test: SplitData,
                test_items: np.ndarray) -> np.ndarray:
    """Scores of the test rows by a method of OF_USERS, shape (m,). rows: of the training split, shape (n,)."""
    assert train.users is not None and test.users is not None
    labels = train.labels[rows]
    means = item_mean(train.users[rows], labels, test.users)
    return means if method == "user-mean" else means + item_mean(train_items[rows], labels, test_items)


def item_mean(items: np.ndarray, labels: np.ndarray, wanted: np.ndarray, mean: float | None = None) -> np.ndarray:
    """Share of likes of each of the `wanted` items, shape (m,), from training rows of shape (n,), shrunk towards `mean`
    (default: that of the labels)."""
    mean = labels.mean() if mean is None else mean
    grouped = pd.Series(labels).groupby(items).agg(["sum", "size"])
    shrunk = (grouped["sum"] + SHRINKAGE * mean) / (grouped["size"] + SHRINKAGE)
    return pd.Series(wanted).map(shrunk).fillna(mean).to_numpy(dtype=float)


def held_out_item_mean(items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """item_mean of each training row from the other folds, shape (n,): a row's own label must not be its feature.

    All folds shrink towards the mean of all rows; that of the other folds would fall where a fold's labels rise, and
    the regression would learn it.
    """
    fold = np.arange(len(items)) % min(FOLDS, len(items))
    means = np.empty(len(items))
    for number in np.unique(fold):
        inside = fold == number
        means[inside] = item_mean(items[~inside], labels[~inside], items[inside], labels.mean())
    return means


def report(train_data_path: str | Path, test_data_path: str | Path) -> str:
    """AUC and UAUC of liked-ratio and of every control fitted on all training rows, as a table; nothing is recorded."""
    train, test = (read_split(path, needs_titles=True) for path in (train_data_path, test_data_path))
    train_items, test_items = target_items(train, test)
    rows = [["control", "AUC", "UAUC"]]
    for method in ("liked-ratio", *METHODS):
        if method == "logistic" and len(set(train.labels)) < 2:
            continue
        scores = samples.liked_ratio(test.title_counts) if method == "liked-ratio" else score(
            method, train_items, train.labels, train.title_counts, test_items, test.title_counts)
        mean = None if test.users is None else metrics.user_means(test.labels, scores, test.users)[1]
        rows.append([method, format_figure(metrics.auc(test.labels, scores)), format_figure(mean and mean.value)])
    return text_tables.markdown(rows)


def target_items(*splits: SplitData) -> list[np.ndarray]:
    """Target item of each row of each split, shape (n,): the id of the CSV views, or the text entry where one has no
    view."""
    views = [split.id_view for split in splits if split.id_view is not None]
    if len(views) < len(splits):
        return [np.array([preference_text.parse(row.input).target_entry() for row in split.rows], dtype=object)
                for split in splits]
    for split, view in zip(splits, views, strict=True):
        if "movie_id" not in view:
            raise InputError(f"{split.path.with_suffix('.csv')}: no movie_id column; make the data again")
    return [view["movie_id"].to_numpy(dtype=object) for view in views]


if __name__ == "__main__":
    cli.run(main)
