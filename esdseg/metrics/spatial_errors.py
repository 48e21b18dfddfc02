"""Missed and false cells of a class, by their distance to the nearest right cell.

A settlement that is mapped one cell off is another mistake than a village that is missed.
Distances are those of a king on a chessboard (Chebyshev), in label cells of 500 m: 1 is one of the eight
neighbours. They are taken within a tile, since what lies beyond its border is not known.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.metrics.scorecard import DISTANCE_NAMES, FAR_CELLS, ClassErrors, Mistakes, Settlements
from esdseg.metrics.scores import IntArray
from esdseg.sensors.classes import UNKNOWN_LABEL

NEIGHBOURS = np.ones((3, 3), dtype=bool)
"""Cells that touch, at a corner too, are one settlement."""

Mask = npt.NDArray[np.bool_]


def class_errors(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], class_index: int
) -> ClassErrors:
    """Measure how far the mistakes about a class lie from what they were mistaken for.

    Args:
        truth: Label indices of a tile, 255 is unknown, shape (height, width); unknown cells are left out.
        prediction: Predicted label indices, same shape.
        class_index: Label index of the class.

    Returns:
        Missed cells by the distance to the nearest cell that is predicted as the class, false ones by the
        distance to the nearest cell that truly is of it, and the groups of touching cells.
    """
    known = truth != UNKNOWN_LABEL
    is_true, is_predicted = (truth == class_index) & known, (prediction == class_index) & known
    true_groups, wholly_missed = _count_groups(is_true, is_predicted)
    predicted_groups, wholly_false = _count_groups(is_predicted, is_true)
    return ClassErrors(
        missed=_count_by_distance(is_true & ~is_predicted, is_predicted),
        false=_count_by_distance(is_predicted & ~is_true, is_true),
        settlements=Settlements(
            true=true_groups,
            wholly_missed=wholly_missed,
            predicted=predicted_groups,
            wholly_false=wholly_false,
        ),
    )


def add_up(errors: Sequence[ClassErrors]) -> ClassErrors:
    """Add up the mistakes of several tiles."""
    return ClassErrors(
        missed=_add_mistakes([tile.missed for tile in errors]),
        false=_add_mistakes([tile.false for tile in errors]),
        settlements=Settlements(
            **{
                name: sum(getattr(tile.settlements, name) for tile in errors)
                for name in Settlements.model_fields
            }
        ),
    )


def distance_to(cells: Mask) -> IntArray:
    """Return each cell's distance to the nearest of the given ones, 0 on them.

    Args:
        cells: At least one of them, shape (height, width).
    """
    distance: IntArray = ndimage.distance_transform_cdt(~cells, metric="chessboard").astype(np.int64)
    return distance


def _count_by_distance(mistakes: Mask, targets: Mask) -> Mistakes:
    counts = np.zeros(len(DISTANCE_NAMES), dtype=np.int64)
    if targets.any():
        distances = np.minimum(distance_to(targets)[mistakes], FAR_CELLS)
        counts[:-1] = np.bincount(distances, minlength=FAR_CELLS + 1)[1:]
    else:
        counts[-1] = mistakes.sum()
    return Mistakes(
        cells=int(counts.sum()), by_distance=dict(zip(DISTANCE_NAMES, counts.tolist(), strict=True))
    )


def _add_mistakes(mistakes: Sequence[Mistakes]) -> Mistakes:
    return Mistakes(
        cells=sum(tile.cells for tile in mistakes),
        by_distance={name: sum(tile.by_distance[name] for tile in mistakes) for name in DISTANCE_NAMES},
    )


def _count_groups(cells: Mask, touched_by: Mask) -> tuple[int, int]:
    """Count groups of touching cells, and those without a single cell of another set."""
    numbers, count = ndimage.label(cells, structure=NEIGHBOURS)
    touched = np.unique(numbers[cells & touched_by])
    return int(count), int(count) - int(touched.size)
