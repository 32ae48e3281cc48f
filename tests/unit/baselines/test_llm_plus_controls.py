"""The combination on made-up predictions whose answer is known, and with a real language model's recorded runs."""

import json

import numpy as np
import pytest
from conftest import make_rows, refused, run, write_split
from sklearn.linear_model import LogisticRegression

from baselines import llm_plus_controls, rating_features
from tlrec.evaluation import metrics, run_log
from tlrec.evaluation.evaluate import Scores, System, evaluate_system, read_split
from tlrec.reports import records, reproduce_run, seed_means

COUNTS = {"train": 300, "valid": 240, "test": 240}


@pytest.fixture
def films(home, monkeypatch):
    (home / "rec_data/films").mkdir(parents=True)
    for number, (split, count) in enumerate(COUNTS.items()):
        samples, rows = make_rows(count, number)
        for row, ids in enumerate(rows):
            ids[0] = f"u{row % 20}"
        write_split(home / "rec_data/films", split, samples, rows)
    return home / "rec_data/films"


def score(films, seed, kind, splits=("valid", "test"), valid_rows=-1):
    """Record a language model's made-up predictions: noise, or the label with a little noise."""
    generator = np.random.default_rng(seed)
    for split in splits:
        data = read_split(films / f"{split}.json", valid_rows if split == "valid" else -1)
        noise = generator.normal(size=len(data.labels))
        logits = noise if kind == "noise" else 1.5 * (2 * data.labels - 1) + noise
        stages = [{"settings": {"seed": seed}, "train": {"rows": 64}, "valid": None}]
        evaluate_system(System(
            kind, "llm", {"base_model": "tiny", "adapter_sha256": f"{kind} {seed}"},
            lambda _, logits=logits: Scores({"p_yes": 1 / (1 + np.exp(-logits))}), ["python evaluate.py"], {},
            {"base_model": "tiny", "chain": ["films"], "rows_of_chain": [64], "shots": 64, "seed": seed,
             "adapter": {"path": "adapter", "stages": stages}}), data)


