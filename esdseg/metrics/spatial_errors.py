"""Where a class is missed or on the map alone, by distance.

A settlement that is mapped one cell off is another mistake than a village that is missed.
Distances are those of a king on a chessboard (Chebyshev), in label cells of 500 m: 1 is one of the eight
neighbours. They are taken within a tile, since what lies beyond its border is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.metrics.arrays import IntArray
from esdseg.sensors.classes import UNKNOWN_LABEL

FAR = 4
"""Distances from this on, in cells, are counted together: 2 km and more."""

DISTANCE_NAMES = (*map(str, range(1, FAR)), f"{FAR}_or_more", "none_in_tile")
"""Names of the counts by distance; the last is of cells with nothing to measure the distance to."""

NEIGHBOURS = np.ones((3, 3), dtype=bool)
"""Cells that touch, at a corner too, are one settlement."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SpatialErrors:
    """The mistakes made about one class in one tile or more.

    Attributes:
        missed: Cells of the class that are predicted as another, by the distance to the nearest cell
            predicted as it, shape (5,) as in :data:`DISTANCE_NAMES`.
        false: Cells predicted as the class that are of another, by the distance to the nearest cell that
            truly is of it, shape (5,).
        patches: Groups of touching cells of the class.
        patches_missed: Of these, how many have no cell that is predicted as the class.
        predicted_patches: Groups of touching cells predicted as the class.
        predicted_patches_false: Of these, how many have no cell that truly is of the class.
    """

    missed: IntArray
    false: IntArray
    patches: int
    patches_missed: int
    predicted_patches: int
    predicted_patches_false: int


def spatial_errors(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], class_index: int
) -> SpatialErrors:
    """Measure how far mistakes lie from what they were mistaken for.

    Args:
        truth: Label indices of a tile, 255 is unknown, shape (height, width); unknown cells are left out.
        prediction: Predicted label indices, same shape.
        class_index: Label index of the class.
    """
    known = truth != UNKNOWN_LABEL
    there, seen = (truth == class_index) & known, (prediction == class_index) & known
    patches, patches_missed = _count_patches(there, seen)
    predicted_patches, predicted_patches_false = _count_patches(seen, there)
    return SpatialErrors(
        missed=_count_by_distance(there & ~seen, seen),
        false=_count_by_distance(seen & ~there, there),
        patches=patches,
        patches_missed=patches_missed,
        predicted_patches=predicted_patches,
        predicted_patches_false=predicted_patches_false,
    )


def add_up(errors: Sequence[SpatialErrors]) -> SpatialErrors:
    """Add up the mistakes of several tiles."""
    none = np.zeros(len(DISTANCE_NAMES), dtype=np.int64)
    return SpatialErrors(
        missed=sum((one.missed for one in errors), none),
        false=sum((one.false for one in errors), none),
        patches=sum(one.patches for one in errors),
        patches_missed=sum(one.patches_missed for one in errors),
        predicted_patches=sum(one.predicted_patches for one in errors),
        predicted_patches_false=sum(one.predicted_patches_false for one in errors),
    )


def distance_to(cells: Mask) -> IntArray:
    """Return each cell's distance to the nearest of the given ones, 0 on them.

    Args:
        cells: At least one of them, shape (height, width).
    """
    distance: IntArray = ndimage.distance_transform_cdt(~cells, metric="chessboard").astype(np.int64)
    return distance


def _count_by_distance(mistakes: Mask, targets: Mask) -> IntArray:
    counts = np.zeros(len(DISTANCE_NAMES), dtype=np.int64)
    if not targets.any():
        counts[-1] = mistakes.sum()
        return counts
    distances = np.minimum(distance_to(targets)[mistakes], FAR)
    counts[:-1] = np.bincount(distances, minlength=FAR + 1)[1:]
    return counts


def _count_patches(cells: Mask, touched_by: Mask) -> tuple[int, int]:
    """Count groups of touching cells, and those without a single cell of another set."""
    numbers, count = ndimage.label(cells, structure=NEIGHBOURS)
    touched = np.unique(numbers[cells & touched_by])
    return int(count), int(count) - int(touched.size)
