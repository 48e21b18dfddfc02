"""``errors.png``: the mistakes of every tile as maps, the worst tile first."""

import textwrap
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from esdseg.metrics.score_table import describe_tiles, show
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.look import (
    FAINT_COLOR,
    SMALL_SIZE,
    TEXT_COLOR,
    add_legend_below,
    add_title,
    new_figure,
    save_png,
    shorten,
)
from esdseg.sensors.classes import CONTEST_CLASS, UNKNOWN_LABEL, UNKNOWN_RGB

ERRORS_NAME = "errors.png"

OUTCOMES = (
    (f"{CONTEST_CLASS.title}: found", "#4d4d4d"),
    (f"{CONTEST_CLASS.title}: missed", "#d55e00"),
    (f"{CONTEST_CLASS.title}: false alarm", "#0072b2"),
    ("Other classes: mixed up", "#e8c468"),
    ("Other classes: right", "#f4f4f4"),
    ("Unknown", to_hex(np.array(UNKNOWN_RGB) / 255)),
)
"""What a cell can be, and its colour: Okabe and Ito's for the mistakes, greys for what is right."""

FOUND, MISSED, FALSE_ALARM, MIXED_UP, RIGHT, UNKNOWN = range(len(OUTCOMES))

MAX_COLUMNS = 6
WIDTH_INCHES = 8.4
"""Of up to four columns, so that few tiles are drawn larger; more columns are as wide as these four."""

CHARACTERS_AN_INCH = 10
"""Of the title, on average."""

LONGEST_RUN = 60
LONGEST_TILE = 18


def cell_outcomes(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Say of each cell what became of it.

    Args:
        truth: Label indices, 255 is unknown, any shape.
        prediction: Predicted label indices, 255 is no data, same shape.

    Returns:
        Positions in :data:`OUTCOMES`, same shape.
    """
    there, seen = truth == CONTEST_CLASS.index, prediction == CONTEST_CLASS.index
    is_unknown = (truth == UNKNOWN_LABEL) | (prediction == UNKNOWN_LABEL)
    conditions = [is_unknown, there & seen, there, seen, truth != prediction]
    outcomes = np.select(conditions, [UNKNOWN, FOUND, MISSED, FALSE_ALARM, MIXED_UP], default=RIGHT)
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
    rows = ceil(len(order) / MAX_COLUMNS)
    # As even as the rows can be.
    columns = ceil(len(order) / rows)
    width = WIDTH_INCHES * (0.75 if columns == 1 else max(1, columns / 4))
    figure = new_figure(width, (width / columns + 0.3) * rows + 1.3)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = np.array([to_rgb(color) for _, color in OUTCOMES])
    shown = set(range(UNKNOWN))
    for axes, tile in zip(panels, order, strict=False):
        outcomes = cell_outcomes(by_name[tile].truth, by_name[tile].classes)
        shown |= set(outcomes.ravel().tolist())
        axes.imshow(colors[outcomes], interpolation="nearest")
        # A tile may be called anything, so a $ in its name must not start a formula.
        axes.set_title(
            f"{shorten(tile, LONGEST_TILE)}: {show(card.tiles_detail[tile].contest_f1)}",
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
    title = (
        f"Mistakes of {shorten(card.run, LONGEST_RUN)} on {describe_tiles(card.split, len(order))}",
        "Contest F1 of each tile, worst first; a square is a cell of 500 m",
    )
    longest = int(CHARACTERS_AN_INCH * width)
    add_title(figure, "\n".join(textwrap.fill(line, longest) for line in title))
    handles = [
        Patch(facecolor=color, edgecolor=FAINT_COLOR, linewidth=0.6, label=title)
        for outcome, (title, color) in enumerate(OUTCOMES)
        if outcome in shown
    ]
    add_legend_below(figure, handles, columns=2)
    return figure
