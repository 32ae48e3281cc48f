import json

import pytest

from tlrec.evaluation.metrics import format_figure
from tlrec.reports import curves, published


def test_cells_hold_every_note_under_its_own_label_in_both_domains():
    notes = published.figures()["tlrec_notes"]
    cells = {(cell.system, cell.domain, cell.shots): cell for cell in published.cells()}
    for domain in ("movie", "book"):
        noted = {(f"TLRec: {label}", domain, shots): value for label, values in notes[domain].items()
                 for shots, value in zip((0, 16, 64, 256), values, strict=True) if value is not None}
        of_domain = {key: cell for key, cell in cells.items() if key[1] == domain and key[0].startswith("TLRec")}
        assert of_domain.keys() == noted.keys()
        assert all(format_figure(cell.percent, 2) == format_figure(noted[key], 2) and cell.seeds == 1
                   for key, cell in of_domain.items())
        for triple in ("first", "second"):  # no mean of the two, in neither domain
            assert (f"TLRec: no label, {triple} triple (latest results)", domain, 256) in cells
    assert max(cells.values(), key=lambda cell: cell.auc).percent == 75.09
    assert (published.LATEST, "book", 256) not in cells  # noted without a figure
    assert curves.published_stages("book") == pytest.approx(
        {"untuned": 46.21, "+ CoT": 60.02, "+ source": 67.37, "+ 16": 67.34, "+ 64": 65.15})


def test_notes_below_the_latest_results_of_book_have_the_label_above_them():
    """shell/evaluate_book.sh of ljy2222/TLRec at 561abcf: four values under alpaca_step123_instrument."""
    labels = {figure: label for label, values in published.figures()["tlrec_notes"]["book"].items()
              for figure in values if figure is not None}
    assert {labels[figure].split(",")[0] for figure in (55.7, 54.34, 60.67, 60.64)} == {"alpaca_step123_instrument"}
    assert all("(below the latest results)" in labels[figure] for figure in (55.7, 54.34, 60.67, 60.64, 61.17))


def test_page_prints_every_figure_with_its_source():
    text = published.page()
    for subject, content in published.figures().items():
        if subject != "metric":
            assert content["source"] in text
            digits, numbers = 4 if subject == "collm_split_ml_1m" else 2, []
            json.loads(json.dumps(content), parse_float=numbers.append)
            assert len(numbers) > 10 and all(f" {float(number):.{digits}f} " in text for number in numbers)
