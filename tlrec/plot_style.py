"""Style, panels and labels of the figures. Marks, lines and positions tell systems apart, never colour alone."""

import math
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False,
         "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.labelsize": 7,
         "legend.frameon": False, "svg.hashsalt": "tlrec", "svg.fonttype": "path",
         "text.parse_math": False}
INK, GREY, BAND, REFERENCE = "0.0", "0.45", "0.85", "0.3"
OURS: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4, "linewidth": 1.2}
TALLREC: dict[str, Any] = {
    "color": GREY, "marker": "s", "markersize": 4, "markerfacecolor": "white", "linewidth": 1, "linestyle": "--"}
TLREC = TALLREC | {"marker": "^", "markersize": 4.5, "linestyle": (0, (1, 1))}
LINE: dict[str, Any] = {"color": REFERENCE, "linewidth": 0.7, "linestyle": (0, (4, 2, 1, 2))}
WIDTH = 7.2  # inches: the text width of a page


def panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """`count` panels of `height` inches with shared axes, numbered below the lowest of each column."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis in axes[count:]:
        axis.remove()
    for axis in axes[max(count - columns, 0) : count]:
        axis.tick_params(labelbottom=True)
    return figure, list(axes[:count])


def outer_labels(figure: Figure, left: str, below: str = "") -> None:
    figure.supylabel(left, fontsize=8)
    if below:
        figure.supxlabel(below, fontsize=8)


def legend(figure: Figure, axes: list[Axes]) -> None:
    """One legend above all panels, each label once."""
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), handlelength=3)


def wrapped(name: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(name, width))
