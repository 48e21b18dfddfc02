"""Land cover at 10 m and the reflectance it makes: soil, vegetation, fields, rock, water, roads, roofs."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from esdseg.sample.fields import FloatArray, fine_noise, fractal_noise, level_of, smooth_noise, smooth_step
from esdseg.sample.parameters import TileParameters
from esdseg.sample.settlements import ROOF_MATERIALS, Buildings, Settlements
from esdseg.sample.terrain import Terrain
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.sensors.sensors import contest_sensors

SPECTRAL_BANDS = contest_sensors().sensor("sentinel2").band_names
"""The order of every spectrum: B01 to B12 without B10."""

# Shapes follow published spectra of dry savanna (for instance the USGS and ASTER spectral libraries); levels
# are set so that the mixture has the medians of a real tile on its clearest date.
# fmt: off
SURFACES = {
    #                     B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B11   B12
    "pale_soil":        ( 590,  820, 1120, 1560, 1800, 1960, 2110, 2260, 2330, 2360, 3350, 2800),
    "red_soil":         ( 500,  590,  760, 1240, 1520, 1690, 1850, 1990, 2080, 2090, 2900, 2330),
    "dry_grass":        ( 470,  570,  745, 1010, 1260, 1560, 1760, 1900, 1980, 2000, 2520, 1870),
    "woodland":         ( 420,  410,  560,  660,  930, 1350, 1530, 1640, 1720, 1760, 1850, 1200),
    "green":            ( 390,  330,  520,  420,  880, 1900, 2350, 2560, 2650, 2600, 1650,  850),
    "water":            ( 450,  480,  520,  430,  390,  350,  330,  310,  290,  280,  160,  110),
    "sand":             ( 650,  960, 1330, 1800, 2020, 2120, 2230, 2350, 2420, 2440, 3450, 3000),
    "burnt":            ( 410,  400,  460,  560,  690,  820,  930, 1020, 1080, 1120, 1700, 1600),
    "rock":             ( 700, 1400, 1800, 2150, 2250, 2300, 2350, 2420, 2450, 2450, 2500, 2250),
    "crop_residue":     ( 520,  700,  980, 1360, 1640, 1880, 2060, 2230, 2300, 2320, 3250, 2600),
    "ploughed":         ( 450,  500,  640,  980, 1200, 1380, 1530, 1650, 1720, 1750, 2350, 1900),
    "metal":            (1300, 3000, 3250, 3350, 3300, 3250, 3200, 3200, 3150, 2700, 3200, 3000),
    "rusted_metal":     ( 700, 1450, 1750, 2450, 2650, 2750, 2800, 2850, 2850, 2600, 3500, 3200),
    "thatch":           ( 460,  520,  680,  900, 1080, 1250, 1400, 1520, 1600, 1640, 2250, 1800),
    "mud":              ( 540,  690,  880, 1100, 1250, 1370, 1480, 1570, 1620, 1640, 2300, 2000),
}
# fmt: on

MEDIANS = {
    # Medians of a real tile, 11, 16, 26 and 31 August 2020: the air and the drying land of each date.
    "clear_early": (500, 574, 793, 1122, 1374, 1643, 1816, 1988, 2049, 2067, 2656, 1978),
    "clear": (485, 614, 793, 1124, 1376, 1619, 1798, 1934, 2021, 2032, 2676, 2089),
    "cloudy": (722, 828, 987, 1302, 1568, 1768, 1966, 2016, 2191, 2153, 2953, 2323),
    "cloudy_late": (459, 554, 845, 1300, 1602, 1845, 2031, 2140, 2294, 2280, 3051, 2309),
}
DATE_MEDIANS = ("clear_early", "clear", "cloudy", "cloudy_late")
"""Which medians each of the four Sentinel-2 dates has."""

CLOUD_TOP = (5400, 5700, 5800, 6000, 6350, 6250, 6300, 6400, 6450, 8600, 6700, 5700)
"""Reflectance of a middling cloud top."""


def surface(name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the spectrum of a surface as reflectance x 10 000, ``(12,)``; ``KeyError`` if unknown."""
    return np.array(SURFACES[name], np.float32)


