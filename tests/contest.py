"""The contest's sensors, as most tests need them, and readers of names that know no others."""

import re
from collections.abc import Mapping, Sequence
from datetime import date

from esdseg.errors import InputDataError
from esdseg.sensors import channels
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Channel, Layer, layer_table
from esdseg.sensors.sensors import RasterName, Sensor, contest_sensors

CONTEST = contest_sensors()
SENSORS = CONTEST.all
SENSOR_NAMES = CONTEST.names


def get_sensor(name: str) -> Sensor:
    return CONTEST.sensor(name)


def parse_raster_name(file_name: str) -> RasterName | None:
    """What the name of a file with one band says."""
    return next(iter(CONTEST.read_file_name(file_name)), None)


def channel_from_name(name: str) -> Channel:
    return channels.channel_from_name(name, CONTEST)


def channel_table(counts: Mapping[str, int]) -> tuple[Channel, ...]:
    """All channels of so many acquisitions of each sensor."""
    return channels.channel_table(counts, CONTEST)


FULL_TABLE = channel_table({sensor.name: len(sensor.dates) for sensor in SENSORS})
"""The 100 channels of a tile as the contest delivers it."""


def layer_from_name(name: str) -> Layer:
    """Read a layer back from a name such as ``sentinel2_2020-08-16_B04`` or ``viirs_DNB_max``."""
    match = re.fullmatch(r"([a-z0-9]+)_(?:(\d{4}-\d\d-\d\d)_)?(\w+)", name)
    assert match, name
    return Layer(get_sensor(match[1]), match[3], date.fromisoformat(match[2]) if match[2] else None)


def stored_layers(names: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], tuple[Acquisition, ...]]:
    """Bands and acquisitions of a store whose images hold just these layers, in the store's order."""
    layers = [layer_from_name(name) for name in names]
    bands: dict[str, dict[str, None]] = {}
    dates: dict[str, dict[date, None]] = {}
    for layer in layers:
        bands.setdefault(layer.sensor.name, {})[layer.band] = None
        days = dates.setdefault(layer.sensor.name, {})
        if layer.acquired is not None:
            days[layer.acquired] = None
    for sensor, days in dates.items():
        # A projection is of some night, though none is stored.
        days.update({} if days else {get_sensor(sensor).dates[0]: None})
    kept = {sensor: tuple(names) for sensor, names in bands.items()}
    if layer_table({name: tuple(days) for name, days in dates.items()}, CONTEST, kept) != tuple(layers):
        raise InputDataError(f"No store holds just these layers in this order: {', '.join(names)}.")
    acquired = [Acquisition(sensor=name, acquired=day) for name, days in dates.items() for day in days]
    return kept, tuple(acquired)
