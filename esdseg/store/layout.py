"""Where everything of a processed store lies."""

from pathlib import Path
from typing import Literal

from esdseg.errors import InputDataError
from esdseg.tiles.names import RENAME_TILE, is_tile_name

SplitName = Literal["train", "val", "test"]

SPLIT_FOLDERS: dict[SplitName, str] = {"train": "Train", "val": "Val", "test": "Test"}
"""Folder of each split's tiles. ``test`` holds the labelled tiles that no choice may see, and all tiles
without ground truth."""

MANIFEST_NAME = "manifest.json"
UNFINISHED_NAME = ".unfinished"
"""Folder of tiles that are still being written; never read, cleaned up by the next run."""

FORMAT_VERSION = 1
"""Raised when stores that were written before can no longer be read."""


def store_path(processed_dir: Path, subtile_size: int) -> Path:
    """Return the folder of the store with subtiles of ``subtile_size`` cells, such as ``4x4``."""
    return processed_dir / f"{subtile_size}x{subtile_size}"


def tile_path(store: Path, split: SplitName, tile: str) -> Path:
    """Return the folder of a tile's Zarr group.

    Raises:
        InputDataError: The name would lead out of the store.
    """
    return store / SPLIT_FOLDERS[split] / f"{checked_tile_name(tile)}.zarr"


def checked_tile_name(tile: str) -> str:
    """Return ``tile`` if it can name a folder of the store and nothing else.

    Raises:
        InputDataError: It cannot; see :func:`esdseg.tiles.names.is_tile_name`.
    """
    if not is_tile_name(tile):
        raise InputDataError(f"A tile cannot be called {tile!r}. {RENAME_TILE}")
    return tile
