"""What the pixels of a label cell look like as a few numbers: the features of the simple models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, UNKNOWN_LABEL
from esdseg.store.store import Store

FloatArray = npt.NDArray[np.float32]

STATISTICS = ("mean", "standard deviation", "95 % quantile")
"""Of each channel over a cell's pixels, in the order of the features."""

TileListener = Callable[[str], None]
"""Takes the name of a tile whose cells were described."""


def describe_cells(image: npt.NDArray[np.floating]) -> FloatArray:
    """Describe every label cell of an image by statistics of each channel.

    Args:
        image: Channels (C, 50h, 50w) as the store holds them; NaN and infinities are no data.

    Returns:
        Features (h, w, 3C): all means, then all standard deviations, then all 95 % quantiles; NaN where a
        channel has no data in a cell.
    """
    channels, height, width = image.shape
    features = np.empty(
        (height // CELL_SIZE_PX, width // CELL_SIZE_PX, len(STATISTICS), channels), np.float32
    )
    for row, column in np.ndindex(features.shape[:2]):
        top, left = row * CELL_SIZE_PX, column * CELL_SIZE_PX
        # A cell at a time, since copies of a whole image would not fit the processor's cache.
        cell = image[:, top : top + CELL_SIZE_PX, left : left + CELL_SIZE_PX]
        pixels = cell.reshape(channels, -1).astype(np.float32)
        # Most channels have no gaps, and describing those takes half the time.
        is_whole = np.isfinite(pixels.sum(axis=1))
        features[row, column][:, is_whole] = _describe_whole(pixels[is_whole])
        features[row, column][:, ~is_whole] = _describe_with_gaps(pixels[~is_whole])
    return features.reshape(*features.shape[:2], -1)


def _describe_whole(pixels: FloatArray) -> FloatArray:
    """Return the statistics (3, c) of channels (c, pixels) without gaps."""
    mean = pixels.mean(axis=1)
    deviations = pixels - mean[:, np.newaxis]
    std = np.sqrt(np.einsum("cp,cp->c", deviations, deviations) / pixels.shape[1])
    place = _rank(np.array(pixels.shape[1])) - 1
    return np.stack([mean, std, np.partition(pixels, place, axis=1)[:, place]])


def _describe_with_gaps(pixels: FloatArray) -> FloatArray:
    """Return the statistics (3, c) of channels (c, pixels), some pixels of which have no data."""
    known = np.isfinite(pixels)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, pixels, 0).sum(axis=1) / count
        std = np.sqrt((np.where(known, pixels - mean[:, np.newaxis], 0) ** 2).sum(axis=1) / count)
    rising = np.sort(np.where(known, pixels, np.inf), axis=1)
    place = np.maximum(_rank(count) - 1, 0)
    quantile = np.take_along_axis(rising, place[:, np.newaxis], axis=1)[:, 0]
    return np.stack([mean, std, np.where(count > 0, quantile, np.nan)])


def _rank(count: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return ``ceil(0.95 * count)`` in whole numbers: the smallest value that 95 % do not exceed."""
    return (19 * count + 19) // 20


@dataclass(frozen=True)
class LabelledCells:
    """Cells whose class is known, to fit a model to.

    Attributes:
        features: Statistics of each cell (cells, 3C); NaN is no data.
        labels: Class indices (cells,), 0 to 3.
        weights: How much each cell counts (cells,).
    """

    features: FloatArray
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


class CellFeatures:
    """Describes the cells of a store's tiles when they are asked for, each tile once.

    No scale acts on the features, so they are the same for every model and every fold.

    Args:
        store: The store.
        channels: The channels to describe, in their order.
        on_tile: Called for each tile before it is described.
    """

    def __init__(
        self, store: Store, channels: Sequence[Channel], on_tile: TileListener | None = None
    ) -> None:
        self._store = store
        self._channels = tuple(channels)
        self._on_tile = on_tile
        self._described: dict[str, FloatArray] = {}

    def of_tile(self, tile: str) -> FloatArray:
        """Return the features (16, 16, 3C) of a tile (``InputDataError`` where it cannot be read)."""
        if tile not in self._described:
            if self._on_tile is not None:
                self._on_tile(tile)
            positions = self._store.positions(tile, self._channels)
            self._described[tile] = describe_cells(self._store.read_tile(tile, positions))
        return self._described[tile]

    def labelled(self, tiles: Sequence[str], class_weights: npt.NDArray[np.float64]) -> LabelledCells:
        """Return the cells of some tiles whose class is known, weighed by their classes (4,)."""
        features = np.concatenate([self.of_tile(tile).reshape(GRID_SIZE**2, -1) for tile in tiles])
        labels = np.concatenate([self._store.labels(tile).ravel() for tile in tiles]).astype(np.int64)
        known = labels != UNKNOWN_LABEL
        return LabelledCells(features[known], labels[known], class_weights[labels[known]])
