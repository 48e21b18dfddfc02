"""The image of one tile: its rasters are read from its files, and converted on its grid."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.errors import InputDataError
from esdseg.preprocessing.conversions import LayerConverter, scale_by_rectangle
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer
from esdseg.sensors.sensors import RasterName, SensorTable
from esdseg.store.statistics import count_codes
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.clouds import sky_bands
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.problems import problems_of
from esdseg.tiles.reading import (
    Georeference,
    announce,
    read_georeference,
    read_georeferenced_raster,
    without_side_files,
)
from esdseg.tiles.tile_grid import TileGrid, judge_grid

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
    dates = {sensor: tile.dates(sensor) for sensor in bands}
    # Hardly ever a file is to be turned. So all are read as they are, which tells where they lie.
    turned: frozenset[Path] = frozenset()
    while True:
        files = _TileFiles(tile, turned)
        converter = LayerConverter(files, recipe, reflectance_offset)
        for layer, values, counts in zip(layers, arrays.image, arrays.code_counts, strict=True):
            converter.convert(layer, values)
            counts[...] = converter.measure(layer, values)
        acquisitions = converter.acquisitions(dates)
        labels = read_georeference(tile.ground_truth) if tile.ground_truth else None
        grid = judge_grid(files.references, tile.ground_truth, labels)
        for problem in problems_of(grid.misfits, tile):
            raise InputDataError(f"{tile.folder / (problem.file or '')}: {problem.message} {problem.fix}")
        if grid.turned - {tile.ground_truth} == turned:
            break
        turned = grid.turned - {tile.ground_truth}
    if recipe.scale_by == "tile":
        scale_by_rectangle(arrays.image, arrays.code_counts, layers, recipe)
        for values, counts in zip(arrays.image, arrays.code_counts, strict=True):
            counts[...] = count_codes(values)
    return grid, acquisitions


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
    """The rasters of a tile, read from their files; keeps where each says it lies.

    Attributes:
        tile: The raw tile.
        turned: Files whose rows are put in the opposite order.
        references: Where the rasters read so far say they lie.
    """

    def __init__(self, tile: RawTile, turned: frozenset[Path]) -> None:
        self.tile, self.turned = tile, turned
        self.references: dict[Path, Georeference | None] = {}

    @property
    def sensors(self) -> SensorTable:
        return self.tile.sensors

    @property
    def names(self) -> Collection[RasterName]:
        return self.tile.rasters.keys()

    def path(self, name: RasterName) -> Path:
        return self.tile.rasters[name]

    def read(self, name: RasterName) -> npt.NDArray[Any]:
        path = self.path(name)
        raster, self.references[path] = read_georeferenced_raster(path, self.sensors, name.band)
        return raster[::-1] if path in self.turned else raster
