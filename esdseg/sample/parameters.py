"""What sets one sample tile apart from the next, drawn so that few tiles already span the range.

The two settings that decide the class shares follow a low-discrepancy sequence over the tile's number
(additive recurrences of the golden ratio and of the square root of 2, with a start drawn from the seed),
so shares are steady for ten tiles as for a hundred. All else is drawn independently for each tile.
"""

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class TileParameters:
    """Settings of one tile.

    Attributes:
        dark_settlement_share: Share of the unlit cells that should hold a building, 0 to 1.
        lit_cells: Number of cells the electric grid should light; 0 where there is none.
        ruggedness: Height of the relief against an average tile's.
        brightness: Factor on the reflectance of all land.
        redness: Share of red against pale soil, 0 to 1.
        greenness: Factor on the cover of green vegetation.
        cultivation: Shift of the share of fields, in standard deviations of its field.
        rockiness: Factor on the number of rock outcrops and stones.
        metal_share: Share of roofs of sheet metal, 0 to 1.
        cloudiness: Factor on the cloud cover of the cloudy dates.
    """

    dark_settlement_share: float
    lit_cells: float
    ruggedness: float
    brightness: float
    redness: float
    greenness: float
    cultivation: float
    rockiness: float
    metal_share: float
    cloudiness: float


def draw_parameters(seed: int, number: int) -> TileParameters:
    """Draw the settings of tile ``number`` (1 or more) of the set named by ``seed`` (0 or more).

    They do not depend on how many tiles are made.
    """
    from scipy.stats import beta

    start = np.random.default_rng(np.random.SeedSequence(seed)).random(2)
    light_quantile, settlement_quantile = (start + number * np.array(RECURRENCE_STEPS)) % 1.0
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 0)))
    return TileParameters(
        dark_settlement_share=float(beta.ppf(settlement_quantile, *DARK_SETTLEMENT_BETA)),
        lit_cells=lit_cells_at(float(light_quantile)),
        ruggedness=float(rng.lognormal(0.0, 0.4)),
        brightness=float(rng.lognormal(0.0, 0.10)),
        redness=float(rng.uniform(0.2, 0.8)),
        greenness=float(rng.lognormal(0.0, 0.3)),
        cultivation=float(rng.normal(0.0, 0.4)),
        rockiness=float(rng.lognormal(0.0, 0.5)),
        metal_share=float(rng.uniform(0.45, 0.8)),
        cloudiness=float(rng.lognormal(-0.1, 0.45)),
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
