"""The table of MovieLens-1M."""

from report_records import parsed, record

from tlrec.reports import ml_1m_table


def test_table_shows_ours_beside_the_published():
    runs = parsed(record("item-mean", None, 33_891, domain="ml-1m"), record("item-mean", None, 8_000, domain="movie"),
                  record("GRU", 0, 33_891, domain="ml-1m"), record("GRU", 1, 33_891, domain="ml-1m"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ml_1m_table.render(runs).splitlines()[2:]]
    assert [row[:2] for row in rows[:2]] == [["item-mean", "ours"], ["GRU", "ours (2)"]]
    assert rows[0][3] == f"{100 * runs[0].metrics.auc:.2f}"
    published = {row[0]: (row[3], row[5]) for row in rows if row[1] == "published"}
    assert published["TALLRec, Vicuna-7B"] == ("70.97", "68.18")
    short = ml_1m_table.render(runs, short=True)
    assert "item-mean" in short and "GRU" not in short and "CoLLM-DIN" in short
