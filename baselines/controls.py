"""Controls: what a few lines reach on the same rows, without a language model or a sequence model.

    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json
    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json \
        --sample 64 --seed 0 --methods item-mean,logistic

item-mean               share of likes among the training rows whose target is the item, shrunk by 5 rows towards the
                        share of likes of all training rows; an item that never was a target has that share
popularity              training rows whose target is the item
logistic                logistic regression on liked-ratio and item-mean (scikit-learn's defaults)
liked-ratio+item-mean   their plain sum

The fifth, liked-ratio, needs no training rows: `evaluate.py --method liked-ratio`.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from tlrec import cli, files, paths
from tlrec.data import preference_text, samples
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import Scores, System, evaluate_system, read_test_set

METHODS = ("item-mean", "popularity", "logistic", "liked-ratio+item-mean")
PROBABILITIES = ("item-mean", "logistic")  # of the methods, those whose score is one
SHRINKAGE = 5  # rows of the mean that every item starts with
FOLDS = 5


def main(
    train_data_path: str,
    test_data_path: str,
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
        methods: any of item-mean, popularity, logistic, liked-ratio+item-mean, with commas between
        sample: training rows to take, as rec_tuning.py takes them; -1 is all
        seed: of the few-shot subset; without effect on all rows
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the controls that are recorded already
    """
    if not methods:
        raise InputError(f"--methods names none; choose from {', '.join(METHODS)}")
    samples.check_seed(seed)
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise InputError(f"--methods {unknown[0]!r} is unknown; choose from {', '.join(METHODS)}")
    train_path = Path(train_data_path)
    train, test = samples.read_samples(train_path, answers_only=True), read_test_set(test_data_path)
    samples.check_sample_size(train_path, len(train), sample)
    train_items, test_items = target_items(train_path, train, test.path, test.rows)
    train_counts, test_counts = samples.title_counts(train, train_path), samples.title_counts(test.rows, test.path)
    rows = np.arange(len(train)) if sample == -1 else np.array(samples.shuffled_rows(len(train), seed, sample))
    labels = np.array([row.label for row in train])
    if "logistic" in methods and len(set(labels[rows])) < 2:
        raise InputError(f"{train_path}: the {len(rows)} rows of seed {seed} hold one answer only, too little for "
                         "logistic; take more with --sample, or another --seed")
    train_sha256 = files.sha256(train_path)
    arguments = paths.relative_to_home({
        "train_data_path": os.path.abspath(train_path), "test_data_path": os.path.abspath(test.path), "sample": sample,
        "seed": seed, "experiment": experiment})
    trained = {"shots": len(rows), "seed": None if sample == -1 else seed}
    for method in methods:
        evaluate_system(
            System(
                name=method,
                method=method,
                request={"train_sha256": train_sha256, **trained},
                score=lambda _, method=method: Scores({"score": score(
                    method, train_items[rows], labels[rows], train_counts[rows], test_items, test_counts)}),
                commands=[cli.command_line("-m baselines.controls", main, {**arguments, "methods": method})],
                arguments=arguments,
                fields={**trained, "train_domain": train_path.resolve().parent.name},
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


def target_items(
    train_path: Path, train: list[samples.Sample], test_path: Path, test: list[samples.Sample]
) -> tuple[np.ndarray, np.ndarray]:
    """Target item of each training and test row: the id of the CSV views, or the text entry where one has no view."""
    views = [path.with_suffix(".csv") for path in (train_path, test_path)]
    if all(view.exists() for view in views):
        items = []
        for path, rows, view in zip((train_path, test_path), (train, test), views, strict=True):
            samples.user_ids(path, rows)  # checks that the two views agree
            table = pd.read_csv(view, dtype=str, keep_default_na=False)
            if "movie_id" not in table:
                raise InputError(f"{view}: no movie_id column; make the data again")
            items.append(table["movie_id"].to_numpy(dtype=object))
        return items[0], items[1]
    return tuple(np.array([_entry(path, number, row) for number, row in enumerate(rows)], dtype=object)
                 for path, rows in ((train_path, train), (test_path, test)))


def _entry(path: Path, number: int, row: samples.Sample) -> str:
    """The target as a history would write it: `""T" written by A"?` -> `"T" written by A`, `"T"?` -> `"T"`."""
    history = preference_text.parse(row.input)
    if history is None:
        raise InputError(f"{path}: record {number} has no preference lists, so its target item is unknown")
    return history.target_entry()


if __name__ == "__main__":
    cli.run(main)
