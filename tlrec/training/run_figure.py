"""The course of a tuning run as a figure: loss, validation and learning rate against optimiser steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlrec import files

FIGURE_FILE = "tuning_run.png"

TITLES = {"loss": "training loss", "eval_auc": "validation AUC", "eval_loss": "validation loss",
          "learning_rate": "learning rate"}


def draw(history: Sequence[dict[str, Any]], selected_step: int | None, path: Path) -> None:
    """Write a PNG with one panel for each value that was logged.

    history: TrainerState.log_history. selected_step: of the checkpoint that was kept, marked by a line; None: the last
    weights were.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from tlrec import plot_style

    series = {name: [(entry["step"], entry[name]) for entry in history if entry.get(name) is not None]
              for name in TITLES}
    series = {name: points for name, points in series.items() if points}
    with matplotlib.rc_context(plot_style.STYLE):
        figure = Figure(figsize=(plot_style.WIDTH, 2.2), dpi=150, layout="constrained")
        axes = figure.subplots(1, max(len(series), 1), squeeze=False)[0]
        for axis, (name, points) in zip(axes, series.items(), strict=False):
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, **plot_style.OURS | {"markersize": 2.5})
            if selected_step:
                axis.axvline(selected_step, **plot_style.LINE)
            axis.set_title(TITLES[name])
        line = "; the line is the selected checkpoint" if selected_step else ""
        plot_style.outer_labels(figure, "", f"optimiser step{line}")
        with files.partial_file(path) as partial:
            figure.savefig(partial, format="png", metadata={"Software": None})
