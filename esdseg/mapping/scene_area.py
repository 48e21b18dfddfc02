"""Scenes as an area to map: each block is read on its own cells, from all files that reach into it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.mapping.area import EDGE_TOLERANCE, AreaInput, Bands, Ground, bands_of_rasters, fingerprint
from esdseg.mapping.lattice import Block, Cells, divide, divide_tiles
from esdseg.preprocessing.conversions import WHOLE
from esdseg.preprocessing.layer_conversion import LayerConverter, scale_by_rectangle
from esdseg.sensors.channels import Layer, layer_table
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.sensors.sensors import RasterName, Sensor
from esdseg.store.statistics import HalfArray
from esdseg.tiles.cell_grid import CELL_SIZE_M, CellGrid
from esdseg.tiles.clouds import sky_bands
from esdseg.tiles.reading import naming_read_faults, open_tiff, without_side_files
from esdseg.tiles.scenes import SceneReader, Scenes, is_measured, no_place


@dataclass(frozen=True)
class SceneArea(AreaInput):
    """Scenes, or tiles that say where they lie.

    Attributes:
        scenes: The rasters.
        reach: The cells that each file covers, also in part.
        reflectance_offset: From which dates the offset of newer products is subtracted.
    """

    scenes: Scenes
    reach: Mapping[Path, Cells]
    reflectance_offset: ReflectanceOffset

    @classmethod
    def of(
        cls, scenes: Scenes, grid: CellGrid, recipe: Recipe, reflectance_offset: ReflectanceOffset
    ) -> "SceneArea":
        """Divide the area of a grid into blocks; tiles that touch each other are mapped as one.

        Raises:
            InputDataError: A file cannot be read or does not say where it lies.
        """
        reach = {path: covered_cells(path, grid) for path in scenes.files}
        area = Cells.of(grid)
        are_tiles = all(
            (cells.rows, cells.columns) == (GRID_SIZE, GRID_SIZE) and cells.overlap(area) == cells
            for cells in reach.values()
        )
        blocks = divide_tiles(reach.values()) if are_tiles else divide(area)
        bands = bands_of_rasters(scenes.rasters, scenes.sensors)
        identity = f"{reflectance_offset} {fingerprint(scenes.files)}"
        return cls(grid, blocks, scenes.sensors, recipe, bands, identity, scenes, reach, reflectance_offset)

    @contextmanager
    def open(self, block: Block, extent: Cells, bands: Bands) -> Iterator[Ground]:
        """See :meth:`AreaInput.open`."""
        near = {path for path, cells in self.reach.items() if cells.overlap(extent)}
        rasters = {
            name: files
            for name, paths in self.scenes.rasters.items()
            if (files := tuple(path for path in paths if path in near))
        }
        scenes = replace(self.scenes, rasters=rasters)
        with SceneReader(scenes) as reader:
            part = self.grid.part(extent.row, extent.column, extent.rows, extent.columns)
            yield _SceneGround(self, scenes, reader, part, block.core.pixels_within(extent), bands)


class _SceneGround(Ground):
    """A block of scenes. What tells the sky, and the order of dates, is converted when it is opened."""

    def __init__(
        self,
        area: SceneArea,
        scenes: Scenes,
        reader: SceneReader,
        part: CellGrid,
        core: tuple[slice, slice],
        bands: Bands,
    ) -> None:
        self._shape = part.rows * CELL_SIZE_PX, part.columns * CELL_SIZE_PX
        rasters = _SceneRasters(scenes, reader, part, core, bands)
        if not any(rasters.dates.values()):
            # Windows that begin here may yet reach into a neighbour that was measured.
            core = WHOLE
            rasters = _SceneRasters(scenes, reader, part, core, bands)
        self._converter = LayerConverter(rasters, area.recipe, area.reflectance_offset, core)
        self._converted: dict[Layer, HalfArray] = {}
        self.layers = layer_table(rasters.dates, area.sensors, bands)
        # Of sensors that show no clouds, the layers themselves tell in which order dates are taken.
        is_scaled = area.recipe.scale_by == "tile"
        first = [layer for layer in self.layers if is_scaled or not sky_bands(layer.sensor)]
        image = np.empty((len(first), *self._shape), np.float16)
        counts = []
        for layer, values in zip(first, image, strict=True):
            self._converter.convert(layer, values)
            counts.append(self._converter.measure(layer, values))
        self.acquisitions = self._converter.acquisitions(rasters.dates)
        if is_scaled and first:
            scale_by_rectangle(image, np.array(counts, np.int64), first, area.recipe)
        self._converted.update(zip(first, image, strict=True))

    def read(self, layers: Sequence[Layer | None]) -> HalfArray:
        image = np.empty((len(layers), *self._shape), np.float16)
        for layer, values in zip(layers, image, strict=True):
            if layer is None:
                values[...] = np.nan
            elif layer in self._converted:
                values[...] = self._converted[layer]
            else:
                self._converter.convert(layer, values)
        return image


class _SceneRasters:
    """The rasters of scenes over a block; those that tell the dates and the sky are read once."""

    def __init__(
        self, scenes: Scenes, reader: SceneReader, part: CellGrid, core: tuple[slice, slice], bands: Bands
    ) -> None:
        self.sensors, self._scenes, self._reader, self._part = scenes.sensors, scenes, reader, part
        self._kept: dict[RasterName, npt.NDArray[Any]] = {}
        self.dates = {sensor: self._dates(self.sensors.sensor(sensor), core) for sensor in bands}
        self.names: Collection[RasterName] = tuple(
            name for name in scenes.rasters if name.acquired in self.dates.get(name.sensor, ())
        )

    def path(self, name: RasterName) -> Path:
        return self._scenes.rasters[name][0]

    def read(self, name: RasterName) -> npt.NDArray[Any]:
        if name in self._kept:
            return self._kept[name]
        raster = self._reader.read(name, self._part)
        if name.band in sky_bands(self.sensors.sensor(name.sensor)):
            self._kept[name] = raster
        return raster

    def _dates(self, sensor: Sensor, core: tuple[slice, slice]) -> tuple[date, ...]:
        """Return the dates on which anything was measured in the core, by one band a date."""
        seen = []
        for day in self._scenes.dates(sensor.name):
            held = (RasterName(sensor.name, day, band) for band in (*sky_bands(sensor), *sensor.band_names))
            name = next(name for name in held if name in self._scenes.rasters)
            self._kept[name] = self._reader.read(name, self._part)
            if bool(is_measured(self._kept[name][core], sensor).any()):
                seen.append(day)
            else:
                del self._kept[name]
        return tuple(seen)


def covered_cells(path: Path, grid: CellGrid) -> Cells:
    """Return the cells of a grid's lattice that a raster covers, be it in part.

    Raises:
        InputDataError: The file cannot be read or does not say where it lies.
    """
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds

    with naming_read_faults(path), without_side_files(), open_tiff(path) as source:
        if source.crs is None:
            raise no_place(path)
        left, bottom, right, top = transform_bounds(source.crs, CRS.from_wkt(grid.crs_wkt), *source.bounds)
    first = floor((left - grid.left_m) / CELL_SIZE_M + EDGE_TOLERANCE)
    last = ceil((right - grid.left_m) / CELL_SIZE_M - EDGE_TOLERANCE)
    upper = floor((grid.top_m - top) / CELL_SIZE_M + EDGE_TOLERANCE)
    lower = ceil((grid.top_m - bottom) / CELL_SIZE_M - EDGE_TOLERANCE)
    return Cells(upper, first, max(1, lower - upper), max(1, last - first))
