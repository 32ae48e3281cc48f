"""Does a language model add anything to what ratings tell? Logistic regressions with and without its logit.

    python -m baselines.llm_plus_controls --data rec_data/movie

Fitted on valid and scored on test, from standardised features: item-mean (from the rows of train) and liked-ratio; and
these with the logit of the language model's p(Yes), from its recorded runs on valid.json and test.json. Every language
model with both runs is taken. Each regression gets a record, and each difference its paired tests.
"""

from collections.abc import Hashable

import numpy as np

from baselines.data import split_hashes
from baselines.rating_features import Rows, feature, read_rows
from tlrec import cli, flag_syntax, paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import Scores, SplitData, System, evaluate_system, read_split
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.reports import compare, records
from tlrec.signature_flags import PathText

METHOD = "combination"
RATINGS = ("item-mean", "liked-ratio")
OF_ROWS = ("test_sha256", "test_ids_sha256", "test_rows", "warm_rows_sha256")  # entries of a request that name its rows


def main(
    data: PathText, valid_rows: int = -1, runs: list[PathText] | None = None, test_runs: list[str] | None = None,
    experiment: str = "", skip_recorded: bool = False,
) -> None:
    """Fit item-mean and liked-ratio on valid with and without a language model's logit, and compare both on test.

    Args:
        data: folder with the splits, as rec_data/movie
        valid_rows: fit on this many rows of valid, those that evaluate.py --test_rows draws; -1 is all
        runs: record files with the language models' runs, each beside its predictions (default: results/runs.jsonl)
        test_runs: ids of the runs on test.json (default: all that have one of the same model on valid.json)
        experiment: a name under which report.py finds the records
        skip_recorded: leave out what is recorded already
    """
    folder = paths.home_dir() / data
    splits = {name: read_split(folder / f"{name}.json", valid_rows if name == "valid" else -1, True, "valid_rows")
              for name in datasets.SPLITS}
    valid, test = splits["valid"], splits["test"]
    if len(set(valid.labels)) < 2:
        raise InputError(f"{valid.path}: its {len(valid.labels)} rows have one answer only, and a regression needs "
                         "both; give more --valid_rows, or make the split again")
    pairs = find_pairs(records.read_runs(runs), test_runs, valid, test)
    logits = [[logit(record, split) for record, split in zip(pair, (valid, test), strict=True)] for pair in pairs]
    rows = dict(zip(splits, read_rows(*splits.values()), strict=True))
    hashes = split_hashes([("train", splits["train"]), ("valid", valid)]) | {"valid_rows": len(valid.labels)}
    arguments = {"data": data, "valid_rows": None if valid_rows == -1 else valid_rows, "experiment": experiment}
    command = flag_syntax.command_line("-m baselines.llm_plus_controls", main, arguments)
    shared = {"shots": len(rows["train"].labels), "train_domain": folder.resolve().name}

    def recorded(
        names: list[str], pair: tuple[EvaluationRecord, EvaluationRecord] | None, logits: list[np.ndarray],
    ) -> EvaluationRecord:
        request, fields, commands = {**hashes, "features": list(RATINGS)}, dict(shared), [command]
        if pair:
            of_valid, of_test = pair
            request |= {"features": ["logit", *RATINGS], **_model(of_test)}
            fields |= {"seed": of_test.seed, "tuning_seconds": of_test.tuning_seconds,
                       "adapter": of_test.adapter and of_test.adapter.model_dump()}
            commands = [*of_valid.commands, *of_test.commands[-1:], command]
        system = System(f"regression on {' + '.join(names)}", METHOD, request, lambda _: fit(rows, logits), commands,
                        arguments, fields)
        record = evaluate_system(system, test, experiment, skip_recorded)
        assert record is not None  # one process
        return records.find(records.read_runs(None), record["run_id"])

    without = recorded([*RATINGS], None, [])
    for pair, of_pair in zip(pairs, logits, strict=True):
        combined = recorded([pair[1].system, *RATINGS], pair, of_pair)
        print(f"\n{compare.compare([combined], without)}\n", flush=True)


def find_pairs(
    evaluations: list[EvaluationRecord], test_runs: list[str] | None, valid: SplitData, test: SplitData
) -> list[tuple[EvaluationRecord, EvaluationRecord]]:
    """(run on valid, run on test) of each language model, each on the split's rows. InputError where there is none."""
    on_valid, on_test = (
        {_key(record): record for record in evaluations if record.method == "llm"
         and (record.test_data.sha256, record.test_data.sampled_with_seed) == (split.sha256, split.seed)
         and record.metrics.n == len(split.labels)} for split in (valid, test))
    chosen = on_test if test_runs is None else {
        _key(record): record for record in (records.find(evaluations, name) for name in test_runs)}
    for record in chosen.values():
        if record.method != "llm" or record.test_data.sha256 != test.sha256 or record.metrics.n != len(test.labels):
            raise InputError(f"--test_runs: {record.run_id} ({record.system}) is no language model's run on all rows "
                             f"of {test.path}; choose one of {', '.join(run.run_id for run in on_test.values())}")
    pairs = [(on_valid[key], record) for key, record in chosen.items() if key in on_valid]
    for key, record in chosen.items():
        if key not in on_valid:
            print(f"left out: {record.system} ({record.run_id}), not evaluated with the same settings on {valid.path}"
                  + ("" if valid.seed is None else f" --test_rows {len(valid.labels)}"))
    if not pairs:
        rows = f"{'all' if valid.seed is None else len(valid.labels)} rows of {valid.path.name}"
        raise InputError(f"{test.path}: no language model is recorded on all rows of it and on {rows}; "
                         "evaluate one on both with evaluate.py --test_data_path"
                         + ("" if valid.seed is None else f", on {valid.path.name} with --test_rows"))
    return pairs


def _model(record: EvaluationRecord) -> dict:
    """What determines the model's scores, beside the rows."""
    return {name: value for name, value in record.request.items() if name not in (*OF_ROWS, "method")}


def _key(record: EvaluationRecord) -> Hashable:
    return records.hashable(_model(record))


def logit(record: EvaluationRecord, split: SplitData) -> np.ndarray:
    """The logit of the recorded p(Yes) of each row, shape (n,). InputError where its rows are not the split's."""
    table = compare.predictions(record)
    if not np.array_equal(table["row"], split.row_numbers) or not np.array_equal(table["label"], split.labels):
        raise InputError(f"run {record.run_id}: its predictions are of other rows than {split.path}; evaluate it again")
    p = np.clip(table["score"].to_numpy(), 1e-9, 1 - 1e-9)
    return np.log(p) - np.log1p(-p)


def fit(rows: dict[str, Rows], logits: list[np.ndarray]) -> Scores:
    """Probabilities of the test rows. rows: of train, valid and test; logits: of valid and test, or none."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = [*["logit"] * bool(logits), *RATINGS]
    features = [np.stack([*logits[number : number + 1], *(feature(name, rows["train"], rows[split])
                                                         for name in RATINGS)], axis=1)
                for number, split in enumerate(("valid", "test"))]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[0], rows["valid"].labels)
    coefficients = dict(zip(names, model[-1].coef_[0].tolist(), strict=True))
    print("coefficients of the standardised features: "
          + ", ".join(f"{name} {value:+.3f}" for name, value in coefficients.items()))
    return Scores({"score": model.predict_proba(features[1])[:, 1]}, {"coefficients": coefficients})


if __name__ == "__main__":
    cli.run(main)
