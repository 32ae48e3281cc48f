import resource
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import refused
from report_records import parsed, record

from tlrec.reports import figures


def test_draw_notes_systems_without_user_aucs_and_averages_seeds(report_runs, tmp_path):
    old = record("Caser", 0, 16)
    del old["metrics"]["auc_by_user"]
    drawn, notes = figures.draw(parsed(*report_runs, old), tmp_path)
    assert "auc_by_user_movie leaves out Caser, 16 rows: a record of it has no AUC by user" in notes
    assert tmp_path / "auc_by_user_movie.png" in drawn and not [note for note in notes if "SASRec" in note]
    inside = [run for run in report_runs if run["test_domain"] == "movie"]
    axis = figures.auc_by_user(parsed(*inside), "movie").axes[0]
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    runs = [run["metrics"]["uauc"] for run in report_runs if (run["system"], run["shots"]) == ("GRU4Rec", 64)]
    assert len(runs) == 3 and axis.texts[labels.index("GRU4Rec, 64 rows")].get_text() == f"{np.mean(runs):.3f}"


@pytest.mark.parametrize("name", ["a + b", r"$\frac{1}$", "caf\udce9\x1b[2J", "x$", "--><b>", "../up"])
def test_draw_accepts_any_folder_name(tmp_path, name):
    runs = [record("x", seed, None, [("netflix", 2), (name, 3)], name, domain=name) for seed in range(2)]
    runs += [record("x", 0, 16, [("netflix", 2), (name, 16)], name, domain=name), record("x", base=name, domain=name)]
    drawn, _ = figures.draw(parsed(*runs), tmp_path)
    assert len(drawn) >= 6 and all(path.parent == tmp_path and path.is_file() for path in drawn)
    for path in drawn:
        if path.suffix == ".svg":
            ElementTree.parse(path)


def test_draw_without_disk_space_keeps_the_earlier_figure(parsed_runs, tmp_path):
    limit, runs = resource.getrlimit(resource.RLIMIT_FSIZE), parsed_runs[1:7]
    figures.draw(runs, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        refused("auc_against_shots_movie.png", figures.draw, runs, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
