"""Channels of networks and layers of stored images, and how a tile's layers answer to channels.

A layer is a sensor's band on a date, such as ``sentinel2_2020-08-16_B04``: what a tile's image holds. A
channel is a sensor's band at a place, such as ``sentinel2_1_B04``: what a network takes, of the tile's first
Sentinel-2 acquisition in the network's order. Projections over all nights, such as ``viirs_DNB_max``, have
neither date nor place. Both are matched by names, never by position.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

from esdseg.config.section import nearest_hint
from esdseg.errors import ConfigError, InputDataError
from esdseg.sensors.acquisitions import (
    DARK_NIGHTS,
    DEFAULT_ORDERS,
    Acquisition,
    AcquisitionChoice,
    Order,
    in_order,
)
from esdseg.sensors.sensors import Band, Role, Sensor, SensorTable

ALL_BANDS = "all"
"""Stands for every band and projection of a sensor."""

TELLING_ROLES: tuple[Role, ...] = ("blue", "green", "red", "near_infrared", "short_wave_infrared")
"""Roles of the optical bands that say most of settlements."""

FEW_DATES = 2
"""Acquisitions of an optical or radar sensor that :func:`few_acquisitions` takes. With all dates of sample
tiles, cloudy ones included, a UNet had a contest F1 of 0.46 after two epochs, with two of each 0.61."""

NO_ORDERS: Mapping[str, Order] = MappingProxyType({})


@dataclass(frozen=True)
class Layer:
    """One layer of a stored image.

    Attributes:
        sensor: The sensor.
        band: A band of the sensor, or one of its projections over nights, such as ``DNB_max``.
        acquired: The date; ``None`` for a projection.
    """

    sensor: Sensor
    band: str
    acquired: date | None

    def __hash__(self) -> int:
        return hash((self.sensor.name, self.band, self.acquired))

    @property
    def name(self) -> str:
        """Identity of the layer in its tile, such as ``sentinel2_2020-08-16_B04``."""
        return "_".join(part for part in (self.sensor.name, str(self.acquired or ""), self.band) if part)

    @property
    def sensor_band(self) -> Band | None:
        """The sensor's band, with its native pixel size and role; ``None`` for a projection."""
        return None if self.acquired is None else self.sensor.band(self.band)


@dataclass(frozen=True)
class Channel:
    """One channel of a network's images.

    Attributes:
        sensor: The sensor.
        band: A band of the sensor, or one of its projections over nights, such as ``DNB_max``.
        place: Which of a tile's acquisitions, counted from 1; ``None`` for a projection.
        order: The order in which acquisitions are counted.
    """

    sensor: Sensor
    band: str
    place: int | None
    order: Order

    def __hash__(self) -> int:
        return hash((self.sensor.name, self.band, self.place, self.order))

    @property
    def name(self) -> str:
        """Identity of the channel, such as ``sentinel2_1_B04``."""
        return "_".join(part for part in (self.sensor.name, str(self.place or ""), self.band) if part)

    @property
    def sensor_band(self) -> Band | None:
        """The sensor's band, with its native pixel size and role; ``None`` for a projection."""
        return None if self.place is None else self.sensor.band(self.band)


def channel_from_name(name: str, sensors: SensorTable, orders: Mapping[str, Order] = NO_ORDERS) -> Channel:
    """Read a channel back from its name.

    Args:
        name: The name.
        sensors: The sensors.
        orders: The order of each sensor's acquisitions, by name; of one that is not named, that of its kind.

    Raises:
        InputDataError: The name is not one of a described sensor and band.
    """
    match = re.fullmatch(r"([A-Za-z0-9]+)_(?:([1-9]\d*)_)?(\w+)", name, re.ASCII)
    sensor = sensors.sensors.get(match[1]) if match else None
    if match and sensor is not None:
        place, band = match[2], match[3]
        if band in (sensor.band_names if place else sensor.projection_names):
            order = orders.get(sensor.name, DEFAULT_ORDERS[sensor.kind])
            return Channel(sensor, band, int(place) if place else None, order)
    raise InputDataError(f"'{name}' is not the name of a channel; expected a form such as sentinel2_1_B04.")


def layer_table(
    dates: Mapping[str, Sequence[date]],
    sensors: SensorTable,
    bands: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Layer, ...]:
    """List every layer of a tile's acquisitions, in the order in which its image holds them.

    Args:
        dates: The dates of each sensor, by name; a sensor that is missing or has none gets no layers.
        sensors: The sensors.
        bands: Stored bands and projections by sensor; all of them unless given.

    Returns:
        Sensor by sensor, date by date, band by band in the sensor's own order; projections over nights
        follow the sensor's dates.
    """
    layers: list[Layer] = []
    for sensor in sensors.all:
        acquired = sorted(dates.get(sensor.name, ()))
        stored = _stored(sensor, bands)
        layers += [
            Layer(sensor, band, day) for day in acquired for band in sensor.band_names if band in stored
        ]
        if acquired:
            layers += [Layer(sensor, band, None) for band in sensor.projection_names if band in stored]
    return tuple(layers)


