"""The contest's sensors, as most tests need them, and readers of names that know no others."""

from collections.abc import Mapping, Sequence
from datetime import date

from esdseg.sensors import channels
from esdseg.sensors.channels import Channel
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


def channel_table(dates: Mapping[str, Sequence[date]]) -> tuple[Channel, ...]:
    return channels.channel_table(dates, CONTEST)
