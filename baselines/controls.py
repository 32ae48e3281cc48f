"""Controls: what a few lines reach on the same rows, without a language model or a sequence model.

    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json
    python -m baselines.controls --train_data_path rec_data/movie/train.json --test_data_path rec_data/movie/test.json \
        --sample 64 --seed 0 --methods item-mean,logistic

item-mean               share of likes among the training rows whose target is the item, shrunk by 5 rows towards the
                        share of likes of all training rows; an item that never was a target has that share
popularity              training rows whose target is the item
logistic                logistic regression on liked-ratio and item-mean (scikit-learn's defaults)
liked-ratio+item-mean   their plain sum
user-mean               share of likes among the training rows of the user, shrunk likewise
user-mean+item-mean     their plain sum
logistic+user-mean      logistic regression on liked-ratio, item-mean and user-mean

The last three say nothing where no user of the test set is among the training rows, as on movie: by default they are
left out there.

One more, liked-ratio, needs no training rows: `evaluate.py --method liked-ratio`.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.data import split_hashes
from baselines.rating_features import SHRINKAGE, Rows, feature, held_out_feature, join, read_rows
from tlrec import cli, flag_syntax, paths
from tlrec.data import datasets, samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics
from tlrec.evaluation.evaluate import Scores, System, evaluate_system, read_split
from tlrec.evaluation.metrics import format_figure
from tlrec.reports import table_formats
from tlrec.signature_flags import PathText

METHODS = ("item-mean", "popularity", "logistic", "liked-ratio+item-mean")
OF_USERS = ("user-mean", "user-mean+item-mean", "logistic+user-mean")
REGRESSIONS = {"logistic": ("liked-ratio", "item-mean"),
               "logistic+user-mean": ("liked-ratio", "item-mean", "user-mean")}
PROBABILITIES = ("item-mean", "user-mean", *REGRESSIONS)  # of the methods, those whose score is one


def main(
    train_data_path: PathText,
    test_data_path: PathText,
    valid_data_path: PathText | None = None,
    methods: list[str] | None = None,
    sample: int = -1,
    seed: int = 0,
    experiment: str = "",
    skip_recorded: bool = False,
) -> None:
    """Fit controls on training rows and score a test set: one record each in results/runs.jsonl.

    Args:
        train_data_path: instruction JSON whose outputs are `Yes.` and `No.`
        test_data_path: the same, to be scored
        valid_data_path: the same; its rows are fitted on too
        methods: any of item-mean, popularity, logistic, liked-ratio+item-mean, user-mean, user-mean+item-mean,
            logistic+user-mean, with commas between (default: all that say something of the test set)
        sample: training rows to take, as rec_tuning.py takes them; -1 is all
        seed: of the few-shot subset; without effect on all rows
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the controls that are recorded already
    """
    known = (*METHODS, *OF_USERS)
    if methods is not None and not methods:
        raise InputError(f"--methods names none; choose from {', '.join(known)}")
    samples.check_seed(seed)
    unknown = [name for name in methods or [] if name not in known]
    if unknown:
        raise InputError(f"--methods {unknown[0]!r} is unknown; choose from {', '.join(known)}")
    if valid_data_path is not None and sample != -1:
        raise InputError("--valid_data_path and --sample exclude each other; give one")
    given = [train_data_path, *([] if valid_data_path is None else [valid_data_path]), test_data_path]
    *fitted, test = splits = [read_split(path, needs_titles=True) for path in given]
    train = fitted[0]
    samples.check_sample_size(train.path, len(train.rows), sample)
    *parts, test_rows = read_rows(*splits)
    training = join(*parts)
    if sample != -1:
        training = training.take(np.array(samples.shuffled_rows(len(train.rows), seed, sample)))
    users_missing = next((split.path for split in splits if split.users is None), None)
    if set(methods or []) & set(OF_USERS) and users_missing:
        raise InputError(f"{users_missing}: no CSV with user ids beside it, which user-mean needs")
    methods = default_methods(training, test_rows) if methods is None else methods
    if set(methods) & set(REGRESSIONS) and len(set(training.labels)) < 2:
        raise InputError(f"{train.path}: the {len(training.labels)} rows of seed {seed} hold one answer only, too "
                         "little for logistic; take more with --sample, or another --seed")
    arguments = paths.relative_to_home({
        "train_data_path": os.path.abspath(train.path), "test_data_path": os.path.abspath(test.path),
        **({} if valid_data_path is None else {"valid_data_path": os.path.abspath(valid_data_path)}), "sample": sample,
        "seed": seed, "experiment": experiment})
    trained = {"shots": len(training.labels), "seed": None if sample == -1 else seed}
    for method in methods:
        evaluate_system(
            System(
                name=method,
                method=method,
                request={**split_hashes(zip(("train", "valid"), fitted, strict=False)), **trained},
                score=lambda _, method=method: Scores({"score": score(method, training, test_rows)}),
                commands=[flag_syntax.command_line("-m baselines.controls", main, {**arguments, "methods": method})],
                arguments=arguments,
                fields={**trained, "train_domain": train.path.resolve().parent.name},
                probabilities=method in PROBABILITIES,
            ),
            test, experiment, skip_recorded)


def default_methods(train: Rows, test: Rows) -> list[str]:
    """Every control that says something of the test rows: those of users where one is among the training rows."""
    known_users = train.users is not None and test.users is not None and np.isin(test.users, train.users).any()
    return [*METHODS, *(OF_USERS if known_users else ())]


def score(method: str, train: Rows, test: Rows) -> np.ndarray:
    """Scores of the test rows, shape (m,)."""
    if method == "popularity":
        return pd.Series(test.items).map(pd.Series(train.items).value_counts()).fillna(0).to_numpy(dtype=float)
    if method not in REGRESSIONS:
        return np.sum([feature(name, train, test) for name in method.split("+")], axis=0)
    from sklearn.linear_model import LogisticRegression

    names = REGRESSIONS[method]
    fitted = LogisticRegression().fit(np.stack([held_out_feature(name, train) for name in names], axis=1), train.labels)
    return fitted.predict_proba(np.stack([feature(name, train, test) for name in names], axis=1))[:, 1]


def report(folder: Path) -> str:
    """AUC and UAUC on a dataset's test rows of liked-ratio and of every control that says something of them, fitted on
    train, and on train and valid, as a table; nothing is recorded."""
    splits = [read_split(folder / f"{name}.json", needs_titles=True) for name in datasets.SPLITS]
    train, valid, test = read_rows(*splits)
    fitted = [train, join(train, valid)]
    rows = [["control", "AUC, fitted on train", "UAUC", "AUC, on train and valid", "UAUC"]]
    for method in ("liked-ratio", *default_methods(train, test)):
        if method in REGRESSIONS and len(set(train.labels)) < 2:
            continue
        row = [method]
        for training in fitted:
            scores = score(method, training, test)
            mean = None if test.users is None else metrics.user_means(test.labels, scores, test.users)[1]
            row += [format_figure(metrics.auc(test.labels, scores)), format_figure(mean and mean.value)]
        rows.append(row)
    return (f"{table_formats.markdown(rows)}\n"
            f"Means of items and users are shrunk by {SHRINKAGE} rows towards that of all.")


if __name__ == "__main__":
    cli.run(main)
