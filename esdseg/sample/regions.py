"""The regions of sample tiles: the ranges from which land, houses, lights and skies are drawn in each.

The first region is dry savanna, whose ranges are those of the contest's real tiles. The others differ from it
as the Sahel, a delta and highlands do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from types import MappingProxyType
from typing import TYPE_CHECKING

from esdseg.config.section import nearest_hint
from esdseg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from esdseg.sample.fields import FloatArray


@dataclass(frozen=True)
class Uniform:
    """Every value from ``low`` to ``high`` is as likely."""

    low: float
    high: float

    @property
    def mean(self) -> float:  # noqa: D102
        return (self.low + self.high) / 2

    def draw(self, rng: "np.random.Generator") -> float:
        """Draw the setting of a tile."""
        return float(rng.uniform(self.low, self.high))

    def of_normal(self, field: "FloatArray") -> "FloatArray":
        """Turn standard normal values into settings, one a pixel of a scene."""
        from scipy.special import ndtr

        shares: FloatArray = ndtr(field)
        return self.low + (self.high - self.low) * shares


@dataclass(frozen=True)
class Normal:
    """Normal values."""

    mean: float
    deviation: float

    def draw(self, rng: "np.random.Generator") -> float:
        """Draw the setting of a tile."""
        return float(rng.normal(self.mean, self.deviation))

    def of_normal(self, field: "FloatArray") -> "FloatArray":
        """Turn standard normal values into settings, one a pixel of a scene."""
        return self.mean + self.deviation * field


@dataclass(frozen=True)
class LogNormal:
    """Values whose natural logarithm is normal: two thirds of them within ``deviation`` of ``log_median``."""

    log_median: float
    deviation: float

    @property
    def median(self) -> float:  # noqa: D102
        return exp(self.log_median)

    @property
    def mean(self) -> float:  # noqa: D102
        return exp(self.log_median + self.deviation**2 / 2)

    def draw(self, rng: "np.random.Generator") -> float:
        """Draw the setting of a tile."""
        return float(rng.lognormal(self.log_median, self.deviation))

    def of_normal(self, field: "FloatArray") -> "FloatArray":
        """Turn standard normal values into settings, one a pixel of a scene."""
        import numpy as np

        return np.exp(self.log_median + self.deviation * field)


@dataclass(frozen=True)
class Region:
    """The ranges of one kind of land; the defaults are those of dry savanna.

    Attributes:
        name: Its name on the command line.
        place: Its number; each region lies elsewhere, and has other random numbers for the same seed.
        ruggedness: Height of the relief against an average tile's.
        incision_m: Depth to which streams have cut.
        river_nodes: Upstream area, in nodes of 50 m x 50 m, from which a stream is a river.
        river_width_px: Half the width of a river, a standard deviation.
        river_water: How much of a river bed is under water, 0 to 1.
        flooded: Share of the land under standing water, 0 to 1.
        brightness: Factor on the reflectance of all land.
        redness: Share of red against pale soil, 0 to 1.
        greenness: Factor on the cover of green vegetation.
        woods: Factor on the cover of woodland.
        grass: Factor on the cover of dry grass.
        green_grass: Share of that grass that is green, 0 to 1.
        cultivation: Shift of the share of fields, in standard deviations of its field.
        green_crops: Share of the light-coloured parcels that are green, 0 to 1.
        rockiness: Factor on the number of rock outcrops and stones.
        settlement_beta: Shape of the beta distribution of the share of unlit cells that hold a building.
        hamlet_houses: Houses of a hamlet.
        hamlet_spread_px: Distance of houses from the middle of a hamlet of one, a standard deviation; it
            grows with the root of their number.
        lone_share: Share of hamlets that are lone farms anywhere, 0 to 1.
        valley_pull: How much people like to live near running water.
        metal_share: Share of roofs of sheet metal, 0 to 1.
        shiny_share: Share of those that are not rusted, 0 to 1.
        mud_share: Share of the other roofs that are of mud instead of thatch, 0 to 1.
        roof_m2: Median area of a roof.
        trampled: Share of bare ground between houses, 0 to 1.
        gardens: Share of green trees between houses, 0 to 1.
        any_light_share: Share of tiles with any lit cell, 0 to 1.
        large_town_share: Share of tiles with more than 15 lit cells, 0 to 1.
        lamp_power: Radiance of a middling lamp of a middling town, in product units.
        cloudiness: Factor on the cloud cover of the cloudy dates.
        haze: Factor on haze and thin cloud.
        warmth_k: How much warmer the ground is.
        radar_ground: Factor on the backscatter of open ground, which grows with its moisture.
    """

    name: str
    place: int = 0
    ruggedness: LogNormal = LogNormal(0.0, 0.4)
    incision_m: float = 80.0
    river_nodes: float = 3500.0
    river_width_px: float = 0.9
    river_water: float = 0.5
    flooded: Uniform = Uniform(0.0, 0.0)
    brightness: LogNormal = LogNormal(0.0, 0.10)
    redness: Uniform = Uniform(0.2, 0.8)
    greenness: LogNormal = LogNormal(0.0, 0.3)
    woods: float = 1.0
    grass: float = 1.0
    green_grass: float = 0.0
    cultivation: Normal = Normal(0.0, 0.4)
    green_crops: float = 0.0
    rockiness: LogNormal = LogNormal(0.0, 0.5)
    settlement_beta: tuple[float, float] = (1.7, 2.3)
    hamlet_houses: LogNormal = LogNormal(2.2, 0.9)
    hamlet_spread_px: float = 2.2
    lone_share: float = 0.25
    valley_pull: float = 0.8
    metal_share: Uniform = Uniform(0.45, 0.8)
    shiny_share: float = 0.6
    mud_share: float = 0.0
    roof_m2: float = 60.0
    trampled: float = 0.35
    gardens: float = 0.0
    any_light_share: float = 13 / 31
    large_town_share: float = 8 / 31
    lamp_power: float = 0.8
    cloudiness: LogNormal = LogNormal(-0.1, 0.45)
    haze: float = 1.0
    warmth_k: float = 0.0
    radar_ground: float = 1.0

    @property
    def spawn_key(self) -> tuple[int, ...]:
        """What a region adds to the keys of random numbers; nothing for the first one."""
        return (self.place,) if self.place else ()


SAVANNA = Region("savanna")
"""Dry savanna of southern Africa at the end of the dry season: what the contest's tiles show."""

