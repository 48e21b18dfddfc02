"""What can be taken away from a network's images: sensors, dates and bands, and all sensors but one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from esdseg.config.evaluation import Level
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import SENSOR_NAMES, SensorName

RemovalKind = Literal["sensor", "alone", "date", "band"]
"""A level, or ``alone`` where all sensors but one are taken away."""


@dataclass(frozen=True)
class Effect:
    """What is done to an image: removals of equal effect give equal predictions.

    Attributes:
        absent: The channels that become no data.
        nights: Those that projections over nights are computed from anew; ``None`` where projections stay as
            they are stored.
    """

    absent: frozenset[Channel] = frozenset()
    nights: tuple[date, ...] | None = None


NO_EFFECT = Effect()


@dataclass(frozen=True)
class Removal:
    """A group of channels that is taken away together.

    Attributes:
        kind: What makes the group.
        sensor: The sensor it belongs to; with ``alone`` the one that stays.
        acquired: The date of a ``date``.
        band: The band of a ``band``.
        effect: What that does to an image.
    """

    kind: RemovalKind
    sensor: SensorName
    acquired: date | None
    band: str | None
    effect: Effect

    @property
    def label(self) -> str:
        """What it is called: ``sentinel2``, ``sentinel2 alone``, ``sentinel2 B04``, ``viirs 2020-08-08``."""
        match self.kind:
            case "alone":
                return f"{self.sensor} alone"
            case "date":
                return f"{self.sensor} {self.acquired}"
            case "band":
                return f"{self.sensor} {self.band}"
            case "sensor":
                return self.sensor


def list_removals(
    channels: Sequence[Channel],
    levels: Sequence[Level],
    sensors: Sequence[SensorName],
    stored_nights: Sequence[date] | None,
) -> tuple[Removal, ...]:
    """List every group of channels that can be taken away and leaves at least one.

    Args:
        channels: The channels of a network's images.
        levels: What to take away; ``sensor`` also gives each sensor alone.
        sensors: From which sensors.
        stored_nights: Nights that projections over them can be computed from anew; ``None`` where they
            cannot, so that they stay as they are.

    Returns:
        Sensors, sensors alone, dates and bands; within each in the order of the sensors' channels.
    """
    own = {
        sensor: tuple(channel for channel in channels if channel.sensor == sensor)
        for sensor in SENSOR_NAMES
        if sensor in sensors
    }
    held = {sensor: mine for sensor, mine in own.items() if mine}
    everything = frozenset(channels)
    removals: list[Removal] = []
    if "sensor" in levels:
        for sensor, mine in held.items():
            removals.append(Removal("sensor", sensor, None, None, Effect(frozenset(mine))))
        for sensor, mine in held.items():
            removals.append(Removal("alone", sensor, None, None, Effect(everything - frozenset(mine))))
    if "date" in levels:
        for sensor, mine in held.items():
            removals += _dates(sensor, mine, stored_nights)
    if "band" in levels:
        for sensor, mine in held.items():
            for band in dict.fromkeys(channel.band for channel in mine):
                absent = frozenset(channel for channel in mine if channel.band == band)
                removals.append(Removal("band", sensor, None, band, Effect(absent)))
    return tuple(one for one in removals if one.effect != NO_EFFECT and one.effect.absent != everything)


def _dates(
    sensor: SensorName, channels: Sequence[Channel], stored_nights: Sequence[date] | None
) -> list[Removal]:
    projections = frozenset(channel for channel in channels if channel.acquired is None)
    dates = {channel.acquired for channel in channels if channel.acquired is not None}
    recomputed = bool(projections) and stored_nights is not None
    if recomputed:
        dates.update(stored_nights or ())
    removals = []
    for day in sorted(dates):
        absent = frozenset(channel for channel in channels if channel.acquired == day)
        nights = tuple(night for night in stored_nights or () if night != day) if recomputed else None
        if nights == ():
            # Without its only night a projection has nothing to look at.
            absent, nights = absent | projections, None
        removals.append(Removal("date", sensor, day, None, Effect(absent, nights)))
    return removals
