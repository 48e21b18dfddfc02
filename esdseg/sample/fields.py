"""Fields over a tile or a scene: random noise of one or several scales, and how native pixels see a field.

The contest's rasters are resampled to the tile's pixels without interpolation. Run lengths of a real tile
show native pixels of 10, 20, 30 and 60 m about 1.03, 2.06, 3.1 and 6.2 px wide, with steps that betray a
small turn between the sensors' projection and the tile's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from esdseg.sensors.classes import PIXEL_SIZE_M, TILE_SIZE_PX

FloatArray = npt.NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, scale_px: float, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Draw smooth noise: normal values on a coarse lattice, joined by cubic B-splines.

    Sparse products keep it fast and, unlike threaded dense ones, the same to the last bit on any machine
    load.

    Args:
        rng: Source of the lattice values.
        scale_px: Distance of lattice points, about the correlation length.
        size_px: Side of the field.

    Returns:
        Field ``(size_px, size_px)`` of about zero mean and unit variance.
    """
    weights = _spline_weights(scale_px, size_px, float(rng.random()))
    lattice = rng.standard_normal((weights.shape[1], weights.shape[1]), dtype=np.float32)
    field = np.asarray(weights @ (weights @ lattice).T, dtype=np.float32)
    # A cubic B-spline through unit noise has a mean variance of (151/315)^2.
    return field * np.float32(315 / 151)


def fractal_noise(
    rng: np.random.Generator,
    scales_px: tuple[float, ...],
    deviations: tuple[float, ...],
    size_px: int = TILE_SIZE_PX,
) -> FloatArray:
    """Sum smooth noise over scales; ``deviations`` holds the standard deviation at each of ``scales_px``."""
    total = np.zeros((size_px, size_px), np.float32)
    for scale_px, deviation in zip(scales_px, deviations, strict=True):
        total += np.float32(deviation) * smooth_noise(rng, scale_px, size_px)
    return total


def fine_noise(rng: np.random.Generator, sigma_px: float, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Draw noise of pixel scale: white noise under a Gaussian of ``sigma_px``, unit variance."""
    white = rng.standard_normal((size_px, size_px), dtype=np.float32)
    blurred = ndimage.gaussian_filter(white, sigma_px, mode="wrap", truncate=3.0)
    return np.asarray(blurred / blurred.std(), np.float32)


def smooth_step(values: FloatArray, low: float, high: float) -> FloatArray:
    """Rise from 0 at ``low`` to 1 at ``high`` along a cubic without corners."""
    position = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(position * position * (3.0 - 2.0 * position), np.float32)


def level_of(values: FloatArray, share: float) -> float:
    """Return the level that ``share`` (0 to 1) of a field lies above, read off every fourth pixel."""
    return float(np.quantile(values[::4, ::4], 1.0 - share))


def _spline_weights(scale_px: float, size_px: int, offset: float) -> sparse.csr_array:
    """Return cubic B-spline weights ``(size_px, lattice points)``, four a row."""
    position = np.arange(size_px) / scale_px + offset
    first = np.floor(position).astype(np.int64)
    t = position - first
    values = (
        np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1)
        / 6.0
    )
    columns = first[:, None] + np.arange(4)
    row_starts = np.arange(0, columns.size + 1, 4)
    shape = (size_px, int(columns.max()) + 1)
    return sparse.csr_array((values.ravel().astype(np.float32), columns.ravel(), row_starts), shape=shape)


GROUND_PIXEL_M = 9.7
"""Ground size of a tile's pixel by the run lengths of a real tile; nominally 10 m."""

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class NativeGrid:
    """Where one pixel size of one sensor lies in a scene, whose rasters are delivered in native pixels.

    Attributes:
        size_px: Side of a native pixel in pixels of 10 m.
        centers: Flat index of the pixel at each native pixel's centre, ``(native rows, columns)``.
    """

    size_px: float
    centers: npt.NDArray[np.intp]

    def sample(self, scene: FloatArray) -> FloatArray:
        """See a field through native pixels: a Gaussian point spread, then one value each."""
        if self.size_px >= 1.5:
            scene = ndimage.gaussian_filter(scene, 0.4 * self.size_px, truncate=2.5)
        return np.asarray(scene.ravel()[self.centers], np.float32)

    def resample(self, native: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Return native values ``(native rows, columns)`` as they are delivered."""
        return native


@dataclass(frozen=True)
class ResampledGrid(NativeGrid):
    """Where one pixel size of one sensor lies in a tile, whose rasters are on the tile's own pixels.

    Attributes:
        members: Flat index of the native pixel that each tile pixel shows, ``(800, 800)``.
    """

    members: npt.NDArray[np.intp]

    def resample(self, native: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Return native values ``(native rows, columns)`` on the tile's pixels by nearest neighbour."""
        return np.take(native, self.members)


GridLayout = Callable[[float, float, np.random.Generator], NativeGrid]
"""Lays native pixels of a size in metres over a tile or a scene; see :func:`native_grid`."""


def native_grid(native_size_m: float, skew: float, rng: np.random.Generator) -> ResampledGrid:
    """Lay native pixels of ``native_size_m`` over a tile at a random offset.

    Args:
        native_size_m: Ground size of a native pixel.
        skew: Shift of native rows along a tile's row, in pixels a pixel; columns turn with it.
        rng: Source of the offset.
    """
    size_px = native_size_m / GROUND_PIXEL_M
    offset = rng.random(2)
    row, column = (
        axis.astype(np.float32) + np.float32(0.5) for axis in np.ogrid[:TILE_SIZE_PX, :TILE_SIZE_PX]
    )
    native_row = np.floor((row + skew * column) / size_px + offset[0]).astype(np.intp)
    native_column = np.floor((column - skew * row) / size_px + offset[1]).astype(np.intp)
    first_row, first_column = int(native_row.min()), int(native_column.min())
    height, width = int(native_row.max()) - first_row + 1, int(native_column.max()) - first_column + 1
    members = (native_row - first_row) * width + (native_column - first_column)

    turned_row = (np.arange(height) + first_row + 0.5 - offset[0])[:, None] * size_px
    turned_column = (np.arange(width) + first_column + 0.5 - offset[1])[None, :] * size_px
    center_row = _to_pixel((turned_row - skew * turned_column) / (1 + skew**2))
    center_column = _to_pixel((turned_column + skew * turned_row) / (1 + skew**2))
    return ResampledGrid(size_px, center_row * TILE_SIZE_PX + center_column, members)


def native_layout(size_px: int, offset_px: float = 0.0) -> GridLayout:
    """Return the layout of a scene that is delivered in native pixels, which lie along its own.

    Args:
        size_px: Side of the scene in pixels of 10 m.
        offset_px: How far the first native pixels begin before the scene's first pixel.
    """
    return partial(_aligned_grid, size_px, offset_px)


def _aligned_grid(
    scene_size_px: int, offset_px: float, native_size_m: float, skew: float, rng: np.random.Generator
) -> NativeGrid:
    size_px = native_size_m / PIXEL_SIZE_M
    count = ceil((scene_size_px + offset_px) / size_px)
    center = _to_pixel((np.arange(count, dtype=np.float64) + 0.5) * size_px - offset_px, scene_size_px)
    return NativeGrid(size_px, center[:, None] * scene_size_px + center)


def _to_pixel(position: npt.NDArray[np.float64], size_px: int = TILE_SIZE_PX) -> npt.NDArray[np.intp]:
    return np.clip(np.floor(position), 0, size_px - 1).astype(np.intp)
