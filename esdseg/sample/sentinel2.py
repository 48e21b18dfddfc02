"""Sentinel-2 L2A: reflectance x 10 000 as whole numbers, four dates, native 10, 20 and 60 m."""

from datetime import date

import numpy as np
import numpy.typing as npt

from esdseg.sample.clouds import Clouds, draw_clouds
from esdseg.sample.fields import FloatArray, fractal_noise, smooth_noise
from esdseg.sample.land import Land
from esdseg.sample.native import NativeGrid, native_grid
from esdseg.sample.parameters import TileParameters
from esdseg.sample.spectra import CLOUD_TOP, DATE_MEDIANS, MEDIANS, surface
from esdseg.sensors.sensors import get_sensor

MEAN_CLOUD_COVER = (0.0, 0.0, 0.06, 0.10)
"""Cloud cover on the four dates, averaged over tiles; the last two are cloudy on a real tile."""

GREENNESS = (1.06, 1.0, 0.88, 0.8)
"""Green leaves left on each date against the second: the dry season goes on."""

SHADOW_FLOOR = (0.30, 0.24, 0.22, 0.20, 0.19, 0.18, 0.18, 0.17, 0.17, 0.16, 0.15, 0.14)
"""Light left in full shadow in each band: blue sky lights it, short-wave infrared has none."""

OVERCORRECTION = (450.0, 330.0, 250.0, 170.0, 120.0, 80.0, 50.0, 40.0, 20.0, 60.0, 0.0, 0.0)
"""What the correction for haze takes too much off a shadow on the last date, down to a value of 1."""

HAZE = (0.0, 0.0, 45.0, 190.0)
"""Spread of the haze left over in B01 after correction on each date, reflectance x 10 000."""

HAZE_BY_BAND = (1.0, 0.9, 0.8, 0.75, 0.65, 0.55, 0.5, 0.4, 0.4, 0.4, 0.2, 0.15)
"""The same in each band against B01: haze scatters short waves most."""

THIN_CLOUD = (0.0, 0.0, 0.04, 0.12)
"""Spread of the shade of thin cloud on each date, as a share of the ground's reflectance."""

NOISE = 0.02
"""Change of a pixel from date to date for no modelled reason, as a share of its value."""

DRIFT = 0.022
"""Change of patches of 60 m from date to date, as a share of the value."""


def render_sentinel2(
    parameters: TileParameters, land: Land, rng: np.random.Generator
) -> dict[tuple[date, str], npt.NDArray[np.uint16]]:
    """Render every date and band.

    Returns:
        Rasters ``(800, 800)`` by date and band name.
    """
    sensor = get_sensor("sentinel2")
    skew = float(rng.uniform(-0.008, 0.008))
    grids = {size: native_grid(size, skew, rng) for size in {band.native_size_m for band in sensor.bands}}
    seen = [grids[band.native_size_m].sample(land.reflectance[i]) for i, band in enumerate(sensor.bands)]
    green_by_size = {size: grid.sample(land.green) for size, grid in grids.items()}
    missing = _missing_columns(rng)
    rasters: dict[tuple[date, str], npt.NDArray[np.uint16]] = {}
    for index, acquired in enumerate(sensor.dates):
        cover = MEAN_CLOUD_COVER[index] * parameters.cloudiness
        clouds = draw_clouds(min(cover, 0.4), rng) if cover > 0 else None
        masks = {size: _sample_clouds(clouds, grid) for size, grid in grids.items()} if clouds else {}
        drift = {size: grid.sample(smooth_noise(rng, 6.0)) for size, grid in grids.items()}
        veil = fractal_noise(rng, (120.0, 50.0, 20.0), (0.75, 0.55, 0.35))
        for band_index, band in enumerate(sensor.bands):
            size = band.native_size_m
            values = _of_date(seen[band_index], green_by_size[size], band_index, index)
            values *= 1.0 + DRIFT * drift[size]
            here = veil.ravel()[grids[size].centers]
            values *= np.clip(1.0 - THIN_CLOUD[index] * here, 0.4, 1.6)
            values += HAZE[index] * HAZE_BY_BAND[band_index] * here
            values *= 1.0 + NOISE * rng.standard_normal(values.shape, dtype=np.float32)
            if clouds is not None:
                values = _under_clouds(values, masks[size], band_index, index)
            native = np.clip(np.rint(values), 1, 15928).astype(np.uint16)
            raster = grids[size].resample(native)
            if size == 60.0:
                raster[0, missing] = 0
            rasters[acquired, band.name] = raster
    return rasters


def _of_date(clear: FloatArray, green: FloatArray, band: int, date_index: int) -> FloatArray:
    """Move a band from the clearest date to another: leaves dry, the air and the ground change."""
    median = MEDIANS[DATE_MEDIANS[date_index]][band] / MEDIANS["clear"][band]
    drying = (GREENNESS[date_index] - 1.0) * (surface("green")[band] - surface("dry_grass")[band])
    return np.asarray((clear + green * np.float32(drying)) * np.float32(median), np.float32)


def _sample_clouds(clouds: Clouds, grid: NativeGrid) -> Clouds:
    return Clouds(
        *(part.ravel()[grid.centers] for part in (clouds.opacity, clouds.shadow, clouds.brightness))
    )


def _under_clouds(values: FloatArray, clouds: Clouds, band: int, date_index: int) -> FloatArray:
    """Darken the ground in shadows, then lay the clouds over it."""
    late = date_index == len(DATE_MEDIANS) - 1
    darker = values * SHADOW_FLOOR[band] - (OVERCORRECTION[band] if late else -0.6 * OVERCORRECTION[band])
    values = values + np.minimum(1.15 * clouds.shadow, 1.0) * (np.maximum(darker, 1.0) - values)
    top = CLOUD_TOP[band] * (1.45 if late else 1.1) * clouds.brightness
    return np.asarray(values + clouds.opacity * (top - values), np.float32)


def _missing_columns(rng: np.random.Generator) -> slice:
    """Choose the part of row 0 without data in the 60 m bands, whose pixels end short of the tile."""
    start = int(rng.integers(0, 600))
    return slice(start, start + int(rng.integers(120, 200)))
