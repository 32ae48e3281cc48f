"""The grid of training domains x test domains."""

from report_records import parsed, record

from tlrec.reports import cross_domain, records


def cells(text):
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {(row[0], row[1]): row[2:] for row in rows[2:] if row}


def test_grid_has_a_mean_over_seeds_for_each_training_and_test_domain():
    base = "llama-7b"
    runs = [record("x", seed, 64, [("alpaca", 9), (tuned, rows)], base, domain=tested)
            for seed in (0, 1) for tuned, rows in (("movie", 64), ("movie+book", 128)) for tested in ("movie", "book")]
    read = parsed(*runs, record("x", 0, 16, [("movie", 16)], base), record("GRU4Rec", 0, 64))
    grid = cells(cross_domain.render(read, 64))
    name = "llama-7b + alpaca (9 rows)"
    mean = 50 * (runs[0]["metrics"]["auc"] + runs[4]["metrics"]["auc"])
    assert grid[name, "movie"][0] == f"{mean:.2f} (2)" and grid[name, "movie"][1] == ""
    assert all(grid[name, tested][2] for tested in ("movie", "book"))
    assert grid[cross_domain.PUBLISHED, "movie"] == ["65.83", "64.20", ""]
    assert grid[cross_domain.PUBLISHED, "book"] == ["59.99", "60.35", ""]
    assert cells(cross_domain.render(read, 16)).keys() == {("llama-7b", "movie"), ("llama-7b", "book")}
    assert cross_domain.STAGES_NOTE not in cross_domain.render(read, 64)
    staged = parsed(record("x", 0, 64, [("netflix", 512), ("movie", 64)], base))
    assert cross_domain.render(read + staged, 64).endswith(cross_domain.STAGES_NOTE)
    # in Table 1, rows of the tested domain count as shots, and the stage of both domains stays in the name
    both = next(run for run in read if run.chain[-1] == "movie+book")
    assert records.shots(both) == 64 and records.system(both).endswith("+ movie+book (128 rows)")
