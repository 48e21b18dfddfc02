"""What sets one sample tile apart from the next, drawn so that few tiles already span a region's ranges.

The two settings that decide the class shares follow a low-discrepancy sequence over the tile's number
(additive recurrences of the golden ratio and of the square root of 2, with a start drawn from the seed),
so shares are steady for ten tiles as for a hundred. All else is drawn independently for each tile.
"""

from dataclasses import dataclass

import numpy as np

from esdseg.sample.fields import FloatArray, smooth_noise
from esdseg.sample.regions import SAVANNA, Region
from esdseg.sensors.classes import TILE_SIZE_PX

RECURRENCE_STEPS = ((5**0.5 - 1) / 2, 2**0.5 - 1)
"""Steps of the recurrences for the light and the settlement: the two irrationals hardest to approximate."""

LARGE_TOWN_CELLS = (20.0, 150.0)
SMALL_TOWN_CELLS = (3.0, 14.0)

DARK_SETTLEMENT_CELLS = (1, 211)
"""Fewest and most class-1 cells of a tile, on 31 real tiles."""


Setting = float | FloatArray
"""One number for a tile; for a scene also a field of numbers, one a pixel."""


@dataclass(frozen=True)
class TileParameters:
    """Settings of one tile, or of a scene as large as many tiles.

    Attributes:
        dark_settlement_share: Share of the unlit cells that should hold a building, 0 to 1.
        towns: Number of cells that each electrified town should light.
        ruggedness: Height of the relief against an average tile's.
        brightness: Factor on the reflectance of all land.
        redness: Share of red against pale soil, 0 to 1.
        greenness: Factor on the cover of green vegetation.
        cultivation: Shift of the share of fields, in standard deviations of its field.
        rockiness: Factor on the number of rock outcrops and stones.
        metal_share: Share of roofs of sheet metal, 0 to 1.
        cloudiness: Factor on the cloud cover of the cloudy dates.
        size_px: Side of the tile or scene in pixels.
        attraction: Shift of how well land suits people, in standard deviations of its field.
        flooded_share: Share of the land under standing water, 0 to 1.
        region: What all tiles of the region have in common.
    """

    dark_settlement_share: float
    towns: tuple[float, ...]
    ruggedness: Setting
    brightness: Setting
    redness: Setting
    greenness: Setting
    cultivation: Setting
    rockiness: Setting
    metal_share: Setting
    cloudiness: float
    size_px: int = TILE_SIZE_PX
    attraction: Setting = 0.0
    flooded_share: float = 0.0
    region: Region = SAVANNA


def draw_parameters(seed: int, number: int, region: Region = SAVANNA) -> TileParameters:
    """Draw the settings of tile ``number`` (1 or more) of the set named by ``seed`` (0 or more).

    They do not depend on how many tiles are made.
    """
    from scipy.stats import beta

    start = np.random.default_rng(np.random.SeedSequence(seed)).random(2)
    light_quantile, settlement_quantile = (start + number * np.array(RECURRENCE_STEPS)) % 1.0
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0, *region.spawn_key)))
    lit_cells = lit_cells_at(float(light_quantile), region)
    return TileParameters(
        dark_settlement_share=float(beta.ppf(settlement_quantile, *region.settlement_beta)),
        towns=(lit_cells,) if lit_cells else (),
        ruggedness=region.ruggedness.draw(rng),
        brightness=region.brightness.draw(rng),
        redness=region.redness.draw(rng),
        greenness=region.greenness.draw(rng),
        cultivation=region.cultivation.draw(rng),
        rockiness=region.rockiness.draw(rng),
        metal_share=region.metal_share.draw(rng),
        cloudiness=region.cloudiness.draw(rng),
        flooded_share=region.flooded.draw(rng),
        region=region,
    )


SCENE_SCALE_PX = 600.0
"""Distance over which the ground of a scene changes as it does from tile to tile: 6 km."""


def draw_scene_parameters(seed: int, size_px: int, region: Region = SAVANNA) -> TileParameters:
    """Draw the settings of a scene: what differs from tile to tile changes slowly over it.

    Args:
        seed: Name of the land, 0 or more.
        size_px: Side of the scene in pixels.
        region: What kind of land it is.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 0, *region.spawn_key)))
    tiles = max(1, round((size_px / TILE_SIZE_PX) ** 2))
    quantiles = (np.arange(tiles) + rng.random()) / tiles
    towns = tuple(cells for at in quantiles.tolist() if (cells := lit_cells_at(at, region)))

    def normal() -> FloatArray:
        return smooth_noise(rng, SCENE_SCALE_PX, size_px)

    more, less = region.settlement_beta
    return TileParameters(
        dark_settlement_share=more / (more + less),
        towns=towns or (SMALL_TOWN_CELLS[1],),
        ruggedness=region.ruggedness.of_normal(normal()),
        brightness=region.brightness.of_normal(normal()),
        redness=region.redness.of_normal(normal()),
        greenness=region.greenness.of_normal(normal()),
        cultivation=region.cultivation.of_normal(normal()),
        rockiness=region.rockiness.of_normal(normal()),
        metal_share=region.metal_share.of_normal(normal()),
        cloudiness=round(region.cloudiness.mean, 2),
        size_px=size_px,
        attraction=1.2 * normal(),
        flooded_share=region.flooded.mean,
        region=region,
    )


def lit_cells_at(quantile: float, region: Region = SAVANNA) -> float:
    """Return the number of lit cells of a tile at ``quantile`` (0 to 1) of the tiles, brightest first.

    Large towns are spread evenly on a logarithmic scale, small ones on a linear scale.
    """
    if quantile < region.large_town_share:
        low, high = LARGE_TOWN_CELLS
        return float(high * (low / high) ** (quantile / region.large_town_share))
    if quantile < region.any_light_share:
        low, high = SMALL_TOWN_CELLS
        position = (quantile - region.large_town_share) / (region.any_light_share - region.large_town_share)
        return high + (low - high) * position
    return 0.0
