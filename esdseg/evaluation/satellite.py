"""A tile as a person would see it from above: true colour of the clearest date, from the store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esdseg.channels import Channel
from esdseg.sensors import Role, get_sensor
from esdseg.store import Store

STRETCH_QUANTILES = (0.02, 0.98)
"""Quantiles of each band that become black and full brightness."""

BRIGHTENING_EXPONENT = 0.85
"""On brightness of 0 to 1: lifts dark ground, as screens show it."""

NO_DATA_GREY = 128
COLOR_ROLES: tuple[Role, ...] = ("red", "green", "blue")
GREY_ROLES: tuple[Role, ...] = ("near_infrared", *COLOR_ROLES, "short_wave_infrared", "radar", "thermal")
"""Bands that show the ground in grey, the first choice first."""

Positions = tuple[int, ...]


@dataclass(frozen=True)
class SatellitePicture:
    """A picture of a tile.

    Attributes:
        rgb: Colours (800, 800, 3), uint8.
        caption: Sensor and date.
    """

    rgb: npt.NDArray[np.uint8]
    caption: str


def read_satellite_picture(store: Store, tile: str) -> SatellitePicture | None:
    """Read the best picture that the store holds of a tile.

    Returns:
        True colour of the clearest date; where no date has red, green and blue, one band in grey; ``None``
        where the tile has no data that shows the ground.

    Raises:
        InputDataError: The tile cannot be read.
    """
    counts = store.manifest.tiles[tile].summaries.count
    with_data = [position for position, count in enumerate(counts) if count]
    candidates = true_color_candidates(store.channels, with_data)
    if candidates:
        bands = store.read_tile(tile, np.array(candidates).ravel()).astype(np.float32)
        images = np.split(bands, len(candidates))
        clearest = clearest_date(images)
        channel = store.channels[candidates[clearest][0]]
        caption = f"{_short_title(channel)}, {channel.acquired}, true colour"
        return SatellitePicture(stretch(images[clearest]), caption)
    grey = _grey_candidate(store.channels, with_data)
    if grey is None:
        return None
    band = store.read_tile(tile, np.array([grey])).astype(np.float32)
    channel = store.channels[grey]
    return SatellitePicture(
        np.repeat(stretch(band), 3, axis=-1), f"{_short_title(channel)}, {channel.acquired}, {channel.band}"
    )


def true_color_candidates(channels: Sequence[Channel], with_data: Sequence[int]) -> list[Positions]:
    """Find the dates with red, green and blue of the sensor with the finest pixels that has any.

    Args:
        channels: The store's channels.
        with_data: Positions of those that have data.

    Returns:
        Positions of red, green and blue, a triple a date.
    """
    groups: dict[tuple[float, str], dict[Role, int]] = {}
    for position in with_data:
        band = channels[position].sensor_band
        if band is not None and band.role in COLOR_ROLES:
            key = (band.native_size_m, f"{channels[position].sensor} {channels[position].acquired}")
            groups.setdefault(key, {})[band.role] = position
    complete = {key: roles for key, roles in sorted(groups.items()) if len(roles) == len(COLOR_ROLES)}
    finest = min((size for size, _ in complete), default=None)
    return [
        tuple(roles[role] for role in COLOR_ROLES) for (size, _), roles in complete.items() if size == finest
    ]


def clearest_date(images: Sequence[npt.NDArray[np.float32]]) -> int:
    """Choose the date with the least cloud.

    Haze lifts the median of the blue band and clouds its bright end, whatever the unit; pixels without data
    count as cloud.

    Args:
        images: Red, green and blue of each date, (3, height, width); NaN is no data.
    """

    def cloudiness(image: npt.NDArray[np.float32]) -> tuple[float, float]:
        blue = image[-1]
        valid = blue[~np.isnan(blue)]
        without_data = round(1 - valid.size / blue.size, 2)
        return without_data, float(np.quantile(valid, [0.5, 0.99]).sum()) if valid.size else np.inf

    return min(range(len(images)), key=lambda index: cloudiness(images[index]))


def stretch(image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Stretch each band between its 2 % and 98 % quantile.

    Args:
        image: Bands (B, height, width); NaN is no data.

    Returns:
        Brightness (height, width, B), 0 to 255; grey where any band has no data.
    """
    low, high = np.nanquantile(image, STRETCH_QUANTILES, axis=(1, 2), keepdims=True)
    scaled = (image - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    shades = np.where(
        np.isnan(image).any(axis=0), NO_DATA_GREY, np.clip(scaled, 0, 1) ** BRIGHTENING_EXPONENT * 255
    )
    return np.moveaxis(np.rint(shades).astype(np.uint8), 0, -1)


def _grey_candidate(channels: Sequence[Channel], with_data: Sequence[int]) -> int | None:
    ranked = [
        (GREY_ROLES.index(band.role), position)
        for position in with_data
        if (band := channels[position].sensor_band) is not None and band.role in GREY_ROLES
    ]
    return min(ranked)[1] if ranked else None


def _short_title(channel: Channel) -> str:
    """Return the sensor's title without its product, such as ``Sentinel-2``."""
    return get_sensor(channel.sensor).title.split()[0]
