"""The front page's table: one domain, one row a system, ours beside the published."""

from tlrec.evaluation.metrics import format_figure
from tlrec.reports import published, records, table_formats
from tlrec.reports.seed_means import Cell

CONTROLS = ("liked-ratio", "liked-ratio+item-mean")
BOTH_CONTROLS = "liked-ratio (with rows: +item-mean)"  # the sum without any row is liked-ratio
PUBLISHED = ("TALLRec", "TLRec: step123+instrument (results in the paper)", published.LATEST)  # of LLaMA-7B
SHOTS = (0, 16, 64, 256)
LEGEND = ("AUC x 100 on all of {target}/test: ours, mean over seeds, and in parentheses the published. TALLRec and "
          "TLRec: LLaMA-7B. Columns: training rows of {target}. UAUC x 100: of ours in the row's last column.")


def render(cells: list[Cell], target: str = "movie") -> str:
    """The table as Markdown, and its legend. cells: ours and the published."""
    cells = [cell for cell in cells if cell.domain == target and cell.auc is not None]
    ours: dict[str, dict[int, Cell]] = {}
    theirs: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        side, name = (theirs, cell.system) if cell.published else (ours, cell.published_name)
        side.setdefault(name, {})[cell.shots] = cell
    if all(name in ours for name in CONTROLS):
        ours[BOTH_CONTROLS] = ours.pop(CONTROLS[0]) | ours.pop(CONTROLS[1])
    columns = sorted({*SHOTS, max((cell.shots for cell in cells), default=0)})
    rows = [[name, *_figures(ours.get(name, {}), theirs.get(name, {}), columns)]
            for stem in (BOTH_CONTROLS, *CONTROLS, *records.BASELINES)
            for name in (stem, *sorted(name for name in ours if name.startswith(f"{stem} [")))]
    rows += [[name, *_figures({}, theirs.get(name, {}), columns)] for name in PUBLISHED]
    models = {name: at for name, at in ours.items() if any(cell.group == "language models" for cell in at.values())}
    if models:  # the chain with the most shot counts, then the most seeds; and those tuned on all rows
        chain = max(models, key=lambda name: (len(models[name]), sum(cell.seeds for cell in models[name].values())))
        all_rows = {columns[-1]} - {*SHOTS}
        on_all_rows = [name for name in models if name != chain and all_rows & {*models[name]}]
        rows += [[f"ours: {name}", *_figures(models[name], {}, columns)] for name in (chain, *on_all_rows)]
    header = ["system", *(f"{shots:,}" if shots else "zero-shot" for shots in columns), "UAUC"]
    rows = [header, *(row for row in rows if any(row[1:]))]
    few_seeds = any("†" in figure for row in rows for figure in row)
    note = " † of one seed, whereas the row's zero-shot figure is a mean." if few_seeds else ""
    return f"{table_formats.markdown(rows)}\n\n{LEGEND.format(target=target)}{note}"


def _figures(ours: dict[int, Cell], published: dict[int, Cell], columns: list[int]) -> list[str]:
    """One row's cells without the name: `ours (published)` by shots, then UAUC of our last figure."""
    row = []
    for shots in columns:
        own, other = ours.get(shots), published.get(shots)
        mark = "†" if own and own.seeds == 1 and 0 in ours and ours[0].seeds > 1 else ""
        row.append(" ".join([*([format_figure(own.auc, 2, 100) + mark] if own else []),
                             *([f"({format_figure(other.auc, 2, 100)})"] if other else [])]))
    return [*row, format_figure(ours[max(ours)].uauc, 2, 100) if ours else ""]
