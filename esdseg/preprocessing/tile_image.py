"""The image of one tile: its rasters, read and converted to half precision layer by layer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer
from esdseg.sensors.sensors import Projection, RasterName, Sensor
from esdseg.store.statistics import IS_FINITE, ChannelStatistics, count_codes
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.check_report import problems_of
from esdseg.tiles.clouds import estimate_sky, list_acquisitions, sample_reflectance, sky_bands
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.offset import missing_offset, subtracts_offset
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


Bands = Mapping[str, Sequence[str]]
"""Bands and projections to store, by the name of their sensor."""


@without_side_files()
def fill_image(
    arrays: TileArrays,
    tile: RawTile,
    layers: Sequence[Layer],
    bands: Bands,
    recipe: Recipe,
    reflectance_offset: ReflectanceOffset = "by_date",
) -> tuple[TileGrid, tuple[Acquisition, ...]]:
    """Read a tile and convert its layers to what the store holds, one raster after the other.

    Args:
        arrays: The image and its code counts receive the result, whatever they held before.
        tile: The raw tile.
        layers: The C layers; one whose raster the tile lacks becomes no data.
        bands: The bands that are stored, by sensor.
        recipe: Smoothing is done here; clipping, gamma and rescaling only with ``scale_by: tile``.
        reflectance_offset: From which dates the offset of newer products is subtracted.

    Returns:
        The grid of the tile's files, and its acquisitions; rasters that the grid says are turned were turned.

    Raises:
        InputDataError: A file cannot be read, does not fit, or lies elsewhere than the others.
    """
    announce(files_to_read(tile, bands))
    # Hardly ever a file is to be turned. So all are read as they are, which tells where they lie.
    turned: frozenset[Path] = frozenset()
    while True:
        files = _TileFiles(tile, turned, reflectance_offset)
        measured = _convert_layers(arrays, files, layers, recipe)
        skies = estimate_sky(files.sky_samples(bands), tile.sensors)
        labels = read_georeference(tile.ground_truth) if tile.ground_truth else None
        grid = judge_grid(files.references, tile.ground_truth, labels)
        for problem in problems_of(grid.misfits, tile):
            raise InputDataError(f"{tile.folder / (problem.file or '')}: {problem.message} {problem.fix}")
        if grid.turned - {tile.ground_truth} == turned:
            break
        turned = grid.turned - {tile.ground_truth}
    if recipe.scale_by == "tile":
        _scale_by_tile(arrays, layers, recipe)
    dates = {sensor: tile.dates(sensor) for sensor in bands}
    return grid, list_acquisitions(dates, skies, measured.missing, measured.light)


def files_to_read(tile: RawTile, bands: Bands) -> list[Path]:
    """Return the files that are read for some bands: of night light all, of optical sensors the sky's too."""
    wanted = {
        (name, band)
        for name, stored in bands.items()
        for sensor in (tile.sensors.sensor(name),)
        for band in (sensor.band_names if sensor.kind == "night_light" else (*stored, *sky_bands(sensor)))
    }
    paths = [path for name, path in tile.rasters.items() if (name.sensor, name.band) in wanted]
    return list(dict.fromkeys(paths))


class _TileFiles:
    """Reads the rasters of a tile, and keeps where each says it lies and what tells the sky.

    Attributes:
        tile: The raw tile.
        turned: Files whose rows are put in the opposite order.
        reflectance_offset: From which dates the offset of newer products is subtracted.
        references: Where the rasters read so far say they lie.
    """

    def __init__(self, tile: RawTile, turned: frozenset[Path], reflectance_offset: ReflectanceOffset) -> None:
        self.tile, self.turned, self.reflectance_offset = tile, turned, reflectance_offset
        self.references: dict[Path, Georeference | None] = {}
        self._samples: dict[RasterName, npt.NDArray[np.float32]] = {}

    def read(self, name: RasterName) -> npt.NDArray[Any]:
        path, sensor = self.tile.rasters[name], self.tile.sensors.sensor(name.sensor)
        raster, self.references[path] = read_georeferenced_raster(path, self.tile.sensors, name.band)
        if self.reflectance_offset == "by_date":
            error = missing_offset(path, raster, sensor, name.acquired)
            if error is not None:
                raise error
        raster = raster[::-1] if path in self.turned else raster
        if name.band in sky_bands(sensor):
            has_offset = subtracts_offset(sensor, name.acquired, self.reflectance_offset)
            self._samples[name] = sample_reflectance(raster, sensor, has_offset)
        return raster

    def sky_samples(self, bands: Bands) -> dict[RasterName, npt.NDArray[np.float32]]:
        """Return the reflectance that tells the sky, of bands that are not stored too."""
        for name in self.tile.rasters:
            sensor = self.tile.sensors.sensor(name.sensor)
            if name.sensor in bands and name not in self._samples and name.band in sky_bands(sensor):
                self.read(name)
        return self._samples


