"""The image of one tile: its rasters, read and converted to half precision channel by channel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.errors import InputDataError
from esdseg.preprocessing import conversions
from esdseg.preprocessing.conversions import Conversion, FloatImage, convert_to_half
from esdseg.preprocessing.recipe import apply_scaling, scaling_limits, smooth
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import Projection, RasterName
from esdseg.store.statistics import ChannelStatistics, count_codes
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.check_report import problems_of
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.offset import missing_offset
from esdseg.tiles.reading import (
    Georeference,
    announce,
    read_georeference,
    read_georeferenced_raster,
    without_side_files,
)
from esdseg.tiles.tile_grid import TileGrid, judge_grid

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
    reflectance_offset: ReflectanceOffset = "by_date",
) -> TileGrid:
    """Read a tile and convert its channels to what the store holds, one raster after the other.

    Args:
        arrays: The image and its code counts receive the result, whatever they held before.
        tile: The raw tile.
        channels: The C channels; one whose raster the tile lacks becomes no data.
        projected_dates: Nights over which the projections of night lights are taken.
        recipe: Smoothing is done here; clipping, gamma and rescaling only with ``scale_by: tile``.
        reflectance_offset: From which dates the offset of newer products is subtracted.

    Returns:
        The grid of the tile's files; rasters that it says are turned were turned.

    Raises:
        InputDataError: A file cannot be read, does not fit, or lies elsewhere than the others.
    """
    announce(files_to_read(tile, channels))
    # Hardly ever a file is to be turned. So all are read as they are, which tells where they lie.
    turned: frozenset[Path] = frozenset()
    while True:
        files = _TileFiles(tile, turned, reflectance_offset)
        _convert_channels(arrays, files, channels, projected_dates, recipe)
        labels = read_georeference(tile.ground_truth) if tile.ground_truth else None
        grid = judge_grid(files.references, tile.ground_truth, labels)
        for problem in problems_of(grid.misfits, tile):
            raise InputDataError(f"{tile.folder / (problem.file or '')}: {problem.message} {problem.fix}")
        if grid.turned - {tile.ground_truth} == turned:
            break
        turned = grid.turned - {tile.ground_truth}
    if recipe.scale_by == "tile":
        _scale_by_tile(arrays, channels, recipe)
    return grid


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


class _TileFiles:
    """Reads the rasters of a tile, and keeps where each says it lies.

    Attributes:
        tile: The raw tile.
        turned: Files whose rows are put in the opposite order.
        reflectance_offset: From which dates the offset of newer products is subtracted.
        references: Where the rasters read so far say they lie.
    """

    def __init__(self, tile: RawTile, turned: frozenset[Path], reflectance_offset: ReflectanceOffset) -> None:
        self.tile, self.turned, self.reflectance_offset = tile, turned, reflectance_offset
        self.references: dict[Path, Georeference | None] = {}

    def read(self, name: RasterName) -> npt.NDArray[Any]:
        path = self.tile.rasters[name]
        raster, self.references[path] = read_georeferenced_raster(path, self.tile.sensors, name.band)
        if self.reflectance_offset == "by_date":
            error = missing_offset(path, raster, self.tile.sensors.sensor(name.sensor), name.acquired)
            if error is not None:
                raise error
        return raster[::-1] if path in self.turned else raster


def _convert_channels(
    arrays: TileArrays,
    files: _TileFiles,
    channels: Sequence[Channel],
    projected_dates: Sequence[date],
    recipe: Recipe,
) -> None:
    """Fill the channels and the counts of their codes."""
    raw_channels = _raw_channels(files, channels, projected_dates)
    for channel, raw, values, counts in zip(
        channels, raw_channels, arrays.image, arrays.code_counts, strict=True
    ):
        sigma_px = recipe.steps(channel.sensor.name).smoothing_sigma_px
        conversion = Conversion.of(channel.sensor, channel.acquired, files.reflectance_offset)
        if raw is None:
            values[...] = np.nan
        elif sigma_px:
            values[...] = smooth(conversion(raw), sigma_px)
        else:
            convert_to_half(raw, conversion, values)
        counts[...] = count_codes(values)


def _raw_channels(
    files: _TileFiles, channels: Sequence[Channel], projected_dates: Sequence[date]
) -> Iterator[npt.NDArray[Any] | None]:
    """Yield the numbers to convert of each channel in order, ``None`` where the tile has no data."""
    rasters = files.tile.rasters
    nights: dict[str, dict[date, FloatImage]] = {}
    for sensor in dict.fromkeys(channel.sensor for channel in channels):
        if sensor.kind == "night_light":
            # All nights tell what is a glitch, so that a channel does not depend on which are selected.
            names = [name for name in rasters if name.sensor == sensor.name]
            nights[sensor.name] = {}
            if names:
                numbers = [conversions.to_floats(files.read(name), sensor.fill_value) for name in names]
                without_glitches = conversions.remove_glitches(np.stack(numbers))
                acquired = (name.acquired for name in names)
                nights[sensor.name] = dict(zip(acquired, without_glitches, strict=True))
    for channel in channels:
        own_nights = nights.get(channel.sensor.name)
        if own_nights is None:
            assert channel.acquired is not None
            name = RasterName(channel.sensor.name, channel.acquired, channel.band)
            yield files.read(name) if name in rasters else None
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
