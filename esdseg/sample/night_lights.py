"""VIIRS day/night band VNP46A1: whole numbers on native cells of 15 arc seconds, nine nights."""

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.dates import DrawnDate
from esdseg.sample.fields import FloatArray
from esdseg.sample.settlements import Lamps
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.sensors.sensors import contest_sensors

NATIVE_WIDTH_PX = 46.4
NATIVE_HEIGHT_PX = 47.7
"""Native cells in tile pixels, measured on a real tile; they do not line up with the label cells."""

FINE_STEPS = 4
"""Lattice points a native cell's side on which lights are blurred."""

FOOTPRINT_SIGMA = 0.55
"""Spread of the sensor's 742 m footprint and its regridding, in native cells."""

NIGHT_MEANS = (11.2, 3.1, 0.65, 0.8, 1.1, 0.25, 0.25, 1.1, 0.45)
"""Light without lamps on the nine nights of a real tile: the first is moonlit, the rest see airglow."""

NIGHT_DEVIATIONS = (1.2, 0.75, 0.5, 0.65, 1.0, 0.5, 0.45, 0.6, 0.6)

GLITCH_NIGHT = 5
GLITCH_VALUES = (75, 110, 222)
"""Values of single wrong cells on day 231 of a real tile."""

FILL_VALUE = 65535
"""The product's fill value; a measured value stays below it."""


def render_viirs(
    lamps: Lamps, dates: Sequence[DrawnDate], rng: np.random.Generator
) -> Iterator[tuple[tuple[date, str], npt.NDArray[np.uint16]]]:
    """Render every night of a tile.

    Yields:
        Date and band name, and the raster, ``(800, 800)``.
    """
    offset_row, offset_column = rng.random(2)
    cell_row = np.floor(np.arange(TILE_SIZE_PX) / NATIVE_HEIGHT_PX + offset_row).astype(np.int64)
    cell_column = np.floor(np.arange(TILE_SIZE_PX) / NATIVE_WIDTH_PX + offset_column).astype(np.int64)
    shape = (int(cell_row[-1]) + 1, int(cell_column[-1]) + 1)
    native_row, native_column = lamps.row / NATIVE_HEIGHT_PX, lamps.column / NATIVE_WIDTH_PX
    positions = native_row + float(offset_row), native_column + float(offset_column)
    for name, native in render_nights(positions, lamps.power, shape, dates, rng):
        yield name, native[cell_row[:, None], cell_column[None, :]]


def render_nights(
    positions: tuple[FloatArray, FloatArray],
    power: FloatArray,
    shape: tuple[int, int],
    dates: Sequence[DrawnDate],
    rng: np.random.Generator,
) -> Iterator[tuple[tuple[date, str], npt.NDArray[np.uint16]]]:
    """Render every night in native cells.

    Args:
        positions: Row and column of each lamp in native cells.
        power: Radiance that each lamp adds to a native cell right above it.
        shape: Native rows and columns.
        dates: The nights.
        rng: Source of airglow and noise.

    Yields:
        Date and band name, and the raster of native cells.
    """
    sensor = contest_sensors().sensor("viirs")
    lights = _native_lights(positions, power, shape)
    ground = ndimage.gaussian_filter(rng.standard_normal(shape), 0.8)
    ground = ground / ground.std()
    for drawn in dates:
        index = drawn.look
        spread = NIGHT_DEVIATIONS[index]
        # Moonlight shows the ground's brightness and thin cloud; all nights carry the detector's noise.
        night = NIGHT_MEANS[index] + spread * (
            0.55 * ground + 0.5 * _smooth(rng, shape) + 0.65 * rng.standard_normal(shape)
        )
        # The angle of view changes from night to night, and with it what walls and trees hide.
        seen = lights * rng.lognormal(0.0, 0.18) * rng.lognormal(0.0, 0.08, shape)
        native = np.clip(np.rint(np.maximum(night, 0.0) + seen), 0, FILL_VALUE - 1).astype(np.uint16)
        if index == GLITCH_NIGHT:
            _add_glitches(native, rng)
        yield (drawn.acquired, sensor.all_bands[0].name), native


def _native_lights(
    positions: tuple[FloatArray, FloatArray], power: FloatArray, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Blur the lamps over the footprint and read the mean of each native cell."""
    margin = 2
    rows, columns = ((size + 2 * margin) * FINE_STEPS for size in shape)
    fine_row, fine_column = (
        np.floor((position + margin) * FINE_STEPS).astype(np.int64) for position in positions
    )
    fine = np.bincount(fine_row * columns + fine_column, weights=power, minlength=rows * columns)
    blurred = ndimage.gaussian_filter(
        fine.reshape(rows, columns).astype(np.float64), FOOTPRINT_SIGMA * FINE_STEPS, mode="constant"
    )
    # A lamp's power is what a cell right above it sees, so the cell sums over its part of the spread.
    cells = blurred.reshape(rows // FINE_STEPS, FINE_STEPS, columns // FINE_STEPS, FINE_STEPS).sum(
        axis=(1, 3)
    )
    return np.asarray(cells[margin:-margin, margin:-margin])


def _smooth(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    return np.asarray(field / max(float(field.std()), 1e-9))


def _add_glitches(native: npt.NDArray[np.uint16], rng: np.random.Generator) -> None:
    """Overwrite two neighbouring cells, and sometimes a third, with wrong values, in place."""
    row, column = int(rng.integers(native.shape[0])), int(rng.integers(native.shape[1] - 1))
    native[row, column], native[row, column + 1] = GLITCH_VALUES[1], GLITCH_VALUES[0]
    if rng.random() < 0.5:
        native[min(row + 1, native.shape[0] - 1), column] = GLITCH_VALUES[2]
