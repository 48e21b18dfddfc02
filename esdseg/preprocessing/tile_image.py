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
from esdseg.sensors.sensors import RasterName, SensorName
from esdseg.store.statistics import ChannelStatistics, count_codes
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import Georeference, announce, read_georeferenced_raster, without_side_files

CONVERSIONS: Mapping[SensorName, Conversion] = {
    "viirs": conversions.to_log_radiance,
    "sentinel1": conversions.to_decibels,
    "sentinel2": conversions.to_reflectance,
    "landsat8": conversions.to_scaled_numbers,
}
"""From a raw raster to physical values; for VIIRS, from the numbers of a night without glitches."""

PROJECTIONS: Mapping[str, Callable[[FloatImage], FloatImage]] = {
    "DNB_max": conversions.project_max,
    "DNB_median": conversions.project_median,
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
        projected_dates: Nights over which the projections of VIIRS are taken.
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
        sigma_px, conversion = recipe.steps(channel.sensor).smoothing_sigma_px, CONVERSIONS[channel.sensor]
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
    wanted = {(channel.sensor, channel.acquired, channel.band) for channel in channels}
    with_nights = any(channel.sensor == "viirs" for channel in channels)
    return [
        path
        for name, path in tile.rasters.items()
        if (name.sensor, name.acquired, name.band) in wanted or (name.sensor == "viirs" and with_nights)
    ]


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
        raster, georeference = read_georeferenced_raster(tile.rasters[name])
        if georeference is not None:
            georeferences.append(georeference)
        return raster

    nights: dict[date, FloatImage] = {}
    if any(channel.sensor == "viirs" for channel in channels):
        # All nights of the tile tell what is a glitch, so a channel does not depend on which are selected.
        names = [name for name in tile.rasters if name.sensor == "viirs"]
        if names:
            numbers = np.stack([conversions.to_night_numbers(read(name)) for name in names])
            numbers = conversions.remove_glitches(numbers)
            nights = dict(zip((name.acquired for name in names), numbers, strict=True))
    for channel in channels:
        if channel.acquired is None:
            projected = [night for day, night in nights.items() if day in projected_dates]
            yield PROJECTIONS[channel.band](np.stack(projected)) if projected else None
        elif channel.sensor == "viirs":
            yield nights.get(channel.acquired)
        else:
            name = RasterName(channel.sensor, channel.acquired, channel.band)
            yield read(name) if name in tile.rasters else None


def _scale_by_tile(arrays: TileArrays, channels: Sequence[Channel], recipe: Recipe) -> None:
    """Scale the channels in place, each band by the tile's own values over all its dates."""
    bands = list(dict.fromkeys((channel.sensor, channel.band) for channel in channels))
    groups = np.array([bands.index((channel.sensor, channel.band)) for channel in channels])
    limits = scaling_limits(ChannelStatistics(arrays.code_counts).pooled(groups), channels, recipe)
    for index, channel in enumerate(channels):
        position = np.array([index])
        steps = recipe.steps(channel.sensor)
        scaled = apply_scaling(arrays.image[position], limits.only(position), steps, recipe.rescale)
        arrays.image[index] = scaled[0]
        arrays.code_counts[index] = count_codes(arrays.image[index])
