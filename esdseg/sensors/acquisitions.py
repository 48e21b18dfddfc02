"""Acquisitions: a sensor on a date in one tile, what the sky was, and the orders in which networks take them.

A network does not ask for calendar dates. It asks for a sensor's first acquisition in an order, its second,
and so on; each tile answers with its own dates.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from esdseg.config.section import Fraction, Section
from esdseg.sensors.sensors import Kind

Order = Literal["clearest", "date", "darkest"]
"""``clearest``: least hidden by clouds, shadows, haze and no data first. ``date``: oldest first. ``darkest``:
least light first, without moonlit nights. Ties go by date."""

Sky = Literal["clear", "cloudy", "hazy", "unknown"]

DEFAULT_ORDERS: Mapping[Kind, Order] = {"optical": "clearest", "radar": "date", "night_light": "darkest"}
"""The order of a sensor's acquisitions unless ``data.acquisitions`` says another."""

DARK_NIGHTS = 5
"""Nights that a network takes in the order ``darkest`` unless ``data.acquisitions`` says how many. More would
often be missing elsewhere, where a tile has fewer nights or the moon lights up some."""

CLOUDY_SHARE = 0.01
"""Share of a tile under cloud from which its date is called cloudy."""

HAZY_CIRRUS = 0.004
"""Median reflectance in the cirrus band from which a date is called hazy; Tile1: 0.001 clear, 0.009 hazy."""

HAZE_COUNTS = 0.25
"""What haze counts in the order ``clearest``, as a share of the tile under cloud. A judgement that matters
little: ``clearest`` instead of ``date`` for Landsat-8 is worth 0.026 of contest F1 at most."""

TIE_SHARE = 0.01
"""Dates whose hidden shares round to the same hundredth count as equally clear."""

MOONLIGHT = 5.0
"""Numbers of the raster by which a moonlit night is brighter than the darkest of its tile. Medians of Tile1
are 0 to 3 on eight nights and 11 on the moonlit one."""


class AcquisitionChoice(Section):
    """The acquisitions of a sensor that a network takes."""

    order: Order | None = None
    """Which come first; the default of the sensor's kind unless given."""
    count: Annotated[int, Field(ge=1, le=366)] | None = None
    """How many; unless given, as many as any training tile has, of nights in the order darkest 5 at most."""


def _read_choice(value: object) -> object:
    """Let ``sentinel2: 2`` stand for ``sentinel2: {count: 2}``, and ``sentinel2: date`` for its order."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"count": value}
    return {"order": value} if isinstance(value, str) else value


Acquisitions = dict[str, Annotated[AcquisitionChoice, BeforeValidator(_read_choice)]]
"""What a network takes of each sensor, by name; of one that is not named all in its default order."""


class Acquisition(Section):
    """A sensor on a date in one tile, and what could be seen of the ground."""

    sensor: str
    acquired: date
    cloud_share: Fraction | None = None
    """Share of the measured area under cloud; ``None`` where nothing tells."""
    shadow_share: Fraction | None = None
    """Share of the measured area in the shadow of clouds; ``None`` where nothing tells."""
    missing_share: Fraction | None = None
    """Share of the tile without a measurement; ``None`` where it was not counted."""
    cirrus_reflectance: float | None = None
    """Median of the cirrus band, which shows haze; ``None`` for sensors without it."""
    light: float | None = None
    """Median number of a night; ``None`` for other sensors."""

    is_optical: bool = False
    """Whether the sensor sees clouds."""

    @property
    def sky(self) -> Sky:
        """The sky in one word; ``unknown`` where there is no second date to compare with."""
        if self.cloud_share is not None and self.cloud_share >= CLOUDY_SHARE:
            return "cloudy"
        if self._is_hazy:
            return "hazy"
        return "unknown" if self.cloud_share is None else "clear"

    @property
    def _is_hazy(self) -> bool:
        return self.cirrus_reflectance is not None and self.cirrus_reflectance >= HAZY_CIRRUS

    @property
    def hidden_share(self) -> float:
        """Share of the tile that shows no ground: cloud, shadow and no data; haze counts as some cloud."""
        shares = (self.cloud_share, self.shadow_share, self.missing_share)
        return sum(share or 0.0 for share in shares) + HAZE_COUNTS * self._is_hazy


def in_order(acquisitions: Iterable[Acquisition], order: Order) -> tuple[Acquisition, ...]:
    """Sort the acquisitions of one sensor in one tile; the result depends on nothing but them.

    A night that the moon lights up looks like a town everywhere, so ``darkest`` leaves it out.
    """
    if order == "darkest":
        acquisitions = _dark_nights(tuple(acquisitions))

    def key(acquisition: Acquisition) -> tuple[bool, float, date]:
        day = acquisition.acquired
        if order == "clearest":
            # A date without what tells its sky comes after those that are known.
            return acquisition.cloud_share is None, round(acquisition.hidden_share / TIE_SHARE), day
        if order == "darkest":
            return acquisition.light is None, acquisition.light or 0.0, day
        return False, 0.0, day

    return tuple(sorted(acquisitions, key=key))


def _dark_nights(nights: tuple[Acquisition, ...]) -> tuple[Acquisition, ...]:
    darkest = min((night.light for night in nights if night.light is not None), default=0.0)
    return tuple(night for night in nights if (night.light or 0.0) <= darkest + MOONLIGHT)
