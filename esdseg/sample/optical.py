"""Optical sensors of a sample tile: clouds and their shadows, Sentinel-2 L2A and Landsat-8 L1TP."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.dates import DrawnDate
from esdseg.sample.fields import (
    FloatArray,
    GridLayout,
    NativeGrid,
    fractal_noise,
    level_of,
    native_grid,
    smooth_noise,
    smooth_step,
)
from esdseg.sample.land import CLOUD_TOP, DATE_MEDIANS, MEDIANS, SPECTRAL_BANDS, Land, surface
from esdseg.sample.parameters import TileParameters
from esdseg.sample.terrain import Terrain
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.sensors.sensors import contest_sensors

CLOUD_SCALES_PX = (170.0, 80.0, 36.0, 16.0, 7.0, 3.0)
CLOUD_DEVIATIONS = (0.9, 0.65, 0.3, 0.2, 0.12, 0.07)


@dataclass(frozen=True)
class Clouds:
    """Clouds of one date; fields are ``(800, 800)`` in a tile.

    Attributes:
        opacity: Share of the light that comes from the cloud, 0 to 1.
        shadow: Share of the direct light that a cloud keeps off the ground, 0 to 1.
        brightness: Brightness of the cloud's top against a middling one.
    """

    opacity: FloatArray
    shadow: FloatArray
    brightness: FloatArray

    def at_centers(self, grid: NativeGrid) -> "Clouds":
        """Return the clouds at the centres of native pixels, ``(native rows, columns)``."""
        return Clouds(
            *(field.ravel()[grid.centers] for field in (self.opacity, self.shadow, self.brightness))
        )


def draw_clouds(cover: float, rng: np.random.Generator, size_px: int = TILE_SIZE_PX) -> Clouds:
    """Draw clouds over about ``cover`` (0 to 1) of a tile or scene.

    Shadows fall to the south-west and west: the sun stands in the north-east on a southern winter morning.
    """
    margin = 96
    size = size_px + margin
    noise = np.zeros((size, size), np.float32)
    for scale_px, deviation in zip(CLOUD_SCALES_PX, CLOUD_DEVIATIONS, strict=True):
        noise += np.float32(deviation) * smooth_noise(rng, scale_px, size)
    level = level_of(noise, float(np.clip(cover, 0.001, 0.6)))
    opacity = smooth_step(noise, level - 0.25, level + 0.35)
    down, left = int(rng.integers(10, 60)), int(rng.integers(30, 90))
    here = (slice(margin, None), slice(0, size_px))
    sunward = (slice(margin - down, size - down), slice(left, left + size_px))
    brightness = 0.75 + 0.35 * smooth_step(noise, level, level + 1.3) + 0.08 * smooth_noise(rng, 5.0, size)
    return Clouds(opacity[here], opacity[sunward], brightness[here])


SENTINEL2_CLOUD_COVER = (0.0, 0.0, 0.06, 0.10)
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
    parameters: TileParameters,
    land: Land,
    dates: Sequence[DrawnDate],
    rng: np.random.Generator,
    layout: GridLayout = native_grid,
) -> Iterator[tuple[tuple[date, str], npt.NDArray[np.uint16]]]:
    """Render every date and band.

    Yields:
        Date and band name, and the raster, ``(800, 800)`` in a tile.
    """
    if not dates:
        return
    sensor, size_px = contest_sensors().sensor("sentinel2"), parameters.size_px
    skew = float(rng.uniform(-0.008, 0.008))
    grids = {size: layout(size, skew, rng) for size in {band.native_size_m for band in sensor.all_bands}}
    seen = [grids[band.native_size_m].sample(land.reflectance[i]) for i, band in enumerate(sensor.all_bands)]
    green_by_size = {size: grid.sample(land.green) for size, grid in grids.items()}
    missing, haze = _missing_columns(rng), parameters.region.haze
    for drawn in dates:
        index = drawn.look
        cover = SENTINEL2_CLOUD_COVER[index] * parameters.cloudiness * drawn.clouds
        clouds = draw_clouds(min(cover, 0.4), rng, size_px) if cover > 0 else None
        masks = {size: clouds.at_centers(grid) for size, grid in grids.items()} if clouds else {}
        drift = {size: grid.sample(smooth_noise(rng, 6.0, size_px)) for size, grid in grids.items()}
        veil = fractal_noise(rng, (120.0, 50.0, 20.0), (0.75, 0.55, 0.35), size_px).ravel()
        veils = {size: veil[grid.centers] for size, grid in grids.items()}
        for band_index, band in enumerate(sensor.all_bands):
            size = band.native_size_m
            values = _of_date(seen[band_index], green_by_size[size], band_index, index)
            values *= 1.0 + DRIFT * drift[size]
            here = veils[size]
            values *= np.clip(1.0 - haze * THIN_CLOUD[index] * here, 0.4, 1.6)
            values += haze * HAZE[index] * HAZE_BY_BAND[band_index] * here
            values *= 1.0 + NOISE * rng.standard_normal(values.shape, dtype=np.float32)
            if clouds is not None:
                values = _under_clouds_sentinel2(values, masks[size], band_index, index)
            native = np.clip(np.rint(values), 1, 15928).astype(np.uint16)
            raster = grids[size].resample(native)
            if size == 60.0:
                raster[0, missing] = 0
            yield (drawn.acquired, band.name), raster


def _of_date(clear: FloatArray, green: FloatArray, band: int, date_index: int) -> FloatArray:
    """Move a band from the clearest date to another: leaves dry, the air and the ground change."""
    median = MEDIANS[DATE_MEDIANS[date_index]][band] / MEDIANS["clear"][band]
    drying = (GREENNESS[date_index] - 1.0) * (surface("green")[band] - surface("dry_grass")[band])
    return np.asarray((clear + green * np.float32(drying)) * np.float32(median), np.float32)


def _under_clouds_sentinel2(values: FloatArray, clouds: Clouds, band: int, date_index: int) -> FloatArray:
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


LANDSAT8_CLOUD_COVER = (0.05, 0.0, 0.07)
"""Cloud cover on the three dates, averaged over tiles; the middle one is hazy instead."""

# Top-of-atmosphere reflectance is DN x 2e-5 - 0.1 before the sun's angle (Landsat 8 Data Users Handbook).
DN_OFFSET = 5000.0
DN_PER_REFLECTANCE = 5.0

SPECTRAL_TWIN = {"B1": "B01", "B2": "B02", "B3": "B03", "B4": "B04", "B5": "B8A", "B6": "B11", "B7": "B12"}
"""Sentinel-2 band that sees about the same wavelengths."""

CONTRAST = (0.72, 0.60, 0.80)
"""Sine of the sun's height times the clearness of the air, on the three dates."""

