"""What is mapped, block by block: scenes, a store, or tiles that lie nowhere."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from math import ceil, floor, isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.mapping.lattice import LARGEST_WINDOW, Block, Cells, divide, divide_tiles
from esdseg.preprocessing.conversions import WHOLE, LayerConverter, scale_by_rectangle
from esdseg.preprocessing.tile_image import fill_image
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Layer, layer_table
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.sensors.sensors import RasterName, Sensor, SensorTable
from esdseg.store.statistics import HalfArray
from esdseg.store.store import NO_LAYER, Store
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.area import CELL_SIZE_M, Bounds, CellGrid
from esdseg.tiles.clouds import sky_bands
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import (
    has_place,
    naming_read_faults,
    no_place,
    open_tiff,
    without_side_files,
)
from esdseg.tiles.scenes import SceneReader, Scenes, is_measured

EDGE_TOLERANCE = 0.01
"""How far an edge may be from the lattice and yet lie on it, in cells: half a pixel."""

Bands = Mapping[str, Sequence[str]]
"""Bands and projections to read, by the name of their sensor."""


class Ground(ABC):
    """The layers of a block of ground.

    Attributes:
        layers: What there is.
        acquisitions: The dates of each sensor, and what the sky was over the block's core.
    """

    layers: tuple[Layer, ...]
    acquisitions: tuple[Acquisition, ...]

    @abstractmethod
    def read(self, layers: Sequence[Layer | None]) -> HalfArray:
        """Return layers (C, height, width) of the block's extent; NaN is no data, as is what is not there."""


@dataclass(frozen=True)
class AreaInput(ABC):
    """What is mapped. It is pickled for each worker, and says where to read.

    Attributes:
        grid: The cells of the map; without reference system where the input does not say where it lies.
        blocks: What is read in one go; together they are what is mapped.
        sensors: The description of the sensors.
        recipe: How the values of layers come about.
        bands: The bands and projections that there are, by sensor.
        identity: Changes whenever what is read does.
    """

    grid: CellGrid
    blocks: tuple[Block, ...]
    sensors: SensorTable
    recipe: Recipe
    bands: Mapping[str, tuple[str, ...]]
    identity: str

    @abstractmethod
    @contextmanager
    def open(self, block: Block, extent: Cells, bands: Bands) -> Iterator[Ground]:
        """Open a block until the context is left.

        Args:
            block: One of :attr:`blocks`.
            extent: The cells to read, of which the block's core is a part.
            bands: What will be read.

        Raises:
            InputDataError: A file is missing, cannot be read or does not fit.
        """

    @property
    def is_georeferenced(self) -> bool:
        """Whether it is known where the area lies."""
        return bool(self.grid.crs_wkt)

    @property
    def has_places(self) -> bool:
        """Whether any part of the area says where it lies, even if that does not place the whole."""
        return self.is_georeferenced


def bands_of_rasters(rasters: Iterable[RasterName], sensors: SensorTable) -> dict[str, tuple[str, ...]]:
    """Return the bands of rasters by sensor, in its order, and the projections of its nights."""
    held: dict[str, set[str]] = {}
    for name in rasters:
        held.setdefault(name.sensor, set()).add(name.band)
    return {
        sensor.name: (
            *(band for band in sensor.band_names if band in held[sensor.name]),
            *sensor.projection_names,
        )
        for sensor in sensors.all
        if sensor.name in held
    }


