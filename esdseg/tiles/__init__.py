"""Raw tiles as they lie on disk: found, named, read and checked."""

from esdseg.tiles.checking import check_tiles
from esdseg.tiles.discovery import RawTile, find_tiles, union_of_dates
from esdseg.tiles.findings import Note, Problem
from esdseg.tiles.names import natural_key
from esdseg.tiles.reading import (
    Georeference,
    TileFileError,
    read_georeference,
    read_ground_truth,
    read_raster,
)
from esdseg.tiles.report import CheckReport

__all__ = [
    "CheckReport",
    "Georeference",
    "Note",
    "Problem",
    "RawTile",
    "TileFileError",
    "check_tiles",
    "find_tiles",
    "natural_key",
    "read_georeference",
    "read_ground_truth",
    "read_raster",
    "union_of_dates",
]
