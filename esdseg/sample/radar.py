"""Sentinel-1 IW GRDH: backscatter as linear power in VV and VH, four dates, 10 m."""

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.dates import DrawnDate
from esdseg.sample.fields import FloatArray, GridLayout, native_grid
from esdseg.sample.land import Land, splat
from esdseg.sample.settlements import Buildings
from esdseg.sample.terrain import Terrain
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.sensors.sensors import contest_sensors

LOOKS = 4.9
"""Equivalent number of looks of IW GRDH (Sentinel-1 Product Definition, ESA)."""

GROUND_POWER = {"VV": 0.083, "VH": 0.0170}
"""Median backscatter of open ground, linear."""

DATE_FACTOR = (1.02, 1.0, 0.975, 0.95)
"""The ground dries from July to the end of August."""

BOULDER_ECHO = {"VV": 0.28, "VH": 0.05}
"""What a pixel full of boulders adds: corners as a house has, but with more depolarisation."""

CROSS_POLARISED_ECHO = 0.10
"""Share of a wall's double bounce that returns in VH: walls turned against the flight track."""

SPECKLE_TAPS = (0.25, 0.5, 0.25)
"""Neighbouring pixels share looks: 20 m resolution on 10 m pixels gives a correlation of 2/3."""


def speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Draw multiplicative speckle: gamma distributed with mean 1 and ``LOOKS`` looks, correlated.

    A correlated normal field is turned into gamma values by the Wilson-Hilferty cube (Wilson and Hilferty
    1931, PNAS 17), exact to a percent at this number of looks.

    Args:
        rng: Source of the field.
        shape: Rows and columns.
    """
    field = rng.standard_normal(shape, dtype=np.float32)
    for axis in range(len(shape)):
        field = ndimage.correlate1d(field, SPECKLE_TAPS, axis=axis, mode="wrap")
    field /= np.float32(np.square(SPECKLE_TAPS).sum() ** (len(shape) / 2))
    third = np.float32(1 / (9 * LOOKS))
    root = 1 - third + field * np.sqrt(third)
    return np.asarray(np.maximum(root, 0.02) ** 3, np.float32)


def render_sentinel1(
    terrain: Terrain,
    land: Land,
    buildings: Buildings,
    dates: Sequence[DrawnDate],
    rng: np.random.Generator,
    layout: GridLayout = native_grid,
    ground_factor: float = 1.0,
) -> Iterator[tuple[tuple[date, str], npt.NDArray[np.float32]]]:
    """Render every date and polarisation.

    Args:
        terrain: The ground, whose slopes turn to the radar or away from it.
        land: Its cover.
        buildings: The buildings, whose walls reflect.
        dates: The dates.
        rng: Source of the ground's texture and of speckle.
        layout: Lays the native pixels.
        ground_factor: Factor on the backscatter of open ground.

    Yields:
        Date and band name, and the raster, ``(800, 800)`` in a tile.
    """
    if not dates:
        return
    sensor = contest_sensors().sensor("sentinel1")
    grid = layout(10.0, float(rng.uniform(-0.012, 0.012)), rng)
    echo = splat_echo(buildings, land.rock.shape[0])
    # A descending pass looks from the east: slopes that face it are short in the image and bright.
    slope = np.clip(1.0 - 2.6 * terrain.slope_east, 0.4, 3.0)
    texture = np.exp(0.17 * land.rough + 0.14 * rng.standard_normal(slope.shape, dtype=np.float32))
    volume = np.exp(0.16 * land.rough + 0.5 * land.green)
    open_ground = ground_factor * slope * texture * (1.0 - 0.85 * land.water)
    steady = {
        "VV": GROUND_POWER["VV"] * open_ground + BOULDER_ECHO["VV"] * land.rock + echo,
        "VH": GROUND_POWER["VH"] * open_ground * volume
        + BOULDER_ECHO["VH"] * land.rock
        + CROSS_POLARISED_ECHO * echo,
    }
    seen = {band: grid.sample(power) for band, power in steady.items()}
    for drawn in dates:
        for band in sensor.all_bands:
            mean_power = seen[band.name] * DATE_FACTOR[drawn.look]
            power = mean_power * speckle(rng, mean_power.shape)
            yield (drawn.acquired, band.name), grid.resample(np.maximum(power, np.float32(1e-4)))


def splat_echo(buildings: Buildings, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Return the double bounce of the walls, linear power, ``(size_px, size_px)``."""
    strongest = float(buildings.radar_power.max(initial=1.0))
    if buildings.row.size == 0:
        return np.zeros((size_px, size_px), np.float32)
    share = splat(buildings.row, buildings.column, buildings.radar_power / strongest, size_px=size_px)
    return np.asarray(share * np.float32(strongest), np.float32)