PIXEL_AREA_M2 = 100.0

INFRARED_TEXTURE = (0.0, 0.0, 0.01, 0.015, 0.03, 0.045, 0.05, 0.05, 0.05, 0.045, 0.035, 0.02)
"""Contrast of leaf and litter structure in each band of the spectra."""


@dataclass(frozen=True)
class Land:
    """What the sensors look at by day; fields are ``(800, 800)`` in a tile.

    Attributes:
        reflectance: Reflectance x 10 000 on the clearest date in the bands of ``SPECTRAL_BANDS``,
            ``(12, 800, 800)`` in a tile.
        green: Share of a pixel under green leaves, 0 to 1.
        dryness: How bare and dry the ground is, standard normal; it warms and brightens.
        roofs: Share of a pixel under any roof, 0 to 1.
        rough: How rough the ground is for a radar, about standard normal.
        rock: Share of a pixel under pale stones, 0 to 1.
        water: Share of a pixel under open water, 0 to 1.
    """

    reflectance: FloatArray
    green: FloatArray
    dryness: FloatArray
    roofs: FloatArray
    rough: FloatArray
    rock: FloatArray
    water: FloatArray


def fertility_field(parameters: TileParameters, terrain: Terrain, rng: np.random.Generator) -> FloatArray:
    """Return how well fields do, about standard normal: valleys and gentle slopes, and much chance."""
    steepness = np.hypot(terrain.slope_east, terrain.slope_south)
    noise = fractal_noise(rng, (160.0, 80.0), (0.7, 0.6), parameters.size_px)
    field = noise + 0.8 * (terrain.valley - 0.3) - 1.5 * (np.minimum(steepness, 0.4) - 0.1)
    return np.asarray(field + parameters.cultivation, np.float32)


