"""The map of an area in memory: what was predicted in each cell, and what else the products tell of it."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.tiles.cell_grid import CellGrid


@dataclass(frozen=True)
class AreaMap:
    """The map of an area.

    Attributes:
        grid: The cells, R rows and C columns.
        probabilities: Of the four classes in each cell, (4, R, C) float32; NaN in cells without data.
        channel_share: Share of the network's channels that each cell has, (R, C) float32, 0 to 1.
        light: Brightest clean night light of each cell in the sensor's numbers, (R, C) float32; NaN where
            there is none.
        picture: The ground in true colours, (R * p, C * p, 3) uint8 with p pixels a cell; 0 where nothing was
            seen.
        dates: The dates that were used, by sensor.
    """

    grid: CellGrid
    probabilities: npt.NDArray[np.float32]
    channel_share: npt.NDArray[np.float32]
    light: npt.NDArray[np.float32]
    picture: npt.NDArray[np.uint8]
    dates: dict[str, tuple[date, ...]]

    @property
    def is_mapped(self) -> npt.NDArray[np.bool_]:
        """Which cells have data, (R, C)."""
        mapped: npt.NDArray[np.bool_] = np.all(np.isfinite(self.probabilities), axis=0)
        return mapped

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """The most probable class of each cell, (R, C) uint8, 0 to 3; 255 without data."""
        best = np.where(self.is_mapped, self.probabilities, 0.0).argmax(axis=0)
        return np.where(self.is_mapped, best, UNKNOWN_LABEL).astype(np.uint8)
