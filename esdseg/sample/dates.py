"""The dates of sample tiles: the contest's, those of a file, or others in every tile."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from esdseg.config.loading import load_config
from esdseg.config.section import Section
from esdseg.sensors.sensors import Sensor, contest_sensors

Sky = Literal["clear", "cloudy", "hazy", "moonlit"]

RANDOM = "random"
"""Stands for other dates, other numbers of them and other clouds in every tile."""

FIRST_RANDOM_DAY = date(2021, 6, 28)
"""Of another year than the contest's."""

CLOUDY_CHANCE = 0.5
"""Chance that an optical date of ``random`` is under clouds."""

LOOKS: Mapping[str, Mapping[Sky, tuple[int, ...]]] = {
    "viirs": {"clear": (1, 2, 3, 4, 5, 6, 7, 8), "moonlit": (0,)},
    "sentinel1": {"clear": (0, 1, 2, 3)},
    "sentinel2": {"clear": (0, 1), "cloudy": (2, 3)},
    "landsat8": {"clear": (0, 2), "cloudy": (0, 2), "hazy": (1,)},
}
"""The contest's dates that a date of each sky looks like, by position, for each sensor."""

RANDOM_COUNTS = {"viirs": (6, 10), "sentinel1": (2, 5), "sentinel2": (3, 6), "landsat8": (2, 4)}
"""Fewest and most dates of ``random``."""

REPEAT_DAYS = {"viirs": 2, "sentinel1": 12, "sentinel2": 5, "landsat8": 16}
"""Days between two dates of ``random`` at least."""


@dataclass(frozen=True)
class DrawnDate:
    """A date of a sensor in a sample tile.

    Attributes:
        acquired: The date.
        look: Position of the contest's date whose air, light and season it has.
        clouds: Factor on the cloud cover of that date.
    """

    acquired: date
    look: int
    clouds: float = 1.0


TileDates = Mapping[str, tuple[DrawnDate, ...]]
"""The dates of a tile by what the sensor is simulated as."""


class SampleDate(Section):
    """A date in a file of dates."""

    date: date
    sky: Sky = "clear"
    """``cloudy`` and ``hazy`` are for optical sensors, ``moonlit`` for nights."""


def _read_date(value: object) -> object:
    return {"date": value} if isinstance(value, date) else value


class SampleDates(Section):
    """A file of dates for all sample tiles; a sensor that is not named keeps the contest's."""

    viirs: tuple[Annotated[SampleDate, BeforeValidator(_read_date)], ...] | None = None
    sentinel1: tuple[Annotated[SampleDate, BeforeValidator(_read_date)], ...] | None = None
    sentinel2: tuple[Annotated[SampleDate, BeforeValidator(_read_date)], ...] | None = None
    landsat8: tuple[Annotated[SampleDate, BeforeValidator(_read_date)], ...] | None = None


def contest_dates() -> TileDates:
    """Return the contest's dates."""
    return {
        name: tuple(DrawnDate(day, look) for look, day in enumerate(contest_sensors().sensor(name).dates))
        for name in LOOKS
    }


def scene_dates() -> TileDates:
    """Return the dates of a sample scene: of another year than the contest's, fewer, and one cloudy."""
    return {
        "viirs": (
            DrawnDate(date(2021, 8, 5), 2),
            DrawnDate(date(2021, 8, 9), 3),
            DrawnDate(date(2021, 8, 13), 8),
            DrawnDate(date(2021, 8, 22), 0),
        ),
        "sentinel1": (DrawnDate(date(2021, 8, 5), 1), DrawnDate(date(2021, 8, 17), 2)),
        "sentinel2": (
            DrawnDate(date(2021, 8, 6), 0),
            DrawnDate(date(2021, 8, 16), 2, clouds=3.0),
            DrawnDate(date(2021, 8, 26), 1),
        ),
        "landsat8": (DrawnDate(date(2021, 8, 1), 1), DrawnDate(date(2021, 8, 17), 2, clouds=0.0)),
    }


def load_dates(file: Path, others: TileDates | None = None) -> TileDates:
    """Read a file of dates.

    Args:
        file: The file.
        others: The dates of sensors that it does not name; the contest's unless given.

    Raises:
        ConfigError: With one line a mistake.
    """
    given = load_config(SampleDates, file)
    dates = dict(contest_dates() if others is None else others)
    for name in LOOKS:
        listed: tuple[SampleDate, ...] | None = getattr(given, name)
        if listed is not None:
            ordered = sorted(listed, key=lambda entry: entry.date)
            dates[name] = tuple(_looking_like(name, entry, place) for place, entry in enumerate(ordered))
    return dates


def random_dates(seed: int, number: int) -> TileDates:
    """Draw the dates of tile ``number`` of the set named by ``seed``."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 2)))
    dates = {}
    for name, (fewest, most) in RANDOM_COUNTS.items():
        day = FIRST_RANDOM_DAY + timedelta(days=int(rng.integers(0, REPEAT_DAYS[name])))
        drawn = []
        for place in range(int(rng.integers(fewest, most + 1))):
            sky = _draw_sky(name, rng)
            likeness = _looking_like(name, SampleDate(date=day, sky=sky), int(rng.integers(100)) + place)
            clouds = float(rng.uniform(0.5, 3.0)) if sky == "cloudy" else likeness.clouds
            drawn.append(DrawnDate(day, likeness.look, clouds))
            day += timedelta(days=REPEAT_DAYS[name] * int(rng.integers(1, 3)))
        dates[name] = tuple(drawn)
    return dates


def _draw_sky(name: str, rng: np.random.Generator) -> Sky:
    is_hidden = rng.random() < CLOUDY_CHANCE
    if name == "viirs":
        return "moonlit" if rng.random() < 1 / 6 else "clear"
    if name == "sentinel1" or not is_hidden:
        return "clear"
    return "hazy" if name == "landsat8" and rng.random() < 1 / 3 else "cloudy"


def _looking_like(name: str, entry: SampleDate, place: int) -> DrawnDate:
    """Return a date that looks as its sky says; what a sensor does not see is as if it were clear."""
    looks = LOOKS[name].get(entry.sky, LOOKS[name]["clear"])
    return DrawnDate(entry.date, looks[place % len(looks)], 0.0 if entry.sky == "clear" else 1.0)


def add_product_offset(raster: npt.NDArray[Any], sensor: Sensor, acquired: date) -> npt.NDArray[Any]:
    """Return the numbers of a product: newer ones have the sensor's offset, but where nothing was seen.

    Args:
        raster: Numbers without an offset, uint16; 0 is no data.
        sensor: The description of the sensor.
        acquired: The date.
    """
    if not sensor.has_offset(acquired):
        return raster
    return np.where(raster > 0, raster + np.uint16(sensor.offset), 0).astype(raster.dtype)