def build_land(
    parameters: TileParameters,
    terrain: Terrain,
    fertility: FloatArray,
    settlements: Settlements,
    rng: np.random.Generator,
) -> Land:
    """Cover the ground layer by layer; a later layer hides its share of the earlier ones."""
    size_px, region = parameters.size_px, parameters.region
    tone = fractal_noise(
        rng, (200.0, 100.0, 50.0, 25.0, 12.0, 6.0, 3.0), (0.2, 0.25, 0.3, 0.35, 0.4, 0.4, 0.4), size_px
    )
    tone -= 4.0 * (ndimage.gaussian_filter(terrain.streams, 4.0, truncate=2.5) - 0.04)
    grain = fine_noise(rng, 0.7, size_px)
    redness = fractal_noise(rng, (180.0, 60.0, 20.0), (0.5, 0.5, 0.4), size_px)
    redness = smooth_step(redness + tone * 0.3, -1.8, 1.8)
    redness = np.clip(redness + np.float32(np.subtract(parameters.redness, 0.5)), 0.0, 1.0)
    grass = smooth_step(
        fractal_noise(rng, (90.0, 30.0, 10.0, 4.0), (0.6, 0.5, 0.4, 0.3), size_px) - 0.5 * tone, -1.6, 1.2
    )
    woods_noise = fractal_noise(rng, (120.0, 40.0, 12.0), (0.6, 0.5, 0.4), size_px) - 0.35 * fertility
    trees = smooth_step(fine_noise(rng, 0.9, size_px), 1.6, 3.0)
    woodland = np.clip(0.55 * smooth_step(woods_noise, 0.3, 2.0) + 0.6 * trees, 0.0, 0.9)

    image = np.empty((len(SPECTRAL_BANDS), size_px, size_px), np.float32)
    pale, red = surface("pale_soil"), surface("red_soil")
    for band in range(len(image)):
        image[band] = pale[band] + redness * (red[band] - pale[band])
    grass *= np.float32(region.grass)
    woodland *= np.float32(region.woods)
    _cover(image, 0.85 * grass, "dry_grass")
    _cover(image, woodland, "woodland")
    residue, ploughed = _fields(fertility, rng)
    crops, residue = region.green_crops * residue, (1.0 - region.green_crops) * residue
    _cover(image, residue, "crop_residue")
    _cover(image, ploughed, "ploughed")
    bare, rock, burnt = _patches(parameters, terrain, rng)
    _cover(image, bare, "pale_soil")
    _cover(image, burnt, "burnt")
    light = terrain.sunlight() * np.float32(parameters.brightness)
    # Leaf and litter structure shows most beyond the visible.
    structure = smooth_noise(rng, 8.0, size_px) + fine_noise(rng, 1.2, size_px)
    for band in range(len(image)):
        image[band] *= (1.0 + 0.075 * tone + 0.05 * grain + INFRARED_TEXTURE[band] * structure) * light
    _cover(image, rock, "rock")

    green_patch = smooth_step(fractal_noise(rng, (60.0, 20.0, 6.0), (0.6, 0.6, 0.6), size_px), 1.5, 3.0)
    gallery = terrain.streams * smooth_step(smooth_noise(rng, 20.0, size_px), -1.6, 0.8)
    green = np.clip(parameters.greenness * (0.95 * gallery + 0.35 * green_patch + 0.12 * trees), 0.0, 0.9)
    meadows = region.green_grass * grass
    for cover in (crops, meadows, region.gardens * settlements.trampled):
        green = np.maximum(green, cover)
    _cover(image, green, "green")
    # A bed half full of water has pools; a fuller one is a river from bank to bank.
    pools = smooth_noise(rng, 40.0, size_px) + 4.0 * (region.river_water - 0.5)
    wet = terrain.river_bed * smooth_step(pools, 0.2, 1.0)
    _cover(image, 0.5 * terrain.river_bed, "sand")
    _cover(image, region.river_water * wet, "water")
    _cover(image, 0.95 * terrain.flooded, "water")
    wet = np.maximum(wet, terrain.flooded)

    _cover(image, region.trampled * settlements.trampled, "pale_soil")
    _cover(image, np.maximum(0.45 * settlements.tracks, 0.7 * terrain.main_road), "sand")
    roofs = np.zeros((size_px, size_px), np.float32)
    for index, material in enumerate(ROOF_MATERIALS):
        share = roof_share(settlements.buildings, index, size_px)
        _cover(image, share, material)
        roofs = np.maximum(roofs, share)

    dryness = 0.6 * tone + 0.5 * bare - 0.8 * green - 0.4 * woodland - 0.6 * wet + 0.3 * redness
    rough = 0.5 * smooth_noise(rng, 90.0, size_px) + 0.5 * smooth_noise(rng, 25.0, size_px)
    rough = rough + 0.5 * smooth_noise(rng, 8.0, size_px)
    rough = (
        rough + 0.7 * woodland + 1.2 * green + 1.5 * np.minimum(rock, 0.5) - 0.8 * ploughed - 0.6 * residue
    )
    return Land(image, green, dryness - dryness.mean(), roofs, np.asarray(rough, np.float32), rock, wet)


def roof_share(buildings: Buildings, material: int, size_px: int = TILE_SIZE_PX) -> FloatArray:
    """Return the share of each pixel under roofs of one material, split over the pixels a roof touches.

    A roof is a point blurred over a pixel's width, so it falls on one, two or four pixels.
    """
    chosen = buildings.material == material
    share = buildings.area_m2[chosen] / PIXEL_AREA_M2
    return splat(buildings.row[chosen], buildings.column[chosen], share, size_px=size_px)


def splat(
    row: FloatArray, column: FloatArray, amount: FloatArray, *, size_px: int = TILE_SIZE_PX
) -> FloatArray:
    """Add amounts at positions in pixels, shared by the nearest four: ``(size_px, size_px)``, at most 1."""
    padded = size_px + 2
    top, left = np.floor(row + 0.5).astype(np.int64), np.floor(column + 0.5).astype(np.int64)
    down, right = row + 0.5 - top, column + 0.5 - left
    total = np.zeros(padded * padded)
    for step_down, step_right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (down if step_down else 1 - down) * (right if step_right else 1 - right)
        flat = (top + step_down) * padded + left + step_right
        total += np.bincount(flat, weights=weight * amount, minlength=padded * padded)
    inner = total.reshape(padded, padded)[1:-1, 1:-1]
    return np.minimum(inner, 1.0).astype(np.float32)


