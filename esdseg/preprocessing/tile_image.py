"""The image of one tile: its rasters, read and converted to half precision channel by channel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe
from esdseg.preprocessing import conversions
from esdseg.preprocessing.conversions import Conversion, FloatImage, convert_to_half
from esdseg.preprocessing.recipe import apply_scaling, scaling_limits, smooth
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import Projection, RasterName
from esdseg.store.statistics import ChannelStatistics, count_codes
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import Georeference, announce, read_georeferenced_raster, without_side_files

PROJECTIONS: Mapping[Projection, Callable[[FloatImage], FloatImage]] = {
    "max": conversions.project_max,
    "median": conversions.project_median,
}
"""From the numbers of several nights to those of one."""


@without_side_files()
def fill_image(
    arrays: TileArrays,
    tile: RawTile,
    channels: Sequence[Channel],
    projected_dates: Sequence[date],
    recipe: Recipe,
) -> Georeference | None:
    """Read a tile and convert its channels to what the store holds, one raster after the other.

    Args:
        arrays: The image and its code counts receive the result, whatever they held before.
        tile: The raw tile.
        channels: The C channels; one whose raster the tile lacks becomes no data.
        projected_dates: Nights over which the projections of night lights are taken.
        recipe: Smoothing is done here; clipping, gamma and rescaling only with ``scale_by: tile``.

    Returns:
        The georeference of the first raster read that has one.

    Raises:
        InputDataError: A raster cannot be read or does not fit.
    """
    announce(files_to_read(tile, channels))
    georeferences: list[Georeference] = []
    raw_channels = _raw_channels(tile, channels, projected_dates, georeferences)
    for channel, raw, values, counts in zip(
        channels, raw_channels, arrays.image, arrays.code_counts, strict=True
    ):
        sigma_px = recipe.steps(channel.sensor.name).smoothing_sigma_px
        conversion = Conversion.of(channel.sensor, channel.acquired)
        if raw is None:
            values[...] = np.nan
        elif sigma_px:
            values[...] = smooth(conversion(raw), sigma_px)
        else:
            convert_to_half(raw, conversion, values)
        counts[...] = count_codes(values)
    if recipe.scale_by == "tile":
        _scale_by_tile(arrays, channels, recipe)
    return georeferences[0] if georeferences else None


def files_to_read(tile: RawTile, channels: Sequence[Channel]) -> list[Path]:
    """Return the files that are read for some channels, which for night light are those of all its dates."""
    wanted = {(channel.sensor.name, channel.acquired, channel.band) for channel in channels}
    nights = {channel.sensor.name for channel in channels if channel.sensor.kind == "night_light"}
    paths = [
        path
        for name, path in tile.rasters.items()
        if (name.sensor, name.acquired, name.band) in wanted or name.sensor in nights
    ]
    return list(dict.fromkeys(paths))


def _raw_channels(
    tile: RawTile,
    channels: Sequence[Channel],
    projected_dates: Sequence[date],
    georeferences: list[Georeference],
) -> Iterator[npt.NDArray[Any] | None]:
    """Yield the numbers to convert of each channel in order, ``None`` where the tile has no data.

    The georeferences of the rasters that were read are appended to ``georeferences``.
    """

    def read(name: RasterName) -> npt.NDArray[Any]:
        raster, georeference = read_georeferenced_raster(tile.rasters[name], tile.sensors, name.band)
        if georeference is not None:
            georeferences.append(georeference)
        return raster

    nights: dict[str, dict[date, FloatImage]] = {}
    for sensor in dict.fromkeys(channel.sensor for channel in channels):
        if sensor.kind == "night_light":
            # All nights tell what is a glitch, so that a channel does not depend on which are selected.
            names = [name for name in tile.rasters if name.sensor == sensor.name]
            nights[sensor.name] = {}
            if names:
                numbers = np.stack([conversions.to_floats(read(name), sensor.fill_value) for name in names])
                numbers = conversions.remove_glitches(numbers)
                nights[sensor.name] = dict(zip((name.acquired for name in names), numbers, strict=True))
    for channel in channels:
        own_nights = nights.get(channel.sensor.name)
        if own_nights is None:
            assert channel.acquired is not None
            name = RasterName(channel.sensor.name, channel.acquired, channel.band)
            yield read(name) if name in tile.rasters else None
        elif channel.acquired is not None:
            yield own_nights.get(channel.acquired)
        else:
            projected = [night for day, night in own_nights.items() if day in projected_dates]
            projection = PROJECTIONS[channel.sensor.projection_of(channel.band)]
            yield projection(np.stack(projected)) if projected else None


def _scale_by_tile(arrays: TileArrays, channels: Sequence[Channel], recipe: Recipe) -> None:
    """Scale the channels in place, each band by the tile's own values over all its dates."""
    names = [(channel.sensor.name, channel.band) for channel in channels]
    bands = list(dict.fromkeys(names))
    groups = np.array([bands.index(name) for name in names])
    limits = scaling_limits(ChannelStatistics(arrays.code_counts).pooled(groups), channels, recipe)
    for index, channel in enumerate(channels):
        position = np.array([index])
        steps = recipe.steps(channel.sensor.name)
        scaled = apply_scaling(arrays.image[position], limits.only(position), steps, recipe.rescale)
        arrays.image[index] = scaled[0]
        arrays.code_counts[index] = count_codes(arrays.image[index])
