"""The front page's table: movie, one row a system, ours beside the published."""

from tlrec.evaluation.metrics import format_figure
from tlrec.reports import records, tables
from tlrec.reports.records import Cell

CONTROLS = ("liked-ratio", "liked-ratio+item-mean")
PUBLISHED = {"TALLRec": "TALLRec, LLaMA-7B", "TLRec (paper's block)": "TLRec, LLaMA-7B"}
SHOTS = (0, 16, 64, 256)
LEGEND = ("AUC x 100 on all of movie/test: ours, mean over seeds, and in parentheses the published. Columns: training "
          "rows of movie. UAUC x 100: of ours in the row's last column.")


def render(cells: list[Cell]) -> str:
    """The table as Markdown, and its legend. cells: ours and the published."""
    cells = [cell for cell in cells if cell.domain == "movie" and cell.auc is not None]
    most = max((cell.shots for cell in cells), default=0)
    columns = [*SHOTS, *([most] if most > SHOTS[-1] else [])]
    header = ["system", *(f"{shots:,}" if shots else "zero-shot" for shots in columns), "UAUC"]
    rows = [[records.ALIASES.get(name, name), *_figures(cells, name, name, columns)]
            for name in (*CONTROLS, *records.BASELINES)]
    rows += [[label, *_figures(cells, "", name, columns)] for name, label in PUBLISHED.items()]
    model = _language_model(cells)
    if model:
        rows.append([f"ours: {model}", *_figures(cells, model, "", columns)])
    rows = [header, *(row for row in rows if any(row[1:]))]
    few_seeds = any("†" in figure for row in rows for figure in row)
    note = " † of one seed, whereas the row's zero-shot figure is a mean." if few_seeds else ""
    return f"{tables.markdown(rows)}\n\n{LEGEND}{note}"


def _language_model(cells: list[Cell]) -> str | None:
    """Our language model's chain that was measured at the most shot counts, then with the most seeds."""
    ours = [cell for cell in cells if not cell.published and cell.group == "language models"]
    measured = {cell.system: (sum(c.system == cell.system for c in ours), sum(
        c.seeds for c in ours if c.system == cell.system)) for cell in ours}
    return max(measured, key=lambda name: measured[name], default=None)


def _figures(cells: list[Cell], ours: str, published: str, columns: list[int]) -> list[str]:
    """One row's cells without the name: `ours (published)` by shots, then UAUC of our last figure."""
    own = {cell.shots: cell for cell in cells if not cell.published and records.ALIASES.get(cell.system, cell.system)
           == ours}
    others = {cell.shots: cell for cell in cells if cell.published and cell.system == published}
    row = []
    for shots in columns:
        figures = []
        if shots in own:
            mark = "†" if own[shots].seeds == 1 and 0 in own and own[0].seeds > 1 else ""
            figures.append(format_figure(own[shots].auc, 2, 100) + mark)
        if shots in others:
            figures.append(f"({format_figure(others[shots].auc, 2, 100)})")
        row.append(" ".join(figures))
    return [*row, format_figure(own[max(own)].uauc, 2, 100) if own else ""]
