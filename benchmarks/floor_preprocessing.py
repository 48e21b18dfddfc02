"""The least that any program must do to preprocess tiles."""

from collections.abc import Iterable
from pathlib import Path

import rasterio

from esdseg.tiles.discovery import RawTile


def read_rasters(tiles: Iterable[RawTile]) -> None:
    """Read each raster of some tiles once, as rasterio does by itself."""
    for tile in tiles:
        for path in tile.rasters.values():
            with rasterio.open(path) as file:
                file.read(1)


def preprocess_tile(tile: RawTile, result: bytes, path: Path) -> None:
    """Read each raster once, and write the bytes of the result once."""
    read_rasters([tile])
    path.write_bytes(result)
