"""Tiles as an area to map: those of a store where they lie, and tiles that lie nowhere each for itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.mapping.area import EDGE_TOLERANCE, AreaInput, Bands, Ground, bands_of_rasters, fingerprint
from esdseg.mapping.lattice import Block, Cells, divide_tiles
from esdseg.preprocessing.tile_image import fill_image
from esdseg.sensors.channels import Layer, layer_table
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.store.statistics import HalfArray
from esdseg.store.store import NO_LAYER, Store
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.cell_grid import CELL_SIZE_M, CellGrid
from esdseg.tiles.discovery import RawTile


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
