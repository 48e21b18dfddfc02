"""The confusion matrix as a picture: counts, and the share of each true class."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esdseg.metrics.confusion import divide
from esdseg.report.look import FAINT_COLOR, TEXT_COLOR, new_figure, save_png
from esdseg.sensors.classes import CLASSES, NUM_CLASSES

CONFUSION_MATRIX_NAME = "confusion_matrix.png"

SWATCH_CELLS = 0.16
"""Side of the class colours beside the axes, in cells of the matrix."""

DARKEST_SHARE = 1.3
"""The share that would be black; 100 % stays a dark grey."""

DARK_SHARE = 0.75
"""Shares above this are drawn so dark that the text on them is white."""

LINE_COLOR = "#c4c4c4"


def write_confusion_matrix(folder: Path, counts: npt.NDArray[np.integer]) -> Path:
    """Write ``confusion_matrix.png``; see :func:`draw_confusion_matrix`."""
    return save_png(draw_confusion_matrix(counts), folder / CONFUSION_MATRIX_NAME)


def draw_confusion_matrix(counts: npt.NDArray[np.integer]) -> Figure:
    """Draw a confusion matrix.

    Args:
        counts: Cells by true class (rows) and predicted class (columns), (4, 4).
    """
    shares = divide(counts, counts.sum(axis=1, keepdims=True))
    figure = new_figure(7.8, 6.5)
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(shares), cmap="Greys", vmin=0, vmax=DARKEST_SHARE)
    for row, column in np.ndindex(counts.shape):
        _write_cell(axes, row, column, int(counts[row, column]), float(shares[row, column]))
    titles = [f"{one.code}  {_two_lines(one.title)}" for one in CLASSES]
    totals = [
        f"{title}\n{int(total):,} cells" for title, total in zip(titles, counts.sum(axis=1), strict=True)
    ]
    axes.set_xticks(range(NUM_CLASSES), titles, fontsize=9)
    axes.set_yticks(range(NUM_CLASSES), totals, fontsize=9)
    axes.set_xticks(np.arange(0.5, NUM_CLASSES - 1), minor=True)
    axes.set_yticks(np.arange(0.5, NUM_CLASSES - 1), minor=True)
    axes.grid(which="minor", color=LINE_COLOR, linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.tick_params(axis="x", pad=26, labelcolor=TEXT_COLOR)
    axes.tick_params(axis="y", pad=32, labelcolor=TEXT_COLOR)
    axes.set_xlabel("Predicted class", fontsize=11, color=TEXT_COLOR, labelpad=10)
    axes.set_ylabel("True class", fontsize=11, color=TEXT_COLOR, labelpad=10)
    axes.set_title(
        "Confusion matrix: cells, and their share of the true class", fontsize=12, color=TEXT_COLOR, pad=12
    )
    for spine in axes.spines.values():
        spine.set(color=LINE_COLOR)
    _draw_swatches(axes)
    return figure


def _write_cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    color = "white" if share > DARK_SHARE else TEXT_COLOR
    text = "–" if np.isnan(share) else f"{100 * share:.0f} %"
    weight = "bold" if row == column else "normal"
    axes.text(
        column, row - 0.1, f"{count:,}", ha="center", va="center", color=color, fontsize=14, fontweight=weight
    )
    axes.text(
        column,
        row + 0.19,
        text,
        ha="center",
        va="center",
        color=color,
        fontsize=10,
    )


def _draw_swatches(axes: Axes) -> None:
    """Put each class's colour beside its row and below its column."""
    edge = NUM_CLASSES - 0.5
    for one in CLASSES:
        for corner in (
            (-0.5 - 1.5 * SWATCH_CELLS, one.index - SWATCH_CELLS / 2),
            (one.index - SWATCH_CELLS / 2, edge + 0.5 * SWATCH_CELLS),
        ):
            axes.add_patch(
                Rectangle(
                    corner,
                    SWATCH_CELLS,
                    SWATCH_CELLS,
                    facecolor=one.color,
                    edgecolor=FAINT_COLOR,
                    linewidth=0.6,
                    clip_on=False,
                )
            )


def _two_lines(title: str) -> str:
    """Break a class title before its electricity, such as ``Settlement / with electricity``."""
    return re.sub(",? with", "\nwith", title)