def channel_table(
    counts: Mapping[str, int], sensors: SensorTable, bands: Mapping[str, Sequence[str]] | None = None
) -> tuple[Channel, ...]:
    """List every channel of so many acquisitions, each sensor's in its default order.

    Args:
        counts: Acquisitions of each sensor, by name; a sensor that is missing or has none gets no channels.
        sensors: The sensors.
        bands: Bands and projections by sensor; all of them unless given.

    Returns:
        Sensor by sensor, place by place, band by band in the sensor's own order; projections over nights
        follow the sensor's places.
    """
    channels: list[Channel] = []
    for sensor in sensors.all:
        order, count, stored = DEFAULT_ORDERS[sensor.kind], counts.get(sensor.name, 0), _stored(sensor, bands)
        channels += [
            Channel(sensor, band, place, order)
            for place in range(1, count + 1)
            for band in sensor.band_names
            if band in stored
        ]
        if count:
            channels += [
                Channel(sensor, band, None, order) for band in sensor.projection_names if band in stored
            ]
    return tuple(channels)


def _stored(sensor: Sensor, bands: Mapping[str, Sequence[str]] | None) -> Sequence[str]:
    return (*sensor.band_names, *sensor.projection_names) if bands is None else bands.get(sensor.name, ())


def sensor_names(channels: Iterable[Channel]) -> tuple[str, ...]:
    """Return the names of the sensors of some channels, each once, in the channels' order."""
    return tuple(dict.fromkeys(channel.sensor.name for channel in channels))


def bands_of(channels: Iterable[Channel]) -> dict[str, tuple[str, ...]]:
    """Return the bands and projections of some channels by sensor, each once, in the channels' order."""
    bands: dict[str, dict[str, None]] = {}
    for channel in channels:
        bands.setdefault(channel.sensor.name, {})[channel.band] = None
    return {sensor: tuple(names) for sensor, names in bands.items()}


def orders_of(channels: Iterable[Channel]) -> dict[str, Order]:
    """Return the order in which each sensor's acquisitions are counted, by the sensor's name."""
    return {channel.sensor.name: channel.order for channel in channels}


def places_of(channels: Iterable[Channel]) -> dict[str, int]:
    """Return how many acquisitions some channels take of each sensor, by the sensor's name."""
    places: dict[str, int] = {}
    for channel in channels:
        places[channel.sensor.name] = max(places.get(channel.sensor.name, 0), channel.place or 0)
    return places


def describe_acquisitions(channels: Sequence[Channel]) -> dict[str, AcquisitionChoice]:
    """Return the order and the number of acquisitions that channels take of each sensor, by its name."""
    places, orders = places_of(channels), orders_of(channels)
    return {
        sensor: AcquisitionChoice(order=orders[sensor], count=places[sensor] or None) for sensor in places
    }


def ordered_dates(acquisitions: Iterable[Acquisition], sensor: str, order: Order) -> tuple[date, ...]:
    """Return a tile's dates of a sensor in an order: what fills the places 1, 2, 3 and so on."""
    own = (acquisition for acquisition in acquisitions if acquisition.sensor == sensor)
    return tuple(acquisition.acquired for acquisition in in_order(own, order))


def resolve(channels: Iterable[Channel], acquisitions: Sequence[Acquisition]) -> tuple[Layer | None, ...]:
    """Return the layer of a tile that each channel stands for; ``None`` where the tile lacks the place.

    Args:
        channels: The channels.
        acquisitions: The tile's acquisitions, in any order.
    """
    dates: dict[tuple[str, Order], tuple[date, ...]] = {}
    layers: list[Layer | None] = []
    for channel in channels:
        key = (channel.sensor.name, channel.order)
        if key not in dates:
            dates[key] = ordered_dates(acquisitions, *key)
        if channel.place is None:
            layers.append(Layer(channel.sensor, channel.band, None) if dates[key] else None)
        elif channel.place <= len(dates[key]):
            layers.append(Layer(channel.sensor, channel.band, dates[key][channel.place - 1]))
        else:
            layers.append(None)
    return tuple(layers)


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