CLEAR_MEDIANS = {
    "B1": (9776, 10658, 10058),
    "B2": (9124, 9964, 9450),
    "B3": (8686, 9368, 9222),
    "B4": (9229, 9856, 10206),
    "B5": (13138, 13002, 14186),
    "B6": (14101, 14185, 16236),
    "B7": (11069, 11627, 13026),
    "B8": (8827, 9502, 9509),
    "B9": (5048, 5470, 5057),
    "B10": (28142, 28172, 32261),
    "B11": (24971, 25322, 28591),
}
"""Medians of a real tile on the three dates: the air's own light is what the land does not explain."""

REFERENCE_REFLECTANCE = {
    "B1": 485, "B2": 614, "B3": 793, "B4": 1124, "B5": 2021, "B6": 2676, "B7": 2089, "B8": 900,
}  # fmt: skip
"""Median surface reflectance x 10 000 of the same real tile."""

THERMAL_DN_PER_SIGMA = {"B10": 640.0, "B11": 510.0}
CLOUD_COOLING_DN = {"B10": 6200.0, "B11": 4700.0}
ROOF_WARMTH_DN = {"B10": 5000.0, "B11": 4000.0}
THERMAL_DN_PER_KELVIN = {"B10": 200.0, "B11": 160.0}
"""A sheet roof at ten in the morning is some 25 K warmer than the ground."""

WAVELENGTH_UM = {
    "B1": 0.44, "B2": 0.48, "B3": 0.56, "B4": 0.655, "B5": 0.865, "B6": 1.61, "B7": 2.2, "B8": 0.59,
}  # fmt: skip
"""Middle of each band that haze brightens."""

CLOUD_DN = 15500.0
"""Digital numbers that a middling cloud top adds to a reflective band."""


