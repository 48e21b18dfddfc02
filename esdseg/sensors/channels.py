"""Channels: the ordered layers of a processed image, one a sensor, band and date.

A channel's name, such as ``sentinel2_2020-08-16_B04`` or ``viirs_DNB_max``, is its identity in stores and
checkpoints: images are matched by names, never by position.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from esdseg.config.section import nearest_hint
from esdseg.errors import ConfigError, InputDataError
from esdseg.sensors.sensors import Band, Sensor, SensorTable

ALL_BANDS = "all"
"""Stands for every band and projection of a sensor."""


@dataclass(frozen=True)
class Channel:
    """One layer of an image.

    Attributes:
        sensor: The sensor.
        band: A band of the sensor, or one of its projections over dates, such as ``DNB_max``.
        acquired: The date; ``None`` for a projection.
    """

    sensor: Sensor
    band: str
    acquired: date | None

    def __hash__(self) -> int:
        return hash((self.sensor.name, self.band, self.acquired))

    @property
    def name(self) -> str:
        """Identity of the channel, such as ``sentinel2_2020-08-16_B04``."""
        return "_".join(part for part in (self.sensor.name, str(self.acquired or ""), self.band) if part)

    @property
    def sensor_band(self) -> Band | None:
        """The sensor's band, with its native pixel size and role; ``None`` for a projection."""
        return None if self.acquired is None else self.sensor.band(self.band)


def channel_from_name(name: str, sensors: SensorTable) -> Channel:
    """Read a channel back from its name.

    Raises:
        InputDataError: The name is not one of a described sensor and band.
    """
    for sensor in sensors.all:
        match = re.fullmatch(rf"{sensor.name}_(?:(\d{{4}}-\d\d-\d\d)_)?(\w+)", name)
        if match is None:
            continue
        acquired, band = match[1], match[2]
        known = sensor.band_names if acquired else sensor.projection_names
        if band in known:
            try:
                return Channel(sensor, band, date.fromisoformat(acquired) if acquired else None)
            except ValueError:
                break
    raise InputDataError(
        f"'{name}' is not the name of a channel; expected a form such as sentinel2_2020-08-16_B04."
    )


def channel_table(dates: Mapping[str, Sequence[date]], sensors: SensorTable) -> tuple[Channel, ...]:
    """List every channel of a set of acquisitions, in the order in which images hold them.

    Args:
        dates: The dates of each sensor, by name; a sensor that is missing or has none gets no channels.
        sensors: The sensors.

    Returns:
        Sensor by sensor, date by date, band by band in the sensor's own order; projections over dates
        follow the sensor's dates.
    """
    channels: list[Channel] = []
    for sensor in sensors.all:
        acquired = sorted(dates.get(sensor.name, ()))
        channels += [Channel(sensor, band, day) for day in acquired for band in sensor.band_names]
        if acquired:
            channels += [Channel(sensor, band, None) for band in sensor.projection_names]
    return tuple(channels)


def sensor_names(channels: Iterable[Channel]) -> tuple[str, ...]:
    """Return the names of the sensors of some channels, each once, in the channels' order."""
    return tuple(dict.fromkeys(channel.sensor.name for channel in channels))


def check_names(sensors: SensorTable, names: Iterable[str], setting: str) -> None:
    """Refuse sensors that a description does not have.

    Args:
        sensors: The description.
        names: Names of sensors.
        setting: What names them, for the message.

    Raises:
        ConfigError: One is unknown; the message has the nearest names.
    """
    for name in names:
        if name not in sensors.sensors:
            hint = nearest_hint(name, sensors.names)
            raise ConfigError(
                f"{setting}: unknown sensor '{name}'; {hint}Known sensors: {', '.join(sensors.names)}."
            )


def check_bands(sensors: SensorTable, bands: Mapping[str, Sequence[str]], setting: str) -> None:
    """Refuse sensors and bands that a description does not have.

    Args:
        sensors: The description.
        bands: Names of bands and projections by sensor; ``all`` stands for every one.
        setting: What names them, for the message.

    Raises:
        ConfigError: One is unknown; the message has the nearest names.
    """
    check_names(sensors, bands, setting)
    for name, chosen in bands.items():
        sensor = sensors.sensor(name)
        known = (*sensor.band_names, *sensor.projection_names, ALL_BANDS)
        for band in chosen:
            if band not in known:
                hint = nearest_hint(band, known)
                raise ConfigError(
                    f"{setting}.{name}: {name} has no band {band}; {hint}Its bands: {', '.join(known[:-1])}."
                )


def select_channels(
    channels: Iterable[Channel],
    bands: Mapping[str, Sequence[str]] | None,
    dates: Mapping[str, Sequence[date | int]] | None,
) -> tuple[Channel, ...]:
    """Pick channels by sensor, band and date, keeping their order.

    Args:
        channels: The table to pick from.
        bands: For each sensor to keep, its bands, ``all`` for every one; ``None`` keeps all. A sensor that is
            not named is left out.
        dates: For each sensor, its dates or their positions in the sensor's sorted dates (negative ones
            count from the end); a sensor that is not named keeps all. Projections are not touched.

    Returns:
        The picked channels in table order.

    Raises:
        InputDataError: A named band or date is not in the table, or nothing is left.
    """
    table = tuple(channels)
    wanted_dates = {sensor: _resolve_dates(table, sensor, chosen) for sensor, chosen in (dates or {}).items()}
    for sensor, names in (bands or {}).items():
        present = {channel.band for channel in table if channel.sensor.name == sensor}
        for band in names:
            if band not in present and band != ALL_BANDS:
                held = ", ".join(sorted(present)) or "none"
                raise InputDataError(f"Band {band} of {sensor} is not in the data; its bands there: {held}.")
    picked = tuple(
        channel
        for channel in table
        if (bands is None or {channel.band, ALL_BANDS} & {*bands.get(channel.sensor.name, ())})
        and (
            channel.acquired is None
            or channel.sensor.name not in wanted_dates
            or channel.acquired in wanted_dates[channel.sensor.name]
        )
    )
    if not picked:
        raise InputDataError("The selected bands and dates leave no channel; select at least one band.")
    return picked


def _resolve_dates(table: Sequence[Channel], sensor: str, chosen: Sequence[date | int]) -> frozenset[date]:
    present = sorted(
        {channel.acquired for channel in table if channel.sensor.name == sensor and channel.acquired}
    )
    resolved = set()
    for item in chosen:
        if isinstance(item, int) and -len(present) <= item < len(present):
            resolved.add(present[item])
        elif isinstance(item, date) and item in present:
            resolved.add(item)
        else:
            held = ", ".join(map(str, present)) or "none"
            raise InputDataError(f"Date {item} of {sensor} is not in the data; its dates there: {held}.")
    return frozenset(resolved)
