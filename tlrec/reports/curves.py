"""Curves over shots and steps over the stages of a chain, ours and the published."""

import numpy as np
from matplotlib.figure import Figure

from tlrec import plot_style
from tlrec.evaluation.record_schema import EvaluationRecord, chain_name
from tlrec.plot_style import BAND, OURS, TALLREC, TLREC
from tlrec.reports import published, records, seed_means, table1
from tlrec.reports.seed_means import Cell

STAGES = ("untuned", "+ alpaca", "+ CoT", "+ source", "+ 16", "+ 64", "+ 256")
KINDS = {"alpaca": "+ alpaca", "stage123": "+ CoT", "stage123_rules": "+ CoT"}  # any other stage is a source
TABLE_1, LLAMA = "published (TALLRec's Table 1)", "LLaMA-7B, published (TLRec, latest results)"
# label: the published system drawn beside our language models
LANGUAGE_MODELS = {TABLE_1: "TALLRec", "TLRec, latest results": published.LATEST}
PUBLISHED_STAGES = {"TLRec: llama base model (latest results)": "untuned",
                    "TLRec: alpaca_step123 (latest results)": "+ CoT", published.LATEST: "+ source"}
Chain = tuple[tuple[str, int | None], ...]  # base model, then (name, rows) of its stages


def auc_against_shots(evaluations: list[EvaluationRecord], domain: str) -> Figure | None:
    """One panel a system: ours with a band of one standard deviation over seeds, the published beside it."""
    cells = [cell for cell in seed_means.own_cells(evaluations) if cell.auc is not None]
    theirs = [cell for cell in published.cells() if cell.domain == domain]
    own_names = {cell.published_name: cell.system for cell in reversed(cells)}
    panels: dict[str, dict[str, list[Cell]]] = {}  # by system and label
    for cell in table1.ordered([*cells, *(c for c in theirs if c.group == "baselines")]):
        name = own_names.get(cell.system, cell.system) if cell.published else cell.system
        panels.setdefault(name, {}).setdefault(TABLE_1 if cell.published else "ours", []).append(cell)
        if cell.group == "language models":
            panels[name] |= {label: [c for c in theirs if c.system == system]
                             for label, system in LANGUAGE_MODELS.items()}
    liked = panels.pop("liked-ratio", {}).get("ours", [])
    if not panels:
        return None
    columns = sorted({cell.shots for cell in [*cells, *theirs]})
    position = {shots: number for number, shots in enumerate(columns)}
    figure, axes = plot_style.panels(len(panels), 4, 1.75)
    for axis, (name, lines) in zip(axes, panels.items(), strict=True):
        for cell in liked[:1]:
            axis.axhline(cell.percent, label="liked-ratio", **plot_style.LINE)
        for label in [label for label in (*LANGUAGE_MODELS, "ours") if label in lines]:
            where, means = [position[c.shots] for c in lines[label]], np.array([c.percent for c in lines[label]])
            if label != "ours":
                axis.plot(where, means, label=label, **(TALLREC if label == TABLE_1 else TLREC))
                continue
            spread = np.array([100 * (c.auc_sd or 0) for c in lines[label]])
            axis.fill_between(where, means - spread, means + spread, color=BAND, linewidth=0)
            axis.errorbar(where, means, spread, label=label, capsize=2, elinewidth=0.7, **OURS)
        axis.set_title(plot_style.wrapped(name))
        axis.set_xticks(range(len(columns)), [f"{shots:,}" for shots in columns])
        axis.set_xlim(-0.4, len(columns) - 0.6)
    plot_style.outer_labels(figure, "AUC x 100", f"rows of {domain} tuned on")
    plot_style.legend(figure, axes)
    return figure


def chain_stages(evaluations: list[EvaluationRecord], domain: str) -> Figure | None:
    """One panel a chain: AUC after each stage as steps, the published chain in grey."""
    models = [record for record in evaluations
              if records.group(record) == "language models" and record.method != "api"]
    cells: dict[Chain, dict[int, list[Cell]]] = {}  # by base model and stages, then by shots
    for cell, runs in seed_means.cells_with_runs(models):
        if cell.auc is not None:
            chain = (str(runs[0].base_model), None), *records.stages(runs[0])
            cells.setdefault(chain, {}).setdefault(cell.shots, []).append(cell)
    longest = [chain for chain, at in cells.items() if max(at) or not any(
        other[: len(chain)] == chain and other != chain for other in cells)]
    if not longest:
        return None
    theirs = published_stages(domain)
    figure, axes = plot_style.panels(len(longest), 2, 2.4)
    for axis, chain in zip(axes, longest, strict=True):
        name = chain_name(chain[0][0], chain[1:])
        kinds = ["untuned", *(KINDS.get(stage, "+ source") for stage, _ in chain[1:])]
        steps = [*((kind, chain[:count], 0) for count, kind in enumerate(kinds, 1)),
                 *((f"+ {shots}", chain, shots) for shots in (16, 64, 256))]
        ours = {}
        for step, prefix, shots in steps:
            at = cells.get(prefix, {}).get(shots, [])
            if len(at) == 1:  # systems of one name that differ in a setting have no line in common
                ours[step] = at[0].percent
        for values, others, style in ((theirs, ours, TALLREC), (ours, theirs, OURS)):
            stages = [stage for stage in STAGES if stage in values]
            where, heights = [STAGES.index(stage) for stage in stages], [values[stage] for stage in stages]
            axis.step(where, heights, where="mid", label="ours" if values is ours else LLAMA, **style)
            for stage, x, y in zip(stages, where, heights, strict=True):
                above = y > others.get(stage, y - 1)  # the higher one is written above, the lower one below
                axis.annotate(f"{y:.1f}", (x, y), (0, 5 if above else -11), textcoords="offset points", ha="center",
                              fontsize=7, color=style["color"])
        axis.set_title(plot_style.wrapped(name, 48))
        axis.set_xticks(range(len(STAGES)), STAGES)
        axis.margins(x=0.08, y=0.15)
    plot_style.outer_labels(figure, "AUC x 100")
    plot_style.legend(figure, axes)
    return figure


def published_stages(domain: str) -> dict[str, float]:
    """AUC x 100 of the published chain by stage."""
    return {f"+ {cell.shots}" if cell.shots else PUBLISHED_STAGES[cell.system]: cell.percent
            for cell in published.cells() if cell.domain == domain and cell.system in PUBLISHED_STAGES}
