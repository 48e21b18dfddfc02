"""Channels: the ordered layers of a processed image, one a sensor, band and date.

A channel's name, such as ``sentinel2_2020-08-16_B04`` or ``viirs_DNB_max``, is its identity in stores and
checkpoints: images are matched by names, never by position.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from esdseg.errors import InputDataError
from esdseg.sensors.sensors import PROJECTION_BANDS, SENSORS, Band, SensorName, get_sensor


@dataclass(frozen=True)
class Channel:
    """One layer of an image.

    Attributes:
        sensor: The sensor's name.
        band: A band of the sensor, or one of its projections over dates, such as ``DNB_max``.
        acquired: The date; ``None`` for a projection.
    """

    sensor: SensorName
    band: str
    acquired: date | None

    @property
    def name(self) -> str:
        """Identity of the channel, such as ``sentinel2_2020-08-16_B04``."""
        return "_".join(part for part in (self.sensor, str(self.acquired or ""), self.band) if part)

    @property
    def sensor_band(self) -> Band | None:
        """The sensor's band, with its native pixel size and role; ``None`` for a projection."""
        return None if self.acquired is None else get_sensor(self.sensor).band(self.band)


def channel_from_name(name: str) -> Channel:
    """Read a channel back from its name.

    Raises:
        InputDataError: The name is not one of a known sensor and band.
    """
    for sensor in SENSORS:
        match = re.fullmatch(rf"{sensor.name}_(?:(\d{{4}}-\d\d-\d\d)_)?(\w+)", name)
        if match is None:
            continue
        acquired, band = match[1], match[2]
        known = sensor.band_names if acquired else PROJECTION_BANDS.get(sensor.name, ())
        if band in known:
            try:
                return Channel(sensor.name, band, date.fromisoformat(acquired) if acquired else None)
            except ValueError:
                break
    raise InputDataError(
        f"'{name}' is not the name of a channel; expected a form such as sentinel2_2020-08-16_B04."
    )


def channel_table(dates: Mapping[SensorName, Sequence[date]]) -> tuple[Channel, ...]:
    """List every channel of a set of acquisitions, in the order in which images hold them.

    Args:
        dates: The dates of each sensor; a sensor that is missing or has none gets no channels.

    Returns:
        Sensor by sensor, date by date, band by band in the sensor's own order; projections over dates
        follow the sensor's dates.
    """
    channels: list[Channel] = []
    for sensor in SENSORS:
        acquired = sorted(dates.get(sensor.name, ()))
        channels += [Channel(sensor.name, band, day) for day in acquired for band in sensor.band_names]
        if acquired:
            channels += [Channel(sensor.name, band, None) for band in PROJECTION_BANDS.get(sensor.name, ())]
    return tuple(channels)


def select_channels(
    channels: Iterable[Channel],
    bands: Mapping[SensorName, Sequence[str]] | None,
    dates: Mapping[SensorName, Sequence[date | int]] | None,
) -> tuple[Channel, ...]:
    """Pick channels by sensor, band and date, keeping their order.

    Args:
        channels: The table to pick from.
        bands: For each sensor to keep, its bands; ``None`` keeps all. A sensor that is not named is left
            out.
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
        present = {channel.band for channel in table if channel.sensor == sensor}
        for band in names:
            if band not in present:
                held = ", ".join(sorted(present)) or "none"
                raise InputDataError(f"Band {band} of {sensor} is not in the data; its bands there: {held}.")
    picked = tuple(
        channel
        for channel in table
        if (bands is None or channel.band in bands.get(channel.sensor, ()))
        and (
            channel.acquired is None
            or channel.sensor not in wanted_dates
            or channel.acquired in wanted_dates[channel.sensor]
        )
    )
    if not picked:
        raise InputDataError("The selected bands and dates leave no channel; select at least one band.")
    return picked


def _resolve_dates(
    table: Sequence[Channel], sensor: SensorName, chosen: Sequence[date | int]
) -> frozenset[date]:
    present = sorted({channel.acquired for channel in table if channel.sensor == sensor and channel.acquired})
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
