"""Figures from the record, PNG and SVG. Marks, lines and positions tell systems apart, never colour alone."""

import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlrec.reports import records, table1
from tlrec.reports.records import Cell

STYLE = {"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False,
         "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False,
         "svg.hashsalt": "tlrec", "svg.fonttype": "path"}
INK, GREY, BAND, REFERENCE = "0.0", "0.45", "0.85", "0.3"
OURS = {"color": INK, "marker": "o", "markersize": 4, "linewidth": 1.2}
PUBLISHED = [{"color": GREY, "marker": "s", "markersize": 4, "markerfacecolor": "white", "linewidth": 1,
              "linestyle": "--"},
             {"color": GREY, "marker": "^", "markersize": 4.5, "markerfacecolor": "white", "linewidth": 1,
              "linestyle": (0, (1, 1))}]
WIDTH = 7.2  # inches: the text width of a page
STAGES = ("untuned", "+ alpaca", "+ CoT", "+ source", "+ 16", "+ 64", "+ 256")
PUBLISHED_STAGES = {"untuned": "LLaMA-7B, untuned", "+ CoT": "alpaca + CoT", "+ 16": "16-shot", "+ 64": "64-shot",
                    "+ 256": "256-shot"}


def draw(found: list[dict], folder: Path) -> tuple[list[Path], list[str]]:
    """Write every figure that these evaluations allow; returns the files, and notes on figures that they do not."""
    paths, notes = [], []
    with matplotlib.rc_context(STYLE):
        for domain in dict.fromkeys([*records.DOMAINS, *(record["test_domain"] for record in found)]):
            inside = [record for record in found if record["test_domain"] == domain]
            figures = {"auc_against_shots": auc_against_shots, "chain_stages": chain_stages,
                       "auc_by_user": auc_by_user, "reliability": reliability}
            for name, function in figures.items():
                figure = function(inside, domain) if inside else None
                if figure is None:
                    notes.append(f"no {name}_{domain}: the record has nothing for it")
                    continue
                for ending, options in (("png", {"dpi": 200}), ("svg", {"metadata": {"Date": None}})):
                    paths.append(folder / f"{name}_{domain}.{ending}")
                    figure.savefig(paths[-1], bbox_inches="tight", **options)
    return paths, notes


def auc_against_shots(found: list[dict], domain: str) -> Figure | None:
    """One panel a system: ours with a band of one standard deviation over seeds, the published beside it."""
    cells = [cell for cell in records.cells(found) if cell.auc is not None]
    published = [cell for cell in records.published_cells() if cell.domain == domain]
    panels: dict[str, tuple[list[Cell], dict[str, list[Cell]]]] = {}
    for cell in table1.ordered([*cells, *(c for c in published if c.group == "baselines")]):
        name = cell.system if not cell.published else next(
            (c.system for c in cells if table1.published_name(c) == cell.system), cell.system)
        ours, theirs = panels.setdefault(name, ([], {}))
        if cell.published:
            theirs.setdefault("published", []).append(cell)
        else:
            ours.append(cell)
            if cell.group == "language models":
                theirs |= {label: [c for c in published if c.system == label]
                           for label in ("TALLRec", "TLRec (latest block)")}
    liked = next((cell.auc for cell in panels.pop("liked-ratio", ([], {}))[0]), None)
    if not panels:
        return None
    columns = sorted({cell.shots for cell in [*cells, *published]})
    place = {shots: number for number, shots in enumerate(columns)}
    figure, axes = _panels(len(panels), 4, 1.75, sharex=True, sharey=True)
    for axis, (name, (ours, theirs)) in zip(axes, panels.items(), strict=True):
        if liked is not None:
            axis.axhline(100 * liked, color=REFERENCE, linewidth=0.7, linestyle=(0, (4, 2, 1, 2)))
        for style, (label, line) in zip(PUBLISHED, theirs.items(), strict=False):
            style = PUBLISHED[1] if label.startswith("TLRec") else style
            axis.plot([place[c.shots] for c in line], [100 * c.auc for c in line], label=label, **style)
        where, means = [place[c.shots] for c in ours], np.array([100 * c.auc for c in ours])
        spread = np.array([100 * (c.sd or 0) for c in ours])
        axis.fill_between(where, means - spread, means + spread, color=BAND, linewidth=0)
        axis.errorbar(where, means, spread, label="ours" if ours else None, capsize=2, elinewidth=0.7, **OURS)
        axis.set_title(_wrapped(name))
        axis.set_xticks(range(len(columns)), [f"{shots:,}" for shots in columns])
    _outer_labels(figure, axes, f"rows of {domain} tuned on", "AUC x 100")
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if liked is not None:
        handles["liked-ratio"] = axes[0].lines[0]
    _legend(figure, handles)
    return figure


