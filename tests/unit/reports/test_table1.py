import csv
import io
import statistics

import numpy as np
import pytest

from tlrec.reports import records, table1, text_tables


def test_table1_averages_seeds_beside_the_published(report_runs):
    texts = table1.render([*records.cells(report_runs), *records.published_cells()])
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    (gru,) = [row for row in rows if (row["system"], row["shots"]) == ("GRU4Rec", "16")]
    metrics = [run["metrics"] for run in report_runs if (run["system"], run["shots"]) == ("GRU4Rec", 16)]
    aucs = [row["auc"] for row in metrics]
    assert float(gru["auc"]) == pytest.approx(statistics.fmean(aucs), abs=1e-6) and gru["seeds"] == "3"
    assert float(gru["auc_sd"]) == pytest.approx(np.std(aucs, ddof=1), abs=1e-6) and gru["n"] == "120"
    lows = [row["auc_interval_users"][0] for row in metrics]
    assert float(gru["auc_low"]) == pytest.approx(statistics.fmean(lows), abs=1e-6)
    figures = f"{100 * statistics.fmean(aucs):.2f} ± {100 * statistics.stdev(aucs):.2f}"
    assert f"{figures} (3)" in texts["md"] and figures.replace("±", r"$\pm$") in texts["tex"]
    beside = next(line for line in texts["md"].splitlines() if line.startswith("| GRU4Rec") and f" {figures} " in line
                  and "ours" not in line)
    assert beside.split("|")[-2].strip() == "49.07"  # GRU at 16 shots, TALLRec's Table 1
    movie, book = texts["md"].split("### book/test")
    header = next(line for line in movie.splitlines() if line.startswith("| system"))
    assert [cell.strip() for cell in header.split("|")[3:-1]] == ["zero-shot", "16", "64", "256", "8,000"]
    assert "| Caser " in book and "published" in book


def test_table1_grid_marks_the_best_and_leaves_missing_cells_blank(report_runs):
    cells = {(cell.system, cell.shots): cell.auc for cell in records.cells(report_runs) if cell.domain == "movie"}
    rows, _ = table1.grid([cell for cell in records.cells(report_runs) if cell.domain == "movie"])
    for column, shots in ((2, 0), (3, 16)):
        best = max((auc, name) for (name, count), auc in cells.items() if count == shots)[1]
        assert [row[0] for row in rows if row[column].startswith("*")] == [best]
    assert next(row for row in rows if row[0] == "liked-ratio")[3:] == ["", "", "", ""]
    published, _ = table1.grid([cell for cell in records.published_cells() if cell.domain == "movie"])
    assert [row[0] for row in published if row[4].startswith("*")] == ["TLRec (latest block)"]
    everything = [*records.cells(report_runs), *records.published_cells()]
    both, _ = table1.grid([cell for cell in everything if cell.domain == "movie"])
    ours = {row[0] for row in both if row[3].startswith("*") and row[1] == "ours"}  # the best of each, not of both
    assert len(ours) == 1 and [row[0] for row in both if row[3].startswith("*") and row[1] == "published"] == [
        "TLRec (latest block)"]
    assert text_tables.markdown([["a"], ["*1"]]).endswith("| **1** |")
    assert r"\textbf{1\%}" in text_tables.latex([["a", "b"], ["", "*1%"]], "c")
