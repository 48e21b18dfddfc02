"""Random fields over a tile: smooth noise of one scale, and sums over scales."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from esdseg.sensors.grid import TILE_SIZE_PX

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
    rng: np.random.Generator, scales_px: tuple[float, ...], deviations: tuple[float, ...]
) -> FloatArray:
    """Sum smooth noise over scales; ``deviations`` holds the standard deviation at each of ``scales_px``."""
    total = np.zeros((TILE_SIZE_PX, TILE_SIZE_PX), np.float32)
    for scale_px, deviation in zip(scales_px, deviations, strict=True):
        total += np.float32(deviation) * smooth_noise(rng, scale_px)
    return total


def fine_noise(rng: np.random.Generator, sigma_px: float) -> FloatArray:
    """Draw noise of pixel scale: white noise under a Gaussian of ``sigma_px``, unit variance."""
    white = rng.standard_normal((TILE_SIZE_PX, TILE_SIZE_PX), dtype=np.float32)
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
    rows = np.repeat(np.arange(size_px), 4)
    shape = (size_px, int(columns.max()) + 1)
    return sparse.csr_array((values.ravel().astype(np.float32), (rows, columns.ravel())), shape=shape)
