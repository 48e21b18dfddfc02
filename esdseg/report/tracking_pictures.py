"""Pictures for monitoring: restitched validation tiles, and the confusion matrix."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import numpy.typing as npt

from esdseg.sensors.classes import CLASSES, NUM_CLASSES, UNKNOWN_LABEL

Grid = npt.NDArray[np.integer]
Picture = npt.NDArray[np.uint8]

CELL_SIDE_PX = 16
"""Side of a label cell in a picture; its edges stay sharp."""

GAP_PX = 8
"""White between truth and prediction."""

LABEL_WIDTH = 16
"""Letters in a line of a class' title."""

UNKNOWN_RGB = (128, 128, 128)


def side_by_side(truth: Grid, prediction: Grid) -> Picture:
    """Draw a tile's truth, left, beside its prediction in class colours.

    Args:
        truth: Class indices (16, 16), 0 to 3; 255, unknown, is grey.
        prediction: Class indices (16, 16).

    Returns:
        RGB (height, width, 3).
    """
    panels = [color_map(truth), color_map(prediction)]
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def color_map(classes: Grid) -> Picture:
    """Draw class indices (H, W) in class colours, each cell a square, as RGB."""
    table = np.full((UNKNOWN_LABEL + 1, 3), UNKNOWN_RGB, np.uint8)
    table[:NUM_CLASSES] = [label_class.rgb for label_class in CLASSES]
    return np.kron(table[classes], np.ones((CELL_SIDE_PX, CELL_SIDE_PX, 1), np.uint8))


def draw_confusion(confusion: npt.NDArray[np.int64], titles: Sequence[str]) -> Picture:
    """Draw a confusion matrix: counts in cells that are the darker, the larger their share of the true class.

    Args:
        confusion: Cells by truth (rows) and prediction (columns), (4, 4).
        titles: Names of the classes.

    Returns:
        RGB (height, width, 3).
    """
    # Matplotlib takes a moment to import and runs without monitoring do without.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*confusion.shape):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{confusion[row, column]}\n{share:.0%}",
            ha="center",
            va="center",
            color="white" if share > 0.5 else "black",
        )
    positions = range(len(titles))
    wrapped = [fill(title, LABEL_WIDTH) for title in titles]
    axes.set_xticks(positions, wrapped, fontsize="small")
    axes.set_yticks(positions, wrapped, fontsize="small")
    axes.set(xlabel="Prediction", ylabel="Truth", title="Validation cells (share of the true class)")
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