@dataclass
class _Measured:
    """What of each acquisition was measured, by sensor and date.

    Attributes:
        missing: Greatest share of a layer that holds no measurement.
        light: Median of a night, to half a number, so that nights as dark as each other stay equal.
    """

    missing: dict[tuple[str, date], float] = field(default_factory=dict)
    light: dict[tuple[str, date], float] = field(default_factory=dict)

    def add(self, layer: Layer, counts: npt.NDArray[Any]) -> None:
        """Add a layer, given the counts of its codes; projections are of no single date."""
        if layer.acquired is None:
            return
        key = layer.sensor.name, layer.acquired
        measured = int(counts[IS_FINITE].sum())
        self.missing[key] = max(self.missing.get(key, 0.0), 1 - measured / int(counts.sum()))
        if layer.sensor.kind == "night_light" and measured:
            median = ChannelStatistics(counts[np.newaxis]).quantile(0.5)[0]
            self.light[key] = round(2 * float(np.expm1(median))) / 2


def _convert_layers(
    arrays: TileArrays, files: _TileFiles, layers: Sequence[Layer], recipe: Recipe
) -> _Measured:
    """Fill the layers and the counts of their codes."""
    measured = _Measured()
    raw_layers = _raw_layers(files, layers)
    for layer, raw, values, counts in zip(layers, raw_layers, arrays.image, arrays.code_counts, strict=True):
        sigma_px = recipe.steps(layer.sensor.name).smoothing_sigma_px
        conversion = Conversion.of(layer.sensor, layer.acquired, files.reflectance_offset)
        if raw is None:
            values[...] = np.nan
        elif sigma_px:
            values[...] = smooth(conversion(raw), sigma_px)
        else:
            convert_to_half(raw, conversion, values)
        counts[...] = count_codes(values)
        measured.add(layer, counts)
    return measured


def _raw_layers(files: _TileFiles, layers: Sequence[Layer]) -> Iterator[npt.NDArray[Any] | None]:
    """Yield the numbers to convert of each layer in order, ``None`` where the tile has no data."""
    nights: dict[str, dict[date, FloatImage]] = {}
    for sensor in dict.fromkeys(layer.sensor for layer in layers):
        if sensor.kind == "night_light":
            # All nights tell what is a glitch.
            nights[sensor.name] = _clean_nights(files, sensor)
    for layer in layers:
        own_nights = nights.get(layer.sensor.name)
        if own_nights is None:
            assert layer.acquired is not None
            name = RasterName(layer.sensor.name, layer.acquired, layer.band)
            yield files.read(name) if name in files.tile.rasters else None
        elif layer.acquired is not None:
            yield own_nights.get(layer.acquired)
        else:
            projection = PROJECTIONS[layer.sensor.projection_of(layer.band)]
            yield projection(np.stack(list(own_nights.values()))) if own_nights else None


def _clean_nights(files: _TileFiles, sensor: Sensor) -> dict[date, FloatImage]:
    names = [name for name in files.tile.rasters if name.sensor == sensor.name]
    if not names:
        return {}
    numbers = np.stack([conversions.to_floats(files.read(name), sensor.fill_value) for name in names])
    cleaned = conversions.remove_glitches(numbers)
    return dict(zip((name.acquired for name in names), cleaned, strict=True))


def _scale_by_tile(arrays: TileArrays, layers: Sequence[Layer], recipe: Recipe) -> None:
    """Scale the layers in place, each band by the tile's own values over all its dates."""
    names = [(layer.sensor.name, layer.band) for layer in layers]
    bands = list(dict.fromkeys(names))
    groups = np.array([bands.index(name) for name in names])
    limits = scaling_limits(ChannelStatistics(arrays.code_counts).pooled(groups), layers, recipe)
    for index, layer in enumerate(layers):
        position = np.array([index])
        steps = recipe.steps(layer.sensor.name)
        scaled = apply_scaling(arrays.image[position], limits.only(position), steps, recipe.rescale)
        arrays.image[index] = scaled[0]
        arrays.code_counts[index] = count_codes(arrays.image[index])
