"""Table 1: systems x domains x shots, ours beside the published, and what stands behind each of our figures."""

import re
from collections.abc import Iterable
from functools import partial

from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.reports import records, tables
from tlrec.reports.records import Cell

HEADER = ["system", "figures"]
DETAILS = ["system", "shots", "seeds", "n", "AUC", "95% interval", "UAUC", "stratified", "Spearman", "published"]
CSV_HEADER = ["system", "group", "figures", "domain", "shots", "seeds", "n", "auc", "auc_sd", "auc_low", "auc_high",
              "uauc", "stratified_auc", "spearman_liked_ratio"]
GRID_NOTE = ("AUC x 100: mean ± standard deviation over seeds (their number). Bold: the best of a column, ours and "
             "published apart. Blank: not run, or not published. Column names count rows of the tested domain.")
DETAIL_NOTE = ("n: test rows. 95% interval: bootstrap over users where they are known, else over rows; with several "
               "seeds the mean of their intervals. stratified: AUC among rows with an equal number of liked titles. "
               "Spearman: of the score with liked-ratio. All but Spearman x 100.")
_percent = partial(format_figure, digits=2, scale=100)


def render(cells: list[Cell]) -> dict[str, str]:
    """The whole report as text by file ending: md, tex and csv. cells: ours and the published."""
    domains = dict.fromkeys([*records.DOMAINS, *sorted(cell.domain for cell in cells)])
    markdown, latex = [], []
    for domain in domains:
        inside = [cell for cell in cells if cell.domain == domain]
        rows, rules = grid(inside)
        markdown += [f"### {domain}/test", tables.markdown(rows), GRID_NOTE]
        latex.append(tables.latex(rows, f"{domain}: {GRID_NOTE}", rules))
        if any(not cell.published for cell in inside):
            rows, rules = details(inside)
            markdown += [f"Behind our figures on {domain}/test:", tables.markdown(rows), DETAIL_NOTE]
            latex.append(tables.latex(rows, f"{domain}, our figures. {DETAIL_NOTE}", rules))
    return {"md": "\n\n".join(markdown) + "\n", "tex": "\n\n".join(latex) + "\n",
            "csv": tables.comma_separated([CSV_HEADER, *map(_csv_row, ordered(cells))])}


def grid(cells: list[Cell]) -> tuple[list[list[str]], set[int]]:
    """(rows with the header first, rows above which a group begins) of one domain."""
    columns = sorted({cell.shots for cell in cells} | {0, 16, 64, 256})
    best = {(shots, source): max((cell.auc for cell in cells if cell.shots == shots and cell.published == source
                                  and cell.auc is not None), default=None)
            for shots in columns for source in (False, True)}
    rows, rules, group = [[*HEADER, *(f"{shots:,}" if shots else "zero-shot" for shots in columns)]], set(), None
    for name, published, kind in dict.fromkeys((cell.system, cell.published, cell.group) for cell in ordered(cells)):
        at = {cell.shots: cell for cell in cells if (cell.system, cell.published) == (name, published)}
        if group not in (None, kind):
            rules.add(len(rows))
        group = kind
        rows.append([name, "published" if published else "ours",
                     *(_grid_cell(at.get(shots), best[shots, published]) for shots in columns)])
    return rows, rules


def details(cells: list[Cell]) -> tuple[list[list[str]], set[int]]:
    """One row for each of our cells of one domain; last column: the published figure of the same system."""
    beside = {(cell.system, cell.shots): cell.auc for cell in cells if cell.published}
    rows, rules, group = [DETAILS], set(), None
    for cell in ordered(cell for cell in cells if not cell.published):
        if group not in (None, cell.group):
            rules.add(len(rows))
        group = cell.group
        rows.append([
            cell.system, f"{cell.shots:,}", str(cell.seeds), f"{cell.n:,}",
            _percent(cell.auc) + (f" ± {_percent(cell.sd)}" if cell.sd is not None else ""),
            format_interval(None if cell.low is None or cell.high is None else (cell.low, cell.high), 1, 100),
            *(_percent(value) if value is not None else "" for value in (cell.uauc, cell.stratified)),
            "" if cell.spearman is None else format_figure(cell.spearman, 2).replace("-", "−"),
            _percent(beside[published_name(cell), cell.shots]) if (published_name(cell), cell.shots) in beside else "",
        ])
    return rows, rules


def published_name(cell: Cell) -> str:
    return records.ALIASES.get(cell.system, cell.system)


def ordered(cells: Iterable[Cell]) -> list[Cell]:
    """Controls, baselines in the published order (ours before the published), language models; then shots."""
    known = [*records.CONTROLS, *records.BASELINES]

    def sort_key(cell: Cell) -> tuple:
        name = published_name(cell)
        stem = next((k for k in records.BASELINES if name == k or name.startswith((f"{k} ", f"{k},"))), name)
        rank = known.index(stem) if stem in known else len(known)
        language_model = cell.group == "language models"
        return (records.GROUPS.index(cell.group), language_model and cell.published, rank, cell.published,
                cell.system.count(" + "), [int(word) if word.isdigit() else word for word in
                                           re.split(r"(\d+)", cell.system.replace(",", ""))], cell.shots)

    return sorted(cells, key=sort_key)


def _grid_cell(cell: Cell | None, best: float | None) -> str:
    if cell is None:
        return ""
    text = _percent(cell.auc)
    if cell.sd is not None:
        text += f" ± {_percent(cell.sd)} ({cell.seeds})"
    return f"*{text}" if cell.auc is not None and cell.auc == best else text


def _csv_row(cell: Cell) -> list:
    figures = (cell.auc, cell.sd, cell.low, cell.high, cell.uauc, cell.stratified, cell.spearman)
    return [cell.system, cell.group, "published" if cell.published else "ours", cell.domain, cell.shots, cell.seeds,
            "" if cell.n is None else cell.n, *("" if value is None else round(value, 6) for value in figures)]
