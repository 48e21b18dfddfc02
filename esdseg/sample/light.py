"""Lamps and the light they throw on the ground, from which electricity in the labels follows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.fields import FloatArray
from esdseg.sensors.grid import CELL_SIZE_PX, GRID_SIZE, TILE_SIZE_PX

LAMP_SPREAD_PX = 5.0
"""Standard deviation of the light that one lamp throws on the ground: 50 m."""

LIT_THRESHOLD = 4e-4
"""Light a pixel needs to count as lit, in lamps a pixel: one lamp lights about 115 m around it."""


@dataclass(frozen=True)
class Lamps:
    """Outdoor lamps that burn at night, one entry each.

    Attributes:
        row: Position in pixels from the tile's upper edge, 0 to 800.
        column: The same from the left edge.
        power: Radiance a lamp adds to one VIIRS pixel right above it, in product units.
    """

    row: FloatArray
    column: FloatArray
    power: FloatArray


def count_map(row: FloatArray, column: FloatArray) -> FloatArray:
    """Count positions, in pixels, into the tile's pixels: ``(800, 800)``."""
    pixel = np.clip(np.floor(row), 0, TILE_SIZE_PX - 1).astype(np.int64) * TILE_SIZE_PX + np.clip(
        np.floor(column), 0, TILE_SIZE_PX - 1
    ).astype(np.int64)
    return (
        np.bincount(pixel, minlength=TILE_SIZE_PX**2).reshape(TILE_SIZE_PX, TILE_SIZE_PX).astype(np.float32)
    )


def ground_light(lamps: Lamps) -> FloatArray:
    """Return the light on the ground in lamps a pixel, ``(800, 800)``."""
    if lamps.row.size == 0:
        return np.zeros((TILE_SIZE_PX, TILE_SIZE_PX), np.float32)
    return np.asarray(
        ndimage.gaussian_filter(count_map(lamps.row, lamps.column), LAMP_SPREAD_PX, mode="constant"),
        np.float32,
    )


def lit_cells_of(lamps: Lamps) -> npt.NDArray[np.bool_]:
    """Return which label cells have any pixel with light of ``LIT_THRESHOLD`` or more, flat, ``(256,)``."""
    lit = ground_light(lamps) >= LIT_THRESHOLD
    return np.asarray(lit.reshape(GRID_SIZE, CELL_SIZE_PX, GRID_SIZE, CELL_SIZE_PX).any(axis=(1, 3)).ravel())
