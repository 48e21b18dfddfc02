"""From the rasters of one tile to its image in half precision."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.channels import Channel
from esdseg.config.preprocessing import Recipe
from esdseg.grid import TILE_SIZE_PX
from esdseg.preprocessing import landsat8, sentinel1, sentinel2, viirs
from esdseg.preprocessing.recipe import FloatImage, apply_scaling, scaling_limits, smooth
from esdseg.sensors import RasterName, SensorName
from esdseg.store.statistics import NUM_CODES, ChannelStatistics, CodeCounts, HalfArray, count_codes
from esdseg.tiles import Georeference, RawTile
from esdseg.tiles.reading import read_georeferenced_raster

CONVERSIONS: Mapping[SensorName, Callable[[npt.NDArray[Any]], FloatImage]] = {
    "sentinel1": sentinel1.to_decibels,
    "sentinel2": sentinel2.to_reflectance,
    "landsat8": landsat8.to_scaled_numbers,
}
"""From a raw raster to physical values, for the sensors whose dates stand on their own."""

PROJECTIONS: Mapping[str, Callable[[FloatImage], FloatImage]] = {
    "DNB_max": viirs.project_max,
    "DNB_median": viirs.project_median,
}
"""From the numbers of several nights to those of one."""


@dataclass(frozen=True)
class TileImage:
    """The image of one tile.

    Attributes:
        values: Channels (C, 800, 800) in half precision; NaN is no data.
        code_counts: Counts (C, 65536) of their codes.
        georeference: Where the first raster read that says so lies.
    """

    values: HalfArray
    code_counts: CodeCounts
    georeference: Georeference | None


def build_image(
    tile: RawTile, channels: Sequence[Channel], projected_dates: Sequence[date], recipe: Recipe
) -> TileImage:
    """Read a tile and bring its channels to what the store holds, one raster after the other.

    Args:
        tile: The raw tile.
        channels: The C channels; one whose raster the tile lacks becomes no data.
        projected_dates: Nights that the projections of VIIRS look at.
        recipe: Smoothing is done here; clipping, gamma and rescaling only with ``scale_by: tile``.

    Raises:
        InputDataError: A raster cannot be read or does not fit.
    """
    values = np.full((len(channels), TILE_SIZE_PX, TILE_SIZE_PX), np.nan, np.float16)
    code_counts = np.empty((len(channels), NUM_CODES), np.int64)
    places: list[Georeference] = []
    for index, image in _physical_channels(tile, channels, projected_dates, places):
        values[index] = smooth(image, recipe.steps(channels[index].sensor).smoothing_sigma_px)
    for index, channel in enumerate(values):
        code_counts[index] = count_codes(channel)
    if recipe.scale_by == "tile":
        _scale_by_tile(values, code_counts, channels, recipe)
    return TileImage(values, code_counts, places[0] if places else None)


def _physical_channels(
    tile: RawTile, channels: Sequence[Channel], projected_dates: Sequence[date], places: list[Georeference]
) -> Iterator[tuple[int, FloatImage]]:
    """Yield the position and physical values of each channel for which the tile has data."""

    def read(name: RasterName) -> npt.NDArray[Any]:
        raster, place = read_georeferenced_raster(tile.rasters[name])
        if place is not None:
            places.append(place)
        return raster

    nights: dict[date, FloatImage] = {}
    if any(channel.sensor == "viirs" for channel in channels):
        # Glitches are told by all nights of the tile, so a channel does not depend on which are selected.
        names = [name for name in tile.rasters if name.sensor == "viirs"]
        if names:
            numbers = viirs.remove_glitches(np.stack([viirs.to_numbers(read(name)) for name in names]))
            nights = dict(zip((name.acquired for name in names), numbers, strict=True))
    for index, channel in enumerate(channels):
        if channel.acquired is None:
            projected = [night for day, night in nights.items() if day in projected_dates]
            if projected:
                numbers = PROJECTIONS[channel.band](np.stack(projected))
                yield index, viirs.to_log_radiance(numbers)
        elif channel.sensor == "viirs":
            if channel.acquired in nights:
                yield index, viirs.to_log_radiance(nights[channel.acquired])
        else:
            name = RasterName(channel.sensor, channel.acquired, channel.band)
            if name in tile.rasters:
                yield index, CONVERSIONS[channel.sensor](read(name))


def _scale_by_tile(
    values: HalfArray, code_counts: CodeCounts, channels: Sequence[Channel], recipe: Recipe
) -> None:
    """Scale the channels in place, each band by the tile's own values over all its dates."""
    bands = list(dict.fromkeys((channel.sensor, channel.band) for channel in channels))
    groups = np.array([bands.index((channel.sensor, channel.band)) for channel in channels])
    limits = scaling_limits(ChannelStatistics(code_counts).pooled(groups), channels, recipe)
    for index, channel in enumerate(channels):
        one = np.array([index])
        scaled = apply_scaling(values[one], limits.only(one), recipe.steps(channel.sensor), recipe.rescale)
        values[index] = scaled[0]
        code_counts[index] = count_codes(values[index])