def _cover(image: FloatArray, share: FloatArray, name: str) -> None:
    """Put a surface over its share of every pixel, in place."""
    spectrum = surface(name)
    covered = np.flatnonzero(share)
    if covered.size > share.size // 5:
        for band in range(len(image)):
            image[band] += share * (spectrum[band] - image[band])
        return
    # Roofs, roads and water touch so few pixels that picking these out is faster.
    part = share.ravel()[covered]
    for values, target in zip(image.reshape(len(image), -1), spectrum, strict=True):
        before = values[covered]
        values[covered] = before + part * (target - before)


def _fields(fertility: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Lay out small parcels where the land is fertile; return the shares of pale and of dark ones."""
    angle, width, length = rng.uniform(0, np.pi), rng.uniform(5.0, 8.0), rng.uniform(7.0, 13.0)
    size_px = fertility.shape[0]
    row, column = (axis.astype(np.float32) for axis in np.ogrid[:size_px, :size_px])
    bend_row = 14.0 * smooth_noise(rng, 60.0, size_px)
    bend_column = 14.0 * smooth_noise(rng, 60.0, size_px)
    along = (np.cos(angle) * row + np.sin(angle) * column + bend_row) / width
    strip = np.floor(along).astype(np.int64)
    shift = rng.random(1024)[strip % 1024]
    across = np.floor((np.cos(angle) * column - np.sin(angle) * row + bend_column) / length + shift).astype(
        np.int64
    )
    parcel = (strip * 7919 + across * 104729) % 65536
    crop = rng.uniform(-1.0, 1.0, 65536).astype(np.float32)[parcel]
    worked = rng.random(65536).astype(np.float32)[parcel]
    inside = smooth_step(fertility + 0.9 * (worked - 0.5), 0.2, 0.5)
    from_middle = np.abs(along - np.floor(along) - 0.5).astype(np.float32)
    border = 0.55 + 0.45 * smooth_step(from_middle, 0.5, 0.35)
    return 0.8 * inside * border * np.maximum(crop, 0.0), 0.8 * inside * border * np.maximum(-crop, 0.0)


def _patches(
    parameters: TileParameters, terrain: Terrain, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scatter what looks like settlement from afar: bare ground and pale stones; and scars of fire."""
    size_px = parameters.size_px
    region = smooth_noise(rng, 110.0, size_px)
    bare_noise = fractal_noise(rng, (14.0, 6.0, 3.0), (0.7, 0.5, 0.4), size_px) + 0.5 * region
    bare = 0.9 * smooth_step(bare_noise, level_of(bare_noise, 0.05), level_of(bare_noise, 0.01))
    steepness = np.hypot(terrain.slope_east, terrain.slope_south)
    ridges = smooth_noise(rng, 70.0, size_px) + 0.6 * smooth_noise(rng, 22.0, size_px)
    ridges = ridges + 2.0 * np.minimum(steepness, 0.5)
    outcrop = smooth_step(np.asarray(ridges, np.float32), 0.5, 2.5)
    chance = 0.02 * parameters.rockiness * outcrop + 0.0005 * parameters.rockiness
    stones = (rng.random(chance.shape, dtype=np.float32) < chance) * rng.random(
        chance.shape, dtype=np.float32
    )
    # Stones are as small as roofs, fall across pixels as roofs do, and are nearly as bright.
    rock = np.clip(1.6 * ndimage.gaussian_filter(stones.astype(np.float32), 0.45, truncate=3.0), 0.0, 0.9)
    scar_noise = fractal_noise(rng, (45.0, 15.0, 5.0), (0.8, 0.4, 0.3), size_px)
    burnt = 0.8 * smooth_step(scar_noise, level_of(scar_noise, 0.012), level_of(scar_noise, 0.006))
    return bare, np.asarray(rock, np.float32), burnt
