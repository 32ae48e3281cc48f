import csv
import dataclasses
import io
import statistics

import numpy as np
import pytest
from report_records import parsed, record

from tlrec.reports import published, records, seed_means, table1, table_formats


def test_table1_averages_seeds_beside_the_published(report_runs):
    texts = table1.render([*seed_means.own_cells(parsed(*report_runs)), *published.cells()])
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


def test_table1_names_rows_on_the_ids_of_book(report_runs):
    ids = record("GRU", 0, 16, domain="book")
    ids["test_data"] |= {"path": "baseline/books/test.csv", "sha256": "another"}
    runs = parsed(*report_runs, ids)
    assert "id rows" not in table1.render(seed_means.own_cells(parsed(*report_runs)))["md"]
    kept, _ = records.on_full_split(runs, "test")  # beside the text rows of the domain
    assert kept == runs
    texts = table1.render([*seed_means.own_cells(kept), *published.cells()])
    movie, book = texts["md"].split("### book/test")
    assert "id rows" not in movie and table1.ID_ROWS_NOTE in book
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in book.splitlines() if line.startswith("| GRU ")]
    assert rows[:2] == [["GRU", "ours, id rows"], ["GRU", "published"]]
    detail = next(line for line in book.splitlines() if line.startswith("| GRU ") and "ours" not in line
                  and "published" not in line)
    assert detail.split("|")[-2].strip() == "48.95"  # the published cell beside it


def test_table1_shows_warm_and_cold_rows_where_a_record_has_them(report_runs):
    part = {"n": 90, "auc": 0.625, "uauc": None, "uauc_users": 0}
    run = next(run for run in report_runs if run["system"] == "GRU4Rec")
    warm = run["metrics"] | {"warm": part, "cold": part | {"n": 30, "auc": 0.5, "uauc": 0.75}}
    text = table1.render(seed_means.own_cells(parsed(run | {"metrics": warm})))["md"]
    (line,) = [line for line in text.partition("Warm and cold rows")[2].splitlines() if line.startswith("| GRU4Rec")]
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[3:5] == ["90", "30"] and cells[6:8] == ["62.50", "50.00"] and cells[9:11] == ["undefined", "75.00"]
    assert "Warm and cold" not in table1.render(seed_means.own_cells(parsed(*report_runs)))["md"]


def test_table1_grid_marks_no_cell_that_does_not_beat_chance(parsed_runs):
    cells = [dataclasses.replace(cell, auc=0.5) for cell in seed_means.own_cells(parsed_runs)]
    rows, _ = table1.grid([cell for cell in cells if cell.domain == "movie"])
    assert "50.00" in str(rows) and not any(isinstance(text, table_formats.Bold) for row in rows for text in row)


def test_table1_grid_marks_the_best_and_leaves_missing_cells_blank(parsed_runs):
    cells = {(cell.system, cell.shots): cell.auc for cell in seed_means.own_cells(parsed_runs)
             if cell.domain == "movie"}
    rows, _ = table1.grid([cell for cell in seed_means.own_cells(parsed_runs) if cell.domain == "movie"])
    for column, shots in ((2, 0), (3, 16)):
        best = max((auc, name) for (name, count), auc in cells.items() if count == shots)[1]
        assert [row[0] for row in rows if isinstance(row[column], table_formats.Bold)] == [best]
    assert next(row for row in rows if row[0] == "liked-ratio")[3:] == ["", "", "", ""]
    theirs, _ = table1.grid([cell for cell in published.cells() if cell.domain == "movie"])
    highest = "TLRec: no label, second triple (latest results)"
    assert [(row[0], row[5]) for row in theirs if isinstance(row[5], table_formats.Bold)] == [(highest, "75.09")]
    everything = [*seed_means.own_cells(parsed_runs), *published.cells()]
    both, _ = table1.grid([cell for cell in everything if cell.domain == "movie"])
    best = [row[:2] for row in both if isinstance(row[3], table_formats.Bold)]  # of each, not of both
    assert sorted(figures for _, figures in best) == ["ours", "published"] and [
        highest, "published"] in best
    assert table_formats.markdown([["a"], [table_formats.Bold("1")]]).endswith("| **1** |")
    assert r"\textbf{1\%}" in table_formats.latex([["a", "b"], ["", table_formats.Bold("1%")]], "c")