def expand_bands(
    sensors: SensorTable, bands: Mapping[str, Sequence[str]] | None, present: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return the bands and projections to store of each sensor that any tile holds, in the sensor's order.

    Args:
        sensors: The description.
        bands: The bands to keep by sensor, ``all`` for every one; ``None`` keeps all. A sensor that is not
            named is left out.
        present: Names of the sensors that any tile holds.

    Raises:
        InputDataError: A named sensor is in no tile, or nothing is left.
    """
    held = set(present)
    for name in bands or {}:
        if name not in held:
            there = ", ".join(sorted(held)) or "none"
            raise InputDataError(
                f"Bands of {name} are to be kept, and no tile holds it; sensors there: {there}."
            )
    kept: dict[str, tuple[str, ...]] = {}
    for sensor in sensors.all:
        known = (*sensor.band_names, *sensor.projection_names)
        wanted = known if bands is None else bands.get(sensor.name, ())
        chosen = tuple(band for band in known if band in wanted or ALL_BANDS in wanted)
        if sensor.name in held and chosen:
            kept[sensor.name] = chosen
    if not kept:
        raise InputDataError("The selected bands leave no channel; select at least one band.")
    return kept


def select_channels(
    channels: Iterable[Channel],
    bands: Mapping[str, Sequence[str]] | None = None,
    acquisitions: Mapping[str, AcquisitionChoice] | None = None,
) -> tuple[Channel, ...]:
    """Pick channels by sensor, band and place, keeping the order of the table.

    Args:
        channels: The table to pick from, in which places are counted in default orders.
        bands: For each sensor to keep, its bands, ``all`` for every one. A sensor that is not named is left
            out. ``None`` keeps all but projections of nights that are in the table themselves: a projection
            looks at all nights, and one moonlit night more or less makes it another channel.
        acquisitions: For each sensor, in which order its acquisitions are counted and how many are taken,
            more than the table has if need be. Without a number all are taken, of nights in the order
            ``darkest`` :data:`DARK_NIGHTS` at most.

    Returns:
        The picked channels.

    Raises:
        InputDataError: A named band or sensor is not in the table, or nothing is left.
    """
    table = tuple(channels)
    for name, names in (bands or {}).items():
        present = {channel.band for channel in table if channel.sensor.name == name}
        for band in names:
            if band not in present and (band != ALL_BANDS or not present):
                held = ", ".join(sorted(present)) or "none"
                raise InputDataError(f"Band {band} of {name} is not in the data; its bands there: {held}.")
    for name in acquisitions or {}:
        if name not in sensor_names(table):
            held = ", ".join(sensor_names(table))
            raise InputDataError(f"Sensor {name} is not in the data; sensors there: {held}.")
    picked: list[Channel] = []
    for name in sensor_names(table):
        own = [channel for channel in table if channel.sensor.name == name]
        choice = (acquisitions or {}).get(name, AcquisitionChoice())
        order = choice.order or own[0].order
        places = places_of(own)[name]
        count = choice.count or (min(places, DARK_NIGHTS) if order == "darkest" else places)
        if bands is None:
            kept = [channel for channel in own if channel.place is not None or not places]
        else:
            wanted = bands.get(name, ())
            kept = [channel for channel in own if channel.band in wanted or ALL_BANDS in wanted]
        placed = dict.fromkeys(channel.band for channel in kept if channel.place is not None)
        sensor = own[0].sensor
        picked += [Channel(sensor, band, place, order) for place in range(1, count + 1) for band in placed]
        picked += [Channel(sensor, channel.band, None, order) for channel in kept if channel.place is None]
    if not picked:
        raise InputDataError("The selected bands leave no channel; select at least one band.")
    return tuple(picked)


def few_bands(channels: Sequence[Channel], also: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Choose the bands that say most of settlements, by kinds of sensors and roles of bands alone.

    Of the optical sensors that is the one with the finest pixels, with its finest band of each of the
    :data:`TELLING_ROLES`; where no band has such a role, all bands of all of them. Of radars and of night
    lights it is every band, without projections over nights unless there is nothing else.

    Args:
        channels: What there is to choose from.
        also: Names of optical sensors to take beside the finest.

    Returns:
        Bands by sensor, in the order of ``channels``.
    """
    held, sensors = bands_of(channels), {channel.sensor.name: channel.sensor for channel in channels}
    telling = {
        name: _telling_bands(sensor, held[name])
        for name, sensor in sensors.items()
        if sensor.kind == "optical"
    }
    finest = min(
        (name for name, bands in telling.items() if bands),
        key=lambda name: min(band.native_size_m for band in telling[name]),
        default=None,
    )
    chosen: dict[str, tuple[str, ...]] = {}
    for name, sensor in sensors.items():
        if sensor.kind != "optical" or finest is None:
            kept = tuple(band for band in held[name] if band in sensor.band_names)
            chosen[name] = kept or held[name]
        elif name == finest or name in also:
            chosen[name] = tuple(band.name for band in telling[name]) or held[name]
    return chosen


def _telling_bands(sensor: Sensor, held: Sequence[str]) -> tuple[Band, ...]:
    """Return the finest held band of each telling role, in the sensor's order."""
    bands = [band for band in sensor.all_bands if band.name in held]
    finest = {
        role: min(
            (band for band in bands if band.role == role), key=lambda band: band.native_size_m, default=None
        )
        for role in TELLING_ROLES
    }
    return tuple(band for band in bands if band in finest.values())


def few_acquisitions(channels: Sequence[Channel]) -> dict[str, AcquisitionChoice]:
    """Choose :data:`FEW_DATES` acquisitions of each optical sensor and radar, and the darkest nights.

    Args:
        channels: What there is to choose from, in which places are counted in default orders.

    Returns:
        By sensor, in the order of ``channels``; nothing of a sensor that has projections alone.
    """
    kinds = {channel.sensor.name: channel.sensor.kind for channel in channels}
    orders = orders_of(channels)
    return {
        name: AcquisitionChoice(
            order=orders[name],
            count=min(places, DARK_NIGHTS if kinds[name] == "night_light" else FEW_DATES),
        )
        for name, places in places_of(channels).items()
        if places
    }