def fingerprint(files: Iterable[Path]) -> str:
    """Return a digest of names, sizes and times of change of files."""
    digest = hashlib.sha256()
    for path in dict.fromkeys(files):
        state = path.stat()
        digest.update(f"{path.absolute()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


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

    Of a raster that reaches far beyond the grid and its windows, some that lie beyond are left out: a raster
    of the whole globe has no bounds in the grid's reference system.

    Raises:
        InputDataError: The file cannot be read or does not say where it lies.
    """
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds

    wider = grid.part(
        -LARGEST_WINDOW, -LARGEST_WINDOW, grid.rows + 2 * LARGEST_WINDOW, grid.columns + 2 * LARGEST_WINDOW
    )
    crs = CRS.from_wkt(grid.crs_wkt)
    with naming_read_faults(path), without_side_files(), open_tiff(path) as source:
        if not has_place(source):
            raise no_place(path)
        bounds = _part_near(source.bounds, transform_bounds(crs, source.crs, *wider.bounds))
        left, bottom, right, top = transform_bounds(source.crs, crs, *bounds)
    first = floor((left - grid.left_m) / CELL_SIZE_M + EDGE_TOLERANCE)
    last = ceil((right - grid.left_m) / CELL_SIZE_M - EDGE_TOLERANCE)
    upper = floor((grid.top_m - top) / CELL_SIZE_M + EDGE_TOLERANCE)
    lower = ceil((grid.top_m - bottom) / CELL_SIZE_M - EDGE_TOLERANCE)
    return Cells(upper, first, max(1, lower - upper), max(1, last - first))


def _part_near(bounds: Bounds, near: Bounds) -> Bounds:
    """Return the part of a raster's bounds within others, or all where there is none or that is unknown."""
    left, right = max(bounds[0], near[0]), min(bounds[2], near[2])
    bottom, top = max(bounds[1], near[1]), min(bounds[3], near[3])
    is_part = all(map(isfinite, near)) and near[0] <= near[2] and left < right and bottom < top
    return (left, bottom, right, top) if is_part else bounds


@dataclass(frozen=True)
class StoreArea(AreaInput):
    """A processed store.

    Attributes:
        store: The store.
        placed: The cells of each tile in the area, by its name.
    """

    store: Store
    placed: Mapping[str, Cells]

    @classmethod
    def of(cls, store: Store) -> "StoreArea":
        """Place the tiles of a store: where they lie, or in rows beside each other where that is unknown."""
        manifest = store.manifest
        placed = place_tiles(store)
        if placed is None:
            grid, blocks = contact_sheet(tuple(manifest.tiles))
            cells = {block.name: block.core for block in blocks}
        else:
            grid, cells = placed
            blocks = divide_tiles(cells.values())
        bands, recipe = dict(manifest.bands), manifest.config.recipe
        return cls(grid, blocks, manifest.sensors, recipe, bands, store.manifest_hash, store, cells)

    @property
    def has_places(self) -> bool:
        """See :attr:`AreaInput.has_places`."""
        return any(entry.georeference is not None for entry in self.store.manifest.tiles.values())

    @contextmanager
    def open(self, block: Block, extent: Cells, bands: Bands) -> Iterator[Ground]:
        """See :meth:`AreaInput.open`."""
        yield _StoreGround(self, block, extent)


class _StoreGround(Ground):
    """A block of a store's tiles: dates and sky are those of the tile that covers most of its core.

    Where another tile reaches into the extent, it gives its layers of the same dates.
    """

    def __init__(self, area: StoreArea, block: Block, extent: Cells) -> None:
        self._store, self._extent = area.store, extent
        self._placed = {tile: cells for tile, cells in area.placed.items() if cells.overlap(extent)}

        def covered(tile: str) -> tuple[int, int]:
            shared = (self._placed[tile].overlap(cells) for cells in (block.core, extent))
            core, around = (0 if cells is None else cells.rows * cells.columns for cells in shared)
            return core, around

        # The tile that counts most is read last, over what lies below it.
        self._tiles = sorted(self._placed, key=covered)
        main = self._tiles[-1] if self._tiles else None
        self.layers = area.store.layers(main) if main else ()
        self.acquisitions = area.store.acquisitions(main) if main else ()

    def read(self, layers: Sequence[Layer | None]) -> HalfArray:
        height, width = self._extent.rows * CELL_SIZE_PX, self._extent.columns * CELL_SIZE_PX
        image = np.full((len(layers), height, width), np.nan, np.float16)
        for tile in self._tiles:
            held = {layer: position for position, layer in enumerate(self._store.layers(tile))}
            positions = np.array(
                [NO_LAYER if layer is None else held.get(layer, NO_LAYER) for layer in layers]
            )
            shared = self._placed[tile].overlap(self._extent)
            assert shared is not None
            top, left = shared.row - self._placed[tile].row, shared.column - self._placed[tile].column
            rows, columns = shared.pixels_within(self._extent)
            read = self._store.read_cells(tile, top, left, shared.rows, shared.columns, positions)
            image[:, rows, columns] = read
        return image


@dataclass(frozen=True)
class TilesArea(AreaInput):
    """Raw tiles that do not say where they lie.

    Attributes:
        tiles: The tiles, by name.
        reflectance_offset: From which dates the offset of newer products is subtracted.
    """

    tiles: Mapping[str, RawTile]
    reflectance_offset: ReflectanceOffset

    @classmethod
    def of(
        cls, tiles: Sequence[RawTile], recipe: Recipe, reflectance_offset: ReflectanceOffset
    ) -> "TilesArea":
        """Lay tiles beside each other, each for itself."""
        by_name = {tile.name: tile for tile in tiles}
        grid, blocks = contact_sheet(tuple(by_name))
        sensors = tiles[0].sensors
        bands = bands_of_rasters((name for tile in tiles for name in tile.rasters), sensors)
        files = (path for tile in tiles for path in tile.rasters.values())
        identity = f"{reflectance_offset} {fingerprint(files)}"
        return cls(grid, blocks, sensors, recipe, bands, identity, by_name, reflectance_offset)

    @contextmanager
    def open(self, block: Block, extent: Cells, bands: Bands) -> Iterator[Ground]:
        """See :meth:`AreaInput.open`."""
        yield _TileGround(self, self.tiles[block.name], bands)


class _TileGround(Ground):
    """A raw tile, all of whose layers are converted when it is opened."""

    def __init__(self, area: TilesArea, tile: RawTile, bands: Bands) -> None:
        dates = {sensor: tile.dates(sensor) for sensor in bands}
        self.layers = layer_table(dates, tile.sensors, bands)
        self._arrays = TileArrays.empty(len(self.layers))
        _, self.acquisitions = fill_image(
            self._arrays, tile, self.layers, bands, area.recipe, area.reflectance_offset
        )

    def read(self, layers: Sequence[Layer | None]) -> HalfArray:
        held = {layer: position for position, layer in enumerate(self.layers)}
        image = np.full((len(layers), *self._arrays.image.shape[1:]), np.nan, np.float16)
        for layer, values in zip(layers, image, strict=True):
            if layer in held:
                values[...] = self._arrays.image[held[layer]]
        return image


def contact_sheet(tiles: Sequence[str]) -> tuple[CellGrid, tuple[Block, ...]]:
    """Lay tiles that lie nowhere beside each other in about as many rows as columns, in their order.

    Returns:
        Cells without a reference system, and a block a tile.
    """
    across = ceil(sqrt(len(tiles)))
    blocks = []
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        cells = Cells(row * GRID_SIZE, column * GRID_SIZE, GRID_SIZE, GRID_SIZE)
        blocks.append(Block(tile, cells, cells))
    down = ceil(len(tiles) / across)
    return CellGrid("", 0.0, 0.0, down * GRID_SIZE, across * GRID_SIZE), tuple(blocks)


def place_tiles(store: Store) -> tuple[CellGrid, dict[str, Cells]] | None:
    """Return the area of a store's tiles and the cells of each.

    Returns:
        ``None`` unless all tiles say where they lie, in one reference system and on one lattice of cells.
    """
    from rasterio.crs import CRS

    references = {tile: entry.georeference for tile, entry in store.manifest.tiles.items()}
    first = next((reference for reference in references.values() if reference is not None), None)
    if first is None:
        return None
    crs, unit = CRS.from_wkt(first.crs_wkt), CELL_SIZE_M / CELL_SIZE_PX
    corners: dict[str, tuple[int, int]] = {}
    for tile, reference in references.items():
        if reference is None or not _is_plain(reference.transform, unit):
            return None
        if reference.crs_wkt != first.crs_wkt and CRS.from_wkt(reference.crs_wkt) != crs:
            return None
        right = (reference.transform[2] - first.transform[2]) / CELL_SIZE_M
        down = (first.transform[5] - reference.transform[5]) / CELL_SIZE_M
        if max(abs(right - round(right)), abs(down - round(down))) > EDGE_TOLERANCE:
            return None
        corners[tile] = round(down), round(right)
    top, left = (min(corner[side] for corner in corners.values()) for side in (0, 1))
    cells = {
        tile: Cells(row - top, column - left, GRID_SIZE, GRID_SIZE) for tile, (row, column) in corners.items()
    }
    grid = CellGrid(
        crs.to_wkt(),
        first.transform[2] + left * CELL_SIZE_M,
        first.transform[5] - top * CELL_SIZE_M,
        max(tile.bottom for tile in cells.values()),
        max(tile.right for tile in cells.values()),
    )
    return grid, cells


def _is_plain(transform: tuple[float, ...], pixel_m: float) -> bool:
    """Return whether pixels are squares of 10 m, rows from north to south."""
    return bool(np.allclose((*transform[:2], *transform[3:5]), (pixel_m, 0, 0, -pixel_m), atol=1e-6))
