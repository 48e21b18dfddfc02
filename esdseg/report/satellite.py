"""A tile as a person would see it from above: true colour of the clearest date, from the store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from esdseg.errors import InputDataError
from esdseg.sensors.channels import Layer
from esdseg.sensors.classes import TILE_SIZE_PX
from esdseg.sensors.sensors import Role
from esdseg.store.statistics import CODE_VALUES, ChannelStatistics, HalfArray, count_codes
from esdseg.store.store import Store
from esdseg.system.files import write_whole

SATELLITE_NAME = "satellite.jpg"
JPEG_QUALITY = 88
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


def read_satellite_picture(
    store: Store, tile: str, positions: Collection[int] | None = None
) -> SatellitePicture | None:
    """Read the best picture that the store holds of a tile.

    Args:
        store: The store.
        tile: The tile's name.
        positions: Positions in the store of the channels that the picture may show, such as those that the
            networks took; all unless given.

    Returns:
        True colour of the clearest date; where no date has red, green and blue, one band in grey; ``None``
        where the tile has no data that shows the ground.

    Raises:
        InputDataError: The tile cannot be read.
    """
    layers = store.layers(tile)
    counts = store.layer_statistics(tile).count
    with_data = [
        position
        for position, count in enumerate(counts)
        if count and (positions is None or position in positions)
    ]
    candidates = true_color_candidates(layers, with_data)
    if candidates:
        images = np.split(store.read_tile(tile, np.array(candidates).ravel()), len(candidates))
        clearest = clearest_date(images)
        layer = layers[candidates[clearest][0]]
        caption = f"{_short_title(layer)}, {layer.acquired}, true colour"
        return SatellitePicture(stretch(images[clearest]), caption)
    grey = _grey_candidate(layers, with_data)
    if grey is None:
        return None
    band = store.read_tile(tile, np.array([grey]))
    layer = layers[grey]
    return SatellitePicture(
        np.repeat(stretch(band), 3, axis=-1), f"{_short_title(layer)}, {layer.acquired}, {layer.band}"
    )


def write_satellite(folder: Path, picture: SatellitePicture | None) -> Path | None:
    """Write ``satellite.jpg`` of 800 x 800 px, with the caption as the file's comment.

    Args:
        folder: The tile's folder.
        picture: What to write; without one, a file of an earlier call is removed.
    """
    path = folder / SATELLITE_NAME
    if picture is None:
        path.unlink(missing_ok=True)
        return None
    image, comment = Image.fromarray(picture.rgb), picture.caption.encode()
    return write_whole(
        path,
        lambda part: image.save(part, format="JPEG", quality=JPEG_QUALITY, optimize=True, comment=comment),
    )


def read_satellite(folder: Path) -> SatellitePicture | None:
    """Read ``satellite.jpg``; ``None`` where the tile has none.

    Raises:
        InputDataError: The file is no such picture.
    """
    path = folder / SATELLITE_NAME
    try:
        with Image.open(path) as image:
            comment = image.info.get("comment", b"")
            rgb = np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        return None
    except (UnidentifiedImageError, OSError) as error:
        raise InputDataError(
            f"{path} cannot be read ({error}); make it anew with `esdseg evaluate`."
        ) from None
    if rgb.shape != (TILE_SIZE_PX, TILE_SIZE_PX, 3):
        height, width = rgb.shape[:2]
        raise InputDataError(
            f"{path} is of {width} x {height} px, not {TILE_SIZE_PX} x {TILE_SIZE_PX}; make it anew with "
            "`esdseg evaluate`."
        )
    return SatellitePicture(rgb, comment.decode(errors="replace"))


def true_color_candidates(layers: Sequence[Layer], with_data: Sequence[int]) -> list[Positions]:
    """Find the dates with red, green and blue of the sensor with the finest pixels that has any.

    Args:
        layers: The tile's layers.
        with_data: Positions of those that have data.

    Returns:
        Positions of red, green and blue, a triple a date.
    """
    groups: dict[tuple[float, str], dict[Role, int]] = {}
    for position in with_data:
        band = layers[position].sensor_band
        if band is not None and band.role in COLOR_ROLES:
            key = (band.native_size_m, f"{layers[position].sensor.name} {layers[position].acquired}")
            groups.setdefault(key, {})[band.role] = position
    complete = {key: roles for key, roles in sorted(groups.items()) if len(roles) == len(COLOR_ROLES)}
    finest = min((size for size, _ in complete), default=None)
    return [
        tuple(roles[role] for role in COLOR_ROLES) for (size, _), roles in complete.items() if size == finest
    ]


def clearest_date(images: Sequence[HalfArray]) -> int:
    """Choose the date with the least cloud.

    Haze lifts the median of the blue band and clouds its bright end, whatever the unit; pixels without data
    count as cloud.

    Args:
        images: Red, green and blue of each date, (3, height, width); NaN is no data.
    """

    def cloudiness(image: HalfArray) -> tuple[float, float]:
        blue = _statistics(image[-1:])
        share = float(blue.count[0] / image[-1].size)
        brightness = float(blue.quantile(0.5)[0] + blue.quantile(0.99)[0]) if share else np.inf
        return round(1 - share, 2), brightness

    return min(range(len(images)), key=lambda index: cloudiness(images[index]))


def stretch(image: HalfArray) -> npt.NDArray[np.uint8]:
    """Stretch each band between its 2 % and 98 % quantile.

    Args:
        image: Bands (B, height, width); NaN is no data.

    Returns:
        Brightness (height, width, B), 0 to 255; grey where any band has no data.
    """
    statistics = _statistics(image)
    low, high = (statistics.quantile(fraction)[:, None] for fraction in STRETCH_QUANTILES)
    # There are fewer values than pixels, so what is computed is a table of them.
    with np.errstate(invalid="ignore"):
        scaled = (CODE_VALUES - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    shades = np.nan_to_num(np.rint(np.clip(scaled, 0, 1) ** BRIGHTENING_EXPONENT * 255), nan=NO_DATA_GREY)
    picture = np.empty((*image.shape[1:], len(image)), np.uint8)
    for band, table in enumerate(shades.astype(np.uint8)):
        picture[..., band] = table[image[band].view(np.uint16)]
    picture[np.isnan(image).any(axis=0)] = NO_DATA_GREY
    return picture


def _statistics(image: HalfArray) -> ChannelStatistics:
    return ChannelStatistics(np.stack([count_codes(band) for band in image]))


def _grey_candidate(layers: Sequence[Layer], with_data: Sequence[int]) -> int | None:
    ranked = [
        (GREY_ROLES.index(band.role), position)
        for position in with_data
        if (band := layers[position].sensor_band) is not None and band.role in GREY_ROLES
    ]
    return min(ranked)[1] if ranked else None


def _short_title(layer: Layer) -> str:
    """Return the sensor's title without its product, such as ``Sentinel-2``."""
    return layer.sensor.title.split()[0]