SAHEL = Region(
    "sahel",
    place=1,
    ruggedness=LogNormal(log(0.3), 0.4),
    incision_m=30.0,
    river_water=0.2,
    brightness=LogNormal(log(1.25), 0.08),
    redness=Uniform(0.1, 0.6),
    greenness=LogNormal(log(0.3), 0.3),
    woods=0.3,
    grass=0.4,
    cultivation=Normal(0.4, 0.4),
    rockiness=LogNormal(log(0.6), 0.5),
    settlement_beta=(1.7, 2.8),
    hamlet_houses=LogNormal(log(25.0), 0.8),
    hamlet_spread_px=0.8,
    lone_share=0.1,
    metal_share=Uniform(0.05, 0.3),
    mud_share=0.85,
    roof_m2=45.0,
    trampled=0.6,
    any_light_share=0.32,
    large_town_share=0.18,
    lamp_power=0.5,
    cloudiness=LogNormal(log(0.4), 0.45),
    haze=1.8,
    warmth_k=8.0,
    radar_ground=0.55,
)
"""Sand plains with little rain, compact villages of mud houses, few and dim lights, dust in the air."""

DELTA = Region(
    "delta",
    place=2,
    ruggedness=LogNormal(log(0.08), 0.3),
    incision_m=6.0,
    river_nodes=1200.0,
    river_width_px=2.5,
    river_water=0.9,
    flooded=Uniform(0.02, 0.2),
    brightness=LogNormal(log(0.75), 0.08),
    redness=Uniform(0.1, 0.35),
    greenness=LogNormal(log(1.8), 0.25),
    grass=1.1,
    green_grass=0.7,
    cultivation=Normal(1.4, 0.4),
    green_crops=0.8,
    rockiness=LogNormal(log(0.1), 0.4),
    settlement_beta=(2.6, 2.2),
    hamlet_houses=LogNormal(log(14.0), 0.8),
    hamlet_spread_px=2.4,
    lone_share=0.12,
    valley_pull=0.4,
    metal_share=Uniform(0.6, 0.9),
    shiny_share=0.35,
    roof_m2=45.0,
    trampled=0.15,
    gardens=0.5,
    any_light_share=0.55,
    large_town_share=0.35,
    lamp_power=1.3,
    cloudiness=LogNormal(log(2.0), 0.4),
    haze=1.4,
    warmth_k=-3.0,
    radar_ground=1.4,
)
"""Flat wet land with rivers and rice, villages under trees, roofs of rusted sheets, many lights."""

HIGHLANDS = Region(
    "highlands",
    place=3,
    ruggedness=LogNormal(log(2.2), 0.25),
    incision_m=130.0,
    brightness=LogNormal(log(0.9), 0.10),
    redness=Uniform(0.4, 0.95),
    greenness=LogNormal(log(1.6), 0.3),
    woods=0.8,
    green_grass=0.35,
    cultivation=Normal(0.9, 0.4),
    green_crops=0.5,
    rockiness=LogNormal(log(1.6), 0.4),
    settlement_beta=(2.2, 2.2),
    hamlet_houses=LogNormal(log(4.0), 0.7),
    hamlet_spread_px=3.2,
    lone_share=0.45,
    valley_pull=-0.3,
    metal_share=Uniform(0.5, 0.85),
    shiny_share=0.75,
    roof_m2=40.0,
    trampled=0.25,
    gardens=0.3,
    any_light_share=0.36,
    large_town_share=0.2,
    cloudiness=LogNormal(log(3.0), 0.35),
    warmth_k=-10.0,
    radar_ground=1.2,
)
"""Steep red land with many small farms, new sheets on small roofs, gardens, and clouds."""

REGIONS: Mapping[str, Region] = MappingProxyType(
    {region.name: region for region in (SAVANNA, SAHEL, DELTA, HIGHLANDS)}
)
"""The regions by name; sample tiles are of the first one unless told otherwise."""


def find_region(name: str) -> Region:
    """Return the region of a name.

    Raises:
        UsageError: There is none; the message has the nearest name and all names.
    """
    if name not in REGIONS:
        hint = nearest_hint(name, REGIONS)
        raise UsageError(f"unknown region '{name}'; {hint}Known regions: {', '.join(REGIONS)}.")
    return REGIONS[name]