def differences(text: str) -> dict[str, tuple[float, str]]:
    """{figure and test: (difference, p)} of the last table printed."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {f"{row[0]} {row[1]}": (float(row[2]), row[4]) for row in cells
            if len(row) == 6 and row[2][:1] in "+-" and row[2][1:2].isdigit()}


def test_noise_adds_nothing(films, capsys):
    score(films, 0, "noise")
    run(["baselines.llm_plus_controls", "--data", "rec_data/films"])
    printed = differences(capsys.readouterr().out)
    for test in ("AUC jackknife", "AUC DeLong", "UAUC jackknife", "GAUC jackknife"):
        value, p = printed[test]
        assert abs(value) < 0.02 and float(p) > 0.05


def test_the_label_adds_a_lot(films, capsys):
    score(films, 0, "label")
    run(["baselines.llm_plus_controls", "--data", "rec_data/films", "--experiment", "added"])
    printed = differences(capsys.readouterr().out)
    for test in ("AUC jackknife", "AUC DeLong", "UAUC jackknife"):
        assert printed[test][0] > 0.1 and printed[test][1] == "< 0.001"
    _, _, without, combined = records.read_runs(None)
    assert (without.system, combined.system) == (
        "regression on item-mean + liked-ratio", "regression on label + item-mean + liked-ratio")
    assert [records.group(record) for record in (without, combined)] == ["controls"] * 2
    assert reproduce_run.changed_inputs(without) == []
    assert reproduce_run.changed_inputs(combined)[0].startswith("adapter")
    assert combined.metrics.stratified_auc > 0.9 and combined.metrics.uauc_interval and combined.metrics.auc > 0.9
    assert combined.commands[-1] == "python -m baselines.llm_plus_controls --data rec_data/films --experiment added"
    coefficients = json.loads(run_log.runs_file().read_text().splitlines()[-1])["coefficients"]
    assert max(coefficients, key=coefficients.get) == "logit"


def test_the_regression_is_fitted_on_valid_alone(films):
    score(films, 3, "noise")
    llm_plus_controls.main("rec_data/films")
    train, valid, test = rating_features.read_rows(*(read_split(films / f"{name}.json") for name in COUNTS))
    generator = np.random.default_rng(3)
    logits = [generator.normal(size=COUNTS[split]) for split in ("valid", "test")]
    columns = [np.stack([one, rating_features.item_mean(train.items, train.labels, rows.items),
                         rows.counts[:, 0] / rows.counts.sum(axis=1)], axis=1)
               for one, rows in zip(logits, (valid, test), strict=True)]
    centre, scale = columns[0].mean(axis=0), columns[0].std(axis=0)
    model = LogisticRegression().fit((columns[0] - centre) / scale, valid.labels)
    expected = model.predict_proba((columns[1] - centre) / scale)[:, 1]
    assert records.read_runs(None)[-1].metrics.auc == pytest.approx(metrics.auc(test.labels, expected), abs=1e-12)


def test_both_regressions_are_fitted_on_the_drawn_rows_of_valid(films, capsys):
    score(films, 3, "noise", valid_rows=100)
    score(films, 4, "noise")
    llm_plus_controls.main("rec_data/films", valid_rows=100)
    assert capsys.readouterr().out.count("left out") == 1  # seed 4, on all rows of valid
    assert records.read_runs(None)[-1].commands[-1].endswith("--data rec_data/films --valid_rows 100")
    drawn = read_split(films / "valid.json", 100)
    train, valid, test = rating_features.read_rows(
        read_split(films / "train.json"), drawn, read_split(films / "test.json"))
    columns = [np.stack([rating_features.item_mean(train.items, train.labels, rows.items),
                         rows.counts[:, 0] / rows.counts.sum(axis=1)], axis=1) for rows in (valid, test)]
    scale = columns[0].mean(axis=0), columns[0].std(axis=0)
    model = LogisticRegression().fit((columns[0] - scale[0]) / scale[1], drawn.labels)
    expected = model.predict_proba((columns[1] - scale[0]) / scale[1])[:, 1]
    without = next(record for record in records.read_runs(None)
                   if record.system == "regression on item-mean + liked-ratio")
    assert without.metrics.auc == pytest.approx(metrics.auc(test.labels, expected), abs=1e-12)
    refused("on 99 rows of valid.json", llm_plus_controls.main, "rec_data/films", 99)


def test_seeds_are_one_cell_and_recorded_ones_are_skipped(films, capsys):
    for seed in (0, 1):
        score(films, seed, "label")
    score(films, 2, "label", ["test"])
    llm_plus_controls.main("rec_data/films")
    assert "left out: label" in capsys.readouterr().out
    combined = [record for record in records.read_runs(None) if record.method == llm_plus_controls.METHOD]
    assert [(cell.system, cell.seeds) for cell in seed_means.own_cells(combined)] == [
        ("regression on item-mean + liked-ratio", 1), ("regression on label + item-mean + liked-ratio", 2)]
    count = len(run_log.read_records())
    llm_plus_controls.main("rec_data/films", skip_recorded=True)
    assert len(run_log.read_records()) == count
    name = next(record.run_id for record in records.read_runs(None) if record.method == "llm" and record.seed == 1
                and record.test_data.path.endswith("test.json"))
    llm_plus_controls.main("rec_data/films", test_runs=[name])
    assert [record["seed"] for record in run_log.read_records()[count:]] == [None, 1]


def test_what_cannot_be_combined_is_refused(films):
    refused("evaluate something first", llm_plus_controls.main, "rec_data/films")
    score(films, 0, "noise", ["test"])
    refused("no language model is recorded on all rows", llm_plus_controls.main, "rec_data/films")
    score(films, 0, "noise", ["valid"])
    name = records.read_runs(None)[-1].predictions
    path = run_log.runs_file().parent / name
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    count = len(run_log.read_records())
    refused("differs from the predictions", llm_plus_controls.main, "rec_data/films")
    assert len(run_log.read_records()) == count  # before anything is recorded
    on_valid = next(record.run_id for record in records.read_runs(None)
                    if record.test_data.path.endswith("valid.json"))
    refused("no language model's run on all rows of", llm_plus_controls.main, "rec_data/films", test_runs=[on_valid])
    for rows, message in ((0, "valid_rows"), (-2, "valid_rows"), (241, "valid_rows 241: "), (1, "one answer only")):
        refused(message, llm_plus_controls.main, "rec_data/films", rows)
