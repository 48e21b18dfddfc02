"""What sets one sample tile apart from the next, drawn so that few tiles already span the range.

The two settings that decide the class shares follow a low-discrepancy sequence over the tile's number
(additive recurrences of the golden ratio and of the square root of 2, with a start drawn from the seed),
so shares are steady for ten tiles as for a hundred. All else is drawn independently for each tile.
"""

from dataclasses import dataclass

import numpy as np

from esdseg.sample.fields import FloatArray, smooth_noise
from esdseg.sensors.classes import TILE_SIZE_PX

RECURRENCE_STEPS = ((5**0.5 - 1) / 2, 2**0.5 - 1)
"""Steps of the recurrences for the light and the settlement: the two irrationals hardest to approximate."""

LARGE_TOWN_SHARE = 8 / 31
"""Share of tiles with more than 15 lit cells, on 31 real tiles."""

ANY_LIGHT_SHARE = 13 / 31
"""Share of tiles with any lit cell, on the same tiles."""

LARGE_TOWN_CELLS = (20.0, 150.0)
SMALL_TOWN_CELLS = (3.0, 14.0)

DARK_SETTLEMENT_CELLS = (1, 211)
"""Fewest and most class-1 cells of a tile, on 31 real tiles."""

DARK_SETTLEMENT_BETA = (1.7, 2.3)
"""Shape of the share of unlit cells that hold a building: mean 0.425, standard deviation 0.22. The spread
between tiles over the variance of a cell is the intra-class correlation, about 0.2."""


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
        region: Shift of how well land suits people, in standard deviations of its field.
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
    region: Setting = 0.0


def draw_parameters(seed: int, number: int) -> TileParameters:
    """Draw the settings of tile ``number`` (1 or more) of the set named by ``seed`` (0 or more).

    They do not depend on how many tiles are made.
    """
    from scipy.stats import beta

    start = np.random.default_rng(np.random.SeedSequence(seed)).random(2)
    light_quantile, settlement_quantile = (start + number * np.array(RECURRENCE_STEPS)) % 1.0
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    lit_cells = lit_cells_at(float(light_quantile))
    return TileParameters(
        dark_settlement_share=float(beta.ppf(settlement_quantile, *DARK_SETTLEMENT_BETA)),
        towns=(lit_cells,) if lit_cells else (),
        ruggedness=float(rng.lognormal(0.0, 0.4)),
        brightness=float(rng.lognormal(0.0, 0.10)),
        redness=float(rng.uniform(0.2, 0.8)),
        greenness=float(rng.lognormal(0.0, 0.3)),
        cultivation=float(rng.normal(0.0, 0.4)),
        rockiness=float(rng.lognormal(0.0, 0.5)),
        metal_share=float(rng.uniform(0.45, 0.8)),
        cloudiness=float(rng.lognormal(-0.1, 0.45)),
    )


SCENE_SCALE_PX = 600.0
"""Distance over which the ground of a scene changes as it does from tile to tile: 6 km."""

SCENE_DARK_SETTLEMENT_SHARE = 0.425
"""The mean of :data:`DARK_SETTLEMENT_BETA`."""


def draw_scene_parameters(seed: int, size_px: int) -> TileParameters:
    """Draw the settings of a scene: what differs from tile to tile changes slowly over it.

    Args:
        seed: Name of the land, 0 or more.
        size_px: Side of the scene in pixels.
    """
    from scipy.special import ndtr

    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 0)))
    tiles = max(1, round((size_px / TILE_SIZE_PX) ** 2))
    quantiles = (np.arange(tiles) + rng.random()) / tiles
    towns = tuple(cells for cells in map(lit_cells_at, quantiles.tolist()) if cells)

    def normal() -> FloatArray:
        return smooth_noise(rng, SCENE_SCALE_PX, size_px)

    return TileParameters(
        dark_settlement_share=SCENE_DARK_SETTLEMENT_SHARE,
        towns=towns or (SMALL_TOWN_CELLS[1],),
        ruggedness=np.exp(0.4 * normal()),
        brightness=np.exp(0.10 * normal()),
        redness=0.2 + 0.6 * ndtr(normal()),
        greenness=np.exp(0.3 * normal()),
        cultivation=0.4 * normal(),
        rockiness=np.exp(0.5 * normal()),
        metal_share=0.45 + 0.35 * ndtr(normal()),
        cloudiness=1.0,
        size_px=size_px,
        region=1.2 * normal(),
    )


def lit_cells_at(quantile: float) -> float:
    """Return the number of lit cells of a tile at ``quantile`` (0 to 1) of the tiles, brightest first.

    Large towns are spread evenly on a logarithmic scale, small ones on a linear scale.
    """
    if quantile < LARGE_TOWN_SHARE:
        low, high = LARGE_TOWN_CELLS
        return float(high * (low / high) ** (quantile / LARGE_TOWN_SHARE))
    if quantile < ANY_LIGHT_SHARE:
        low, high = SMALL_TOWN_CELLS
        position = (quantile - LARGE_TOWN_SHARE) / (ANY_LIGHT_SHARE - LARGE_TOWN_SHARE)
        return high + (low - high) * position
    return 0.0
