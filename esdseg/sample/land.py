"""Land cover at 10 m and the reflectance it makes: soil, vegetation, fields, rock, water, roads, roofs."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from esdseg.sample.fields import FloatArray, fine_noise, fractal_noise, level_of, smooth_noise, smooth_step
from esdseg.sample.parameters import TileParameters
from esdseg.sample.settlements import ROOF_MATERIALS, Buildings, Settlements
from esdseg.sample.spectra import SPECTRAL_BANDS, surface
from esdseg.sample.terrain import Terrain
from esdseg.sensors.grid import TILE_SIZE_PX

PIXEL_AREA_M2 = 100.0

INFRARED_TEXTURE = (0.0, 0.0, 0.01, 0.015, 0.03, 0.045, 0.05, 0.05, 0.05, 0.045, 0.035, 0.02)
"""Contrast of leaf and litter structure in each band of the spectra."""


@dataclass(frozen=True)
class Land:
    """What the sensors look at by day; fields are ``(800, 800)``.

    Attributes:
        reflectance: Reflectance x 10 000 on the clearest date in the bands of ``SPECTRAL_BANDS``,
            ``(12, 800, 800)``.
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
    noise = fractal_noise(rng, (160.0, 80.0), (0.7, 0.6))
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
    tone = fractal_noise(
        rng, (200.0, 100.0, 50.0, 25.0, 12.0, 6.0, 3.0), (0.2, 0.25, 0.3, 0.35, 0.4, 0.4, 0.4)
    )
    tone -= 4.0 * (ndimage.gaussian_filter(terrain.streams, 4.0, truncate=2.5) - 0.04)
    grain = fine_noise(rng, 0.7)
    redness = smooth_step(fractal_noise(rng, (180.0, 60.0, 20.0), (0.5, 0.5, 0.4)) + tone * 0.3, -1.8, 1.8)
    redness = np.clip(redness + np.float32(parameters.redness - 0.5), 0.0, 1.0)
    grass = smooth_step(
        fractal_noise(rng, (90.0, 30.0, 10.0, 4.0), (0.6, 0.5, 0.4, 0.3)) - 0.5 * tone, -1.6, 1.2
    )
    woods_noise = fractal_noise(rng, (120.0, 40.0, 12.0), (0.6, 0.5, 0.4)) - 0.35 * fertility
    trees = smooth_step(fine_noise(rng, 0.9), 1.6, 3.0)
    woodland = np.clip(0.55 * smooth_step(woods_noise, 0.3, 2.0) + 0.6 * trees, 0.0, 0.9)

    image = np.empty((len(SPECTRAL_BANDS), TILE_SIZE_PX, TILE_SIZE_PX), np.float32)
    pale, red = surface("pale_soil"), surface("red_soil")
    for band in range(len(image)):
        image[band] = pale[band] + redness * (red[band] - pale[band])
    _cover(image, 0.85 * grass, "dry_grass")
    _cover(image, woodland, "woodland")
    residue, ploughed = _fields(fertility, rng)
    _cover(image, residue, "crop_residue")
    _cover(image, ploughed, "ploughed")
    bare, rock, burnt = _patches(parameters, terrain, rng)
    _cover(image, bare, "pale_soil")
    _cover(image, burnt, "burnt")
    light = terrain.sunlight() * np.float32(parameters.brightness)
    # Leaf and litter structure shows most beyond the visible.
    structure = smooth_noise(rng, 8.0) + fine_noise(rng, 1.2)
    for band in range(len(image)):
        image[band] *= (1.0 + 0.075 * tone + 0.05 * grain + INFRARED_TEXTURE[band] * structure) * light
    _cover(image, rock, "rock")

    green_patch = smooth_step(fractal_noise(rng, (60.0, 20.0, 6.0), (0.6, 0.6, 0.6)), 1.5, 3.0)
    gallery = terrain.streams * smooth_step(smooth_noise(rng, 20.0), -1.6, 0.8)
    green = np.clip(parameters.greenness * (0.95 * gallery + 0.35 * green_patch + 0.12 * trees), 0.0, 0.9)
    _cover(image, green, "green")
    wet = terrain.river_bed * smooth_step(smooth_noise(rng, 40.0), 0.2, 1.0)
    _cover(image, 0.5 * terrain.river_bed, "sand")
    _cover(image, 0.5 * wet, "water")

    _cover(image, 0.35 * settlements.trampled, "pale_soil")
    _cover(image, np.maximum(0.45 * settlements.tracks, 0.7 * terrain.main_road), "sand")
    roofs = np.zeros((TILE_SIZE_PX, TILE_SIZE_PX), np.float32)
    for index, material in enumerate(ROOF_MATERIALS):
        share = roof_share(settlements.buildings, index)
        _cover(image, share, material)
        roofs = np.maximum(roofs, share)

    dryness = 0.6 * tone + 0.5 * bare - 0.8 * green - 0.4 * woodland - 0.6 * wet + 0.3 * redness
    rough = 0.5 * smooth_noise(rng, 90.0) + 0.5 * smooth_noise(rng, 25.0) + 0.5 * smooth_noise(rng, 8.0)
    rough = (
        rough + 0.7 * woodland + 1.2 * green + 1.5 * np.minimum(rock, 0.5) - 0.8 * ploughed - 0.6 * residue
    )
    return Land(image, green, dryness - dryness.mean(), roofs, np.asarray(rough, np.float32), rock, wet)


