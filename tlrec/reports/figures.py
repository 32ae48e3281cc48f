"""Figures from the record, PNG and SVG: AUC against shots, the chain's stages, AUC by user, reliability."""

import re
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tlrec import files, plot_style
from tlrec.evaluation.metrics import format_figure
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.plot_style import BAND, GREY, INK, REFERENCE
from tlrec.reports import curves, records, table1
from tlrec.reports.seed_means import cells_with_runs


def draw(evaluations: list[EvaluationRecord], folder: Path) -> tuple[list[Path], list[str]]:
    """Write every figure that these evaluations allow; returns the files, and notes on figures that they do not."""
    paths, notes = [], []
    with matplotlib.rc_context(plot_style.STYLE):
        for domain in dict.fromkeys([*records.DOMAINS, *(record.test_domain for record in evaluations)]):
            inside = [record for record in evaluations if record.test_domain == domain]
            for name, function in FIGURES.items():
                figure = function(inside, domain) if inside else None
                if name == "auc_by_user" and figure is not None:
                    notes += [f"{name}_{domain} leaves out {label}: a record of it has no AUC by user"
                              for label, runs in _most_shots(inside) if not _by_user(runs)]
                if figure is None:
                    notes.append(f"no {name}_{domain}: the record has nothing for it")
                    continue
                stem = name + "_" + re.sub(r"[^\w.-]", "_", domain)
                for ending, options in (("png", {"dpi": 200}), ("svg", {"metadata": {"Date": None}})):
                    paths.append(folder / f"{stem}.{ending}")
                    with files.partial_file(paths[-1]) as partial:
                        figure.savefig(partial, format=ending, bbox_inches="tight", **options)
    return paths, notes


def auc_by_user(evaluations: list[EvaluationRecord], domain: str) -> Figure | None:
    """A strip for each system at its most shots: one mark a user (mean over seeds), a bar at UAUC."""
    rows = [(label, runs) for label, runs in _most_shots(evaluations) if _by_user(runs)]
    if not rows:
        return None
    figure = Figure(figsize=(plot_style.WIDTH, 0.6 + 0.3 * len(rows)))
    axis = figure.subplots()
    axis.axvline(0.5, color=REFERENCE, linewidth=0.7, linestyle="--")
    for height, (_, runs) in enumerate(rows):
        by_user = [run.metrics.auc_by_user or {} for run in runs]
        users = [user for user in by_user[0] if all(user in aucs for aucs in by_user)]
        values = np.array([np.mean([aucs[user] for aucs in by_user]) for user in users])
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


def reliability(evaluations: list[EvaluationRecord], domain: str) -> Figure | None:
    """One panel for each system whose score is a probability, at its most shots and first seed."""
    runs = [(label, runs[0]) for label, runs in _most_shots(evaluations) if runs[0].metrics.calibration_bins]
    if not runs:
        return None
    figure, axes = plot_style.panels(len(runs), 4, 1.85)
    for axis, (label, run) in zip(axes, runs, strict=True):
        counts, means, shares = np.array(run.metrics.calibration_bins).T
        axis.plot([0, 1], [0, 1], color=REFERENCE, linewidth=0.7, linestyle="--")
        axis.plot(means, shares, color=INK, linewidth=0.8)
        axis.scatter(means, shares, 6 + 120 * counts / counts.sum(), facecolor=BAND, edgecolor=INK, linewidth=0.8,
                     zorder=3)
        axis.set_title(plot_style.wrapped(label))
        error = format_figure(run.metrics.calibration_error, 3)
        axis.text(0.97, 0.04, f"error {error}", ha="right", transform=axis.transAxes)
        axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    plot_style.outer_labels(figure, f"share of Yes in {domain}/test", "mean predicted probability of Yes (area: rows)")
    return figure


def _by_user(runs: list[EvaluationRecord]) -> bool:
    return all(run.metrics.auc_by_user for run in runs)


def _most_shots(evaluations: list[EvaluationRecord]) -> list[tuple[str, list[EvaluationRecord]]]:
    """(name with shots, runs by seed) of each system at its most shots, in the order of Table 1."""
    runs = dict(cells_with_runs(evaluations))
    most = {cell.system: cell for cell in table1.ordered(runs)}  # which puts the most shots last
    return [(f"{name}, {cell.shots:,} rows" if cell.shots else name, runs[cell]) for name, cell in most.items()]


FIGURES = {"auc_against_shots": curves.auc_against_shots, "chain_stages": curves.chain_stages,
           "auc_by_user": auc_by_user, "reliability": reliability}