def render_landsat8(
    parameters: TileParameters,
    terrain: Terrain,
    land: Land,
    dates: Sequence[DrawnDate],
    rng: np.random.Generator,
    layout: GridLayout = native_grid,
) -> Iterator[tuple[tuple[date, str], npt.NDArray[np.float32]]]:
    """Render every date and band.

    Yields:
        Date and band name, and the raster of whole numbers, ``(800, 800)`` in a tile.
    """
    if not dates:
        return
    sensor, size_px = contest_sensors().sensor("landsat8"), parameters.size_px
    skew = float(rng.uniform(-0.008, 0.008))
    grids = {size: layout(size, skew, rng) for size in (15.0, 30.0)}
    surfaces = {
        band: grids[30.0].sample(land.reflectance[SPECTRAL_BANDS.index(twin)])
        for band, twin in SPECTRAL_TWIN.items()
    }
    visible = land.reflectance[1] + land.reflectance[2] + land.reflectance[3]
    surfaces["B8"] = grids[15.0].sample(visible) / 3.0
    # The thermal pixels are 100 m wide and resampled to 30 m by the producer.
    roof_warmth = ndimage.gaussian_filter(land.roofs, 4.2, truncate=2.5).ravel()[grids[30.0].centers]
    warmth = _warmth(terrain, land, rng).ravel()[grids[30.0].centers]

    for drawn in dates:
        index = drawn.look
        cover = LANDSAT8_CLOUD_COVER[index] * parameters.cloudiness * drawn.clouds
        clouds = draw_clouds(min(cover, 0.4), rng, size_px) if cover > 0 else None
        masks = {size: clouds.at_centers(grid) for size, grid in grids.items()} if clouds else {}
        haze = parameters.region.haze * smooth_noise(rng, 120.0, size_px).ravel()
        hazes = {size: haze[grid.centers] for size, grid in grids.items()}
        drift = smooth_noise(rng, 45.0, size_px).ravel()[grids[30.0].centers]
        for band in sensor.all_bands:
            grid = grids[band.native_size_m]
            median = CLEAR_MEDIANS[band.name][index]
            here = hazes[band.native_size_m]
            if band.name in surfaces:
                land_dn = (surfaces[band.name] - REFERENCE_REFLECTANCE[band.name]) * DN_PER_REFLECTANCE
                values = median + CONTRAST[index] * land_dn + _haze_dn(band.name, index) * here
            elif band.name in THERMAL_DN_PER_SIGMA:
                spread = THERMAL_DN_PER_SIGMA[band.name]
                values = (
                    median
                    + parameters.region.warmth_k * THERMAL_DN_PER_KELVIN[band.name]
                    + spread * (0.75 * warmth + 0.6 * drift)
                    + ROOF_WARMTH_DN[band.name] * roof_warmth
                )
            else:
                values = median + np.float32(110.0 if index == 1 else 7.0) * here
            noise = 2.0 if band.name == "B9" else 9.0
            grain = noise * rng.standard_normal(values.shape, dtype=np.float32)
            values = np.asarray(values + grain, np.float32)
            if clouds is not None:
                values = _under_clouds_landsat8(values, masks[band.native_size_m], band.name, index)
            yield (drawn.acquired, band.name), grid.resample(np.rint(values).astype(np.float32))


def _warmth(terrain: Terrain, land: Land, rng: np.random.Generator) -> FloatArray:
    """Return ground temperature as a standard score: dry ground, sunny slopes and low land are warm."""
    field = (
        0.5 * land.dryness
        + 2.0 * (terrain.sunlight() - 1.0)
        - 0.008 * terrain.elevation_m
        + 0.5 * smooth_noise(rng, 140.0, land.rock.shape[0])
    )
    blurred = ndimage.gaussian_filter(field, 4.2, truncate=2.5)
    return np.asarray((blurred - blurred.mean()) / max(float(blurred.std()), 1e-6), np.float32)


def _haze_dn(band: str, date_index: int) -> float:
    """Return the spread of the haze over a tile: strong on the hazy date, and in the blue."""
    return (75.0 if date_index == 1 else 25.0) * (0.44 / WAVELENGTH_UM[band]) ** 1.3


def _under_clouds_landsat8(values: FloatArray, clouds: Clouds, band: str, date_index: int) -> FloatArray:
    """Darken or cool what lies in shadow, then lay the clouds over it."""
    opacity, shadow, top = clouds.opacity, clouds.shadow, clouds.brightness
    if band in CLOUD_COOLING_DN:
        return np.asarray(values - 600.0 * shadow - CLOUD_COOLING_DN[band] * opacity * top, np.float32)
    if band == "B9":
        return np.asarray(
            values + (900.0 if date_index == 2 else 10.0) * opacity * np.maximum(top - 0.8, 0.0)
        )
    air = 0.45 * (CLEAR_MEDIANS[band][date_index] - DN_OFFSET) if band in ("B1", "B2", "B3") else 900.0
    dark = DN_OFFSET + 0.4 * air + 0.25 * (values - DN_OFFSET)
    values = values + 0.85 * shadow * (np.minimum(dark, values) - values)
    brighter = CLOUD_DN * (1.25 if date_index == 2 else 1.0) * top
    return np.asarray(values + opacity * (0.9 * brighter + 0.25 * (12000.0 - values)), np.float32)
