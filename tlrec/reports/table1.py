"""Table 1: systems x domains x shots, ours beside the published, and what stands behind each of our figures."""

import re
from collections.abc import Iterable
from dataclasses import astuple, fields
from functools import partial

from tlrec.evaluation.intervals import MIN_USERS
from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.reports import records, table_formats
from tlrec.reports.seed_means import ID_ROWS, Cell
from tlrec.reports.table_formats import Bold

HEADER = ["system", "figures"]
DETAILS = ["system", "shots", "seeds", "n", "AUC", "95% interval", "UAUC", "GAUC", "stratified", "Spearman",
           "published"]
GRID_NOTE = ("AUC x 100: mean ± standard deviation over seeds (their number). Bold: the best of a column if above "
             "50, ours and published apart. Blank: not run, or not published. Column names count rows of the tested "
             "domain.")
DETAIL_NOTE = (f"n: test rows. 95% interval: jackknife over users where they are known, else over rows; †: percentile "
               "bootstrap, of records whose predictions were not kept; with several seeds the mean of their intervals; "
               f"undefined from fewer than {MIN_USERS} users. UAUC, GAUC: mean of the users' AUC, of equal weight and "
               "weighted by their rows. stratified: AUC among rows with equal numbers of liked and of disliked titles. "
               "Spearman: of the score with liked-ratio. All but Spearman x 100.")
ID_ROWS_NOTE = ("id rows: tested on the authors' baseline/books/test.csv (where a name says own id rows, on others), "
                "another shuffle of the users than the text, as their baselines were; a difference from a row on the "
                "text is not one of systems alone. GRU-BERT and DROS-BERT are blank there without BX-Books.csv, whose "
                "titles they read.")
WARMTH = ["system", "shots", "n, warm", "n, cold", "AUC, all", "warm", "cold", "UAUC, all", "warm", "cold"]
WARMTH_NOTE = ("x 100. warm: the user and the item of the row are the user and the target of rows of train; cold: the "
               "others.")
_percent = partial(format_figure, digits=2, scale=100)


def render(cells: list[Cell]) -> dict[str, str]:
    """The whole report as text by file ending: md, tex and csv. cells: ours and the published."""
    domains = dict.fromkeys([*records.DOMAINS, *sorted(cell.domain for cell in cells)])
    markdown, latex = [], []

    def add(heading: str, caption: str, rows: list[list[str]], rules: set[int], note: str) -> None:
        markdown.extend([heading, table_formats.markdown(rows), note])
        latex.append(table_formats.latex(rows, f"{caption} {note}", rules))

    for domain in domains:
        inside = [cell for cell in cells if cell.domain == domain]
        id_rows = f" {ID_ROWS_NOTE}" if any(cell.figures == ID_ROWS for cell in inside) else ""
        add(f"### {domain}/test", f"{domain}:", *grid(inside), GRID_NOTE + id_rows)
        if any(not cell.published for cell in inside):
            add(f"Behind our figures on {domain}/test:", f"{domain}, our figures.", *details(inside), DETAIL_NOTE)
        if any(cell.warm_n for cell in inside):
            add(f"Warm and cold rows of {domain}/test:", f"{domain}, warm and cold rows.", *warmth(inside), WARMTH_NOTE)
    lines = [[round(value, 6) if isinstance(value, float) else value for value in astuple(cell)]
             for cell in ordered(cells)]
    return {"md": "\n\n".join(markdown) + "\n", "tex": "\n\n".join(latex) + "\n",
            "csv": table_formats.comma_separated([[field.name for field in fields(Cell)], *lines])}


def grid(cells: list[Cell]) -> tuple[list[list[str]], set[int]]:
    """(rows with the header first, rows above which a group begins) of one domain."""
    columns = sorted({cell.shots for cell in cells} | {0, 16, 64, 256})
    by_row: dict[tuple[str, str, str], dict[int, Cell]] = {}
    best: dict[tuple[str, int], float] = {}
    for cell in ordered(cells):
        by_row.setdefault((cell.group, cell.system, cell.figures), {})[cell.shots] = cell
        best[cell.figures, cell.shots] = max(cell.auc or 0, best.get((cell.figures, cell.shots), 0))

    def text(cell: Cell | None) -> str:
        if cell is None:
            return ""
        spread = "" if cell.auc_sd is None else f" ± {_percent(cell.auc_sd)} ({cell.seeds})"
        figure = _percent(cell.auc) + spread
        return Bold(figure) if (cell.auc or 0) > 0.5 and cell.auc == best[cell.figures, cell.shots] else figure

    rows = [[*HEADER, *(f"{shots:,}" if shots else "zero-shot" for shots in columns)]]
    rows += [[name, source, *(text(at.get(shots)) for shots in columns)] for (_, name, source), at in by_row.items()]
    return rows, _rules([group for group, _, _ in by_row])


def details(cells: list[Cell]) -> tuple[list[list[str]], set[int]]:
    """One row for each of our cells of one domain; last column: the published figure of the same system."""
    beside = {(cell.system, cell.shots): _percent(cell.auc) for cell in cells if cell.published}
    ours = ordered(cell for cell in cells if not cell.published)
    rows = [[
        cell.system, f"{cell.shots:,}", str(cell.seeds), f"{cell.n:,}",
        _percent(cell.auc) + (f" ± {_percent(cell.auc_sd)}" if cell.auc_sd is not None else ""),
        format_interval(cell.interval, 1, 100) + "†" * ("bootstrap" in (cell.interval_rule or "")),
        *(_percent(value) if value is not None else "" for value in (cell.uauc, cell.gauc, cell.stratified_auc)),
        "" if cell.spearman_liked_ratio is None else format_figure(cell.spearman_liked_ratio, 2).replace("-", "−"),
        beside.get((cell.published_name.partition(" [")[0], cell.shots), ""),
    ] for cell in ours]
    return [DETAILS, *rows], _rules([cell.group for cell in ours])


def warmth(cells: list[Cell]) -> tuple[list[list[str]], set[int]]:
    """One row for each of our cells of one domain with figures of its warm and cold rows."""
    ours = ordered(cell for cell in cells if cell.warm_n)
    rows = [[
        cell.system, f"{cell.shots:,}", f"{cell.warm_n:,}", f"{(cell.n or 0) - (cell.warm_n or 0):,}",
        *(_percent(value) for value in (cell.auc, cell.warm_auc, cell.cold_auc, cell.uauc, cell.warm_uauc,
                                        cell.cold_uauc)),
    ] for cell in ours]
    return [WARMTH, *rows], _rules([cell.group for cell in ours])


def _rules(groups: list[str]) -> set[int]:
    """Rows, counted with the header, above which another group begins."""
    return {row + 1 for row in range(1, len(groups)) if groups[row] != groups[row - 1]}


def ordered(cells: Iterable[Cell]) -> list[Cell]:
    """Controls, baselines in the published order (ours before the published), language models; then shots."""
    known = [*records.CONTROLS, *records.BASELINES]

    def sort_key(cell: Cell) -> tuple:
        name = cell.published_name
        stem = next((k for k in records.BASELINES if name == k or name.startswith((f"{k} ", f"{k},"))), name)
        rank = known.index(stem) if stem in known else len(known)
        language_model = cell.group == "language models"
        return (records.GROUPS.index(cell.group), language_model and cell.published, rank, cell.published,
                cell.system.count(" + "), [int(word) if word.isdigit() else word for word in
                                           re.split(r"(\d+)", cell.system.replace(",", ""))], cell.shots)

    return sorted(cells, key=sort_key)