def roof_share(buildings: Buildings, material: int) -> FloatArray:
    """Return the share of each pixel under roofs of one material, split over the pixels a roof touches.

    A roof is a point blurred over a pixel's width, so it falls on one, two or four pixels.
    """
    chosen = buildings.material == material
    return splat(buildings.row[chosen], buildings.column[chosen], buildings.area_m2[chosen] / PIXEL_AREA_M2)


def splat(row: FloatArray, column: FloatArray, amount: FloatArray) -> FloatArray:
    """Add amounts at positions in pixels, shared by the nearest four: ``(800, 800)``, at most 1."""
    padded = TILE_SIZE_PX + 2
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
    for band in range(len(image)):
        image[band] += share * (spectrum[band] - image[band])


def _fields(fertility: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Lay out small parcels where the land is fertile; return the shares of pale and of dark ones."""
    angle, width, length = rng.uniform(0, np.pi), rng.uniform(5.0, 8.0), rng.uniform(7.0, 13.0)
    row, column = np.mgrid[:TILE_SIZE_PX, :TILE_SIZE_PX].astype(np.float32)
    bend_row, bend_column = 14.0 * smooth_noise(rng, 60.0), 14.0 * smooth_noise(rng, 60.0)
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
    region = smooth_noise(rng, 110.0)
    bare_noise = fractal_noise(rng, (14.0, 6.0, 3.0), (0.7, 0.5, 0.4)) + 0.5 * region
    bare = 0.9 * smooth_step(bare_noise, level_of(bare_noise, 0.05), level_of(bare_noise, 0.01))
    steepness = np.hypot(terrain.slope_east, terrain.slope_south)
    ridges = smooth_noise(rng, 70.0) + 0.6 * smooth_noise(rng, 22.0) + 2.0 * np.minimum(steepness, 0.5)
    outcrop = smooth_step(np.asarray(ridges, np.float32), 0.5, 2.5)
    chance = 0.02 * parameters.rockiness * outcrop + 0.0005 * parameters.rockiness
    stones = (rng.random(chance.shape, dtype=np.float32) < chance) * rng.random(
        chance.shape, dtype=np.float32
    )
    # Stones are as small as roofs, fall across pixels as roofs do, and are nearly as bright.
    rock = np.clip(1.6 * ndimage.gaussian_filter(stones.astype(np.float32), 0.45, truncate=3.0), 0.0, 0.9)
    scar_noise = fractal_noise(rng, (45.0, 15.0, 5.0), (0.8, 0.4, 0.3))
    burnt = 0.8 * smooth_step(scar_noise, level_of(scar_noise, 0.012), level_of(scar_noise, 0.006))
    return bare, np.asarray(rock, np.float32), burnt
