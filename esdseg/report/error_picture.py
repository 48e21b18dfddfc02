"""``errors.png``: the mistakes of every tile as maps, the worst tile first."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from esdseg.metrics.score_table import show
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.look import (
    FAINT_COLOR,
    SMALL_SIZE,
    TEXT_COLOR,
    TITLE_SIZE,
    add_legend_below,
    new_figure,
    save_png,
)
from esdseg.sensors.classes import CONTEST_CLASS, UNKNOWN_LABEL

ERRORS_NAME = "errors.png"

OUTCOMES = (
    ("class 1, found", "#4d4d4d"),
    ("class 1, missed", "#d55e00"),
    ("class 1 on the map alone", "#0072b2"),
    ("other classes mixed up", "#e8c468"),
    ("right, not class 1", "#f0f0f0"),
    ("unknown", "#ffffff"),
)
"""What a cell can be, and its colour: Okabe and Ito's for the mistakes, greys for what is right."""

FOUND, MISSED, FALSE, MIXED_UP, RIGHT, UNKNOWN = range(len(OUTCOMES))

MAX_COLUMNS = 6
MIN_COLUMNS = 4
"""Fewer tiles leave columns empty, so that the legend has room."""

PANEL_INCHES = 2.1


def cell_outcomes(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Say of each cell what became of it.

    Args:
        truth: Label indices, 255 is unknown, any shape.
        prediction: Predicted label indices, same shape.

    Returns:
        Positions in :data:`OUTCOMES`, same shape.
    """
    there, seen = truth == CONTEST_CLASS.index, prediction == CONTEST_CLASS.index
    conditions = [truth == UNKNOWN_LABEL, there & seen, there, seen, truth != prediction]
    outcomes = np.select(conditions, [UNKNOWN, FOUND, MISSED, FALSE, MIXED_UP], default=RIGHT)
    return outcomes.astype(np.uint8)


def write_error_picture(folder: Path, predictions: Sequence[TilePrediction], card: Scorecard) -> Path:
    """Write ``errors.png``; see :func:`draw_error_picture`."""
    return save_png(draw_error_picture(predictions, card), folder / ERRORS_NAME)


def draw_error_picture(predictions: Sequence[TilePrediction], card: Scorecard) -> Figure:
    """Draw the mistakes of each tile, the worst first and those whose score is undefined last.

    Args:
        predictions: Labelled tiles, at least one.
        card: Their scores, which rank them.
    """
    by_name = {prediction.tile: prediction for prediction in predictions}
    order = [*card.errors.ranking[::-1], *card.errors.unranked]
    columns = max(MIN_COLUMNS, min(MAX_COLUMNS, len(order)))
    rows = ceil(len(order) / columns)
    figure = new_figure(PANEL_INCHES * columns, (PANEL_INCHES + 0.3) * rows + 0.9)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = np.array([to_rgb(color) for _, color in OUTCOMES])
    for axes, tile in zip(panels, order, strict=False):
        outcomes = cell_outcomes(by_name[tile].truth, by_name[tile].classes)
        axes.imshow(colors[outcomes], interpolation="nearest")
        # A tile may be called anything, so a $ in its name must not start a formula.
        axes.set_title(
            f"{_shorten(tile)}: {show(card.tiles_detail[tile].contest_f1)}",
            fontsize=SMALL_SIZE,
            color=TEXT_COLOR,
            pad=4,
            parse_math=False,
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=FAINT_COLOR, linewidth=0.6)
    for axes in panels[len(order) :]:
        axes.set_axis_off()
    figure.suptitle(
        "Mistakes of each tile and its contest F1, the worst tile first; a square is a cell of 500 m",
        fontsize=TITLE_SIZE,
        color=TEXT_COLOR,
    )
    handles = [
        Patch(facecolor=color, edgecolor=FAINT_COLOR, linewidth=0.6, label=title) for title, color in OUTCOMES
    ]
    add_legend_below(figure, handles, columns=3)
    return figure


def _shorten(tile: str, longest: int = 18) -> str:
    return tile if len(tile) <= longest else f"{tile[: longest - 1]}…"
