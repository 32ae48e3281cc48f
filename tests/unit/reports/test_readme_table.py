from report_records import parsed, record

from tlrec.reports import published, readme_table, seed_means


def test_front_page_render_shows_ours_beside_the_published(parsed_runs):
    rows = front_page_rows(readme_table.render([*seed_means.own_cells(parsed_runs), *published.cells()]))
    assert rows[0] == ["system", "zero-shot", "16", "64", "256", "8,000", "UAUC"] and len(rows) <= 13
    by_system = {row[0]: row[1:] for row in rows}
    cells = {(cell.system, cell.shots): cell for cell in seed_means.own_cells(parsed_runs) if cell.domain == "movie"}
    gru = cells["GRU4Rec", 16]
    assert by_system["GRU"][1] == f"{100 * gru.auc:.2f} (49.07)"
    assert by_system["GRU"][-1] == f"{100 * cells['GRU4Rec', 64].uauc:.2f}"
    assert by_system["GRU"][3] == "(52.89)" and by_system["TALLRec"][:3] == ["", "(67.24)", "(67.48)"]
    model = by_system["ours: smollm2-135m + netflix (512 rows)"]
    assert model[1].endswith("†") and not model[0].endswith("†")  # two seeds zero-shot, one at 16 shots


def test_a_language_model_tuned_on_all_rows_has_a_row_beside_the_chain(parsed_runs):
    on_all_rows = parsed(record("x", 0, 8000, [("movie", 8000)], "smollm2-135m"))
    on_some = parsed(record("x", 0, 2048, [("movie", 2048)], "other-1b"))
    rows = front_page_rows(readme_table.render(seed_means.own_cells([*parsed_runs, *on_all_rows, *on_some])))
    chain, alone = rows[-2:]
    assert chain[0] == "ours: smollm2-135m + netflix (512 rows)" and chain[5] == "" != chain[1]
    assert alone[0] == "ours: smollm2-135m" and alone[2:5] == ["", "", ""]
    assert alone[5] == f"{100 * on_all_rows[0].metrics.auc:.2f}"


def test_both_controls_share_a_row(parsed_runs):
    both = parsed(record("liked-ratio+item-mean", 0, 16))
    rows = front_page_rows(readme_table.render(seed_means.own_cells([*parsed_runs, *both])))
    ratio = next(run for run in parsed_runs if run.method == "liked-ratio")
    assert [row for row in rows if row[0].startswith("liked-ratio")] == [rows[1]]
    assert rows[1][1:3] == [f"{100 * run.metrics.auc:.2f}" for run in (ratio, *both)]
    assert rows[1][-1] == f"{100 * both[0].metrics.uauc:.2f}"


def front_page_rows(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