def chain_stages(found: list[dict], domain: str) -> Figure | None:
    """One panel a chain: AUC after each stage as steps, the published chain in grey."""
    models = [record for record in found if records.group(record) == "language models"]
    cells = {(c.system, c.shots): c for c in records.cells(models) if c.auc is not None}
    chains = {records.system(record): record for record in models}
    longest = {name: record for name, record in chains.items()
               if any(c[0] == name and c[1] for c in cells) or not any(o.startswith(f"{name} + ") for o in chains)}
    if not longest:
        return None
    block = records.published_figures()["tlrec_llama_7b"].get(f"{domain}, block 'latest results'", {})
    zero_shot = {"+ source": value for name, value in block.items() if name.endswith("(zero-shot)")}
    theirs = zero_shot | {stage: block[name] for stage, name in PUBLISHED_STAGES.items() if name in block}
    figure, axes = _panels(len(longest), 2, 2.4, sharex=True, sharey=True)
    for axis, (name, record) in zip(axes, longest.items(), strict=True):
        _steps(axis, theirs, PUBLISHED[0] | {"label": "LLaMA-7B, published (TLRec, latest block)"}, 5)
        ours, base = {}, record["base_model"]
        before = [("untuned", base)]
        for stage, _ in records.stages(record):
            kind = {"alpaca": "+ alpaca", "stage123": "+ CoT"}.get(stage, "+ source")
            before.append((kind, next(s for s in _prefixes(record) if s.count(" + ") == len(before))))
        ours |= {kind: 100 * cells[system, 0].auc for kind, system in before if (system, 0) in cells}
        ours |= {f"+ {shots}": 100 * cells[name, shots].auc for shots in (16, 64, 256) if (name, shots) in cells}
        _steps(axis, ours, OURS | {"label": "ours"}, -11)
        axis.set_title(_wrapped(name, 48))
        axis.set_xticks(range(len(STAGES)), STAGES)
        axis.margins(y=0.15)
    _outer_labels(figure, axes, None, "AUC x 100")
    _legend(figure, {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)})
    return figure


def _prefixes(record: dict) -> list[str]:
    """Names of the systems that lie on the way to this one, from the base model on."""
    parts = records.system(record).split(" + ")
    return [" + ".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _steps(axis: Axes, values: dict[str, float], style: dict, offset: float) -> None:
    """A step a stage: level where the stage stands, a riser between two; each value is written at its level."""
    stages = [stage for stage in STAGES if stage in values]
    where, heights = [STAGES.index(stage) for stage in stages], [values[stage] for stage in stages]
    axis.step(where, heights, where="mid", **style)
    for x, y in zip(where, heights, strict=True):
        axis.annotate(f"{y:.1f}", (x, y), (0, offset), textcoords="offset points", ha="center", fontsize=7,
                      color=style["color"])


def auc_by_user(found: list[dict], domain: str) -> Figure | None:
    """A strip for each system at its most shots: one mark a user (mean over seeds), a bar at UAUC."""
    rows = [(label, runs) for label, runs in _most_shots(found) if all(r["metrics"].get("auc_by_user") for r in runs)]
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 0.6 + 0.3 * len(rows)))
    axis = figure.subplots()
    axis.axvline(0.5, color=REFERENCE, linewidth=0.7, linestyle="--")
    for height, (_, runs) in enumerate(rows):
        users = runs[0]["metrics"]["auc_by_user"]
        values = np.array([np.mean([run["metrics"]["auc_by_user"][user] for run in runs]) for user in users])
        jitter = 0.22 * (np.arange(len(values)) % 3 - 1)
        axis.plot(values, height + jitter, "o", markersize=4, markerfacecolor="none", markeredgecolor=GREY)
        axis.plot([values.mean()] * 2, [height - 0.38, height + 0.38], color=INK, linewidth=2)
        axis.text(1.03, height, f"{values.mean():.3f}", va="center", transform=axis.get_yaxis_transform())
    axis.text(1.03, -0.9, "UAUC", va="center", transform=axis.get_yaxis_transform())
    axis.set_yticks(range(len(rows)), [label for label, _ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel(f"AUC within a user of {domain}/test; bar: UAUC, their mean")
    return figure


def reliability(found: list[dict], domain: str) -> Figure | None:
    """One panel for each system whose score is a probability, at its most shots and first seed."""
    runs = [(label, runs[0]) for label, runs in _most_shots(found) if runs[0]["metrics"].get("calibration_bins")]
    if not runs:
        return None
    figure, axes = _panels(len(runs), 4, 1.85, sharex=True, sharey=True)
    for axis, (label, run) in zip(axes, runs, strict=True):
        counts, means, shares = np.array(run["metrics"]["calibration_bins"]).T
        axis.plot([0, 1], [0, 1], color=REFERENCE, linewidth=0.7, linestyle="--")
        axis.plot(means, shares, color=INK, linewidth=0.8)
        axis.scatter(means, shares, 6 + 120 * counts / counts.sum(), facecolor=BAND, edgecolor=INK, linewidth=0.8,
                     zorder=3)
        axis.set_title(_wrapped(label))
        axis.text(0.97, 0.04, f"error {run['metrics']['calibration_error']:.3f}", ha="right", transform=axis.transAxes)
        axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    _outer_labels(figure, axes, "mean predicted probability of Yes (area: rows)", f"share of Yes in {domain}/test")
    return figure


def _most_shots(found: list[dict]) -> list[tuple[str, list[dict]]]:
    """(name with shots, runs by seed) of each system at its most shots, in the order of Table 1."""
    chosen = []
    for name in dict.fromkeys(cell.system for cell in table1.ordered(records.cells(found))):
        most = max(records.shots(record) for record in found if records.system(record) == name)
        runs = [r for r in found if records.system(r) == name and records.shots(r) == most]
        chosen.append((f"{name}, {most:,} rows" if most else name, sorted(runs, key=lambda run: run["seed"] or 0)))
    return chosen


def _panels(count: int, columns: int, height: float, **shared) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH * max(columns, 2) / max(columns, 2), height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[max(count - columns, 0) : count]:  # the lowest panel of each column
        axis.tick_params(labelbottom=True)
    return figure, list(axes[:count])


def _outer_labels(figure: Figure, axes: list[Axes], below: str | None, left: str) -> None:
    figure.supylabel(left, fontsize=8)
    if below:
        figure.supxlabel(below, fontsize=8)


def _legend(figure: Figure, handles: dict[str, object]) -> None:
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), handlelength=3)


def _wrapped(name: str, width: int = 26) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, width))


