"""Writes small processed stores without raw tiles: few channels, labels that the images give away."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.config.preprocessing import Recipe
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, UNKNOWN_LABEL
from esdseg.store.identity import describe_tile
from esdseg.store.manifest import (
    FORMAT_VERSION,
    UNFINISHED_NAME,
    Manifest,
    SourceFingerprint,
    SplitName,
    SplitSettings,
    StoreSettings,
    config_hash,
    store_path,
    tile_path,
    write_manifest,
)
from esdseg.store.statistics import count_codes
from esdseg.store.store import Store, open_store
from esdseg.store.tile_store import TileArrays, write_tile
from tests.contest import CONTEST, stored_layers

CHANNELS = (
    "viirs_2020-08-08_DNB",
    "viirs_2020-08-11_DNB",
    "sentinel2_2020-08-11_B04",
    "sentinel2_2020-08-16_B04",
)
SPLIT: Mapping[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile10": "val"}


def random_labels(seed: int) -> npt.NDArray[np.uint8]:
    """Return blocks of 2 x 2 cells of all four classes."""
    blocks = np.random.default_rng(seed).choice(4, (GRID_SIZE // 2, GRID_SIZE // 2), p=[0.4, 0.4, 0.1, 0.1])
    return np.kron(blocks, np.ones((2, 2))).astype(np.uint8)


def make_store(
    processed_dir: Path,
    *,
    split: Mapping[str, SplitName] = SPLIT,
    subtile_size: int = 4,
    channels: Sequence[str] = CHANNELS,
    labels: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    spoiled: Mapping[str, float] | None = None,
    contents: Mapping[str, int] | None = None,
    no_data: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    shown: Mapping[str, npt.NDArray[np.uint8]] | None = None,
) -> Store:
    """Write a store of small tiles and open it.

    Args:
        processed_dir: Where ``4x4/`` goes.
        split: Tiles and their sides.
        subtile_size: Side of a subtile in cells.
        channels: Names of the layers of every tile, with dates, in the store's order.
        labels: Class indices (16, 16) of tiles that are not to have random ones.
        spoiled: A value for the first pixel of a tile's first channel.
        no_data: Cells (C, 16, 16) without data of tiles that are not to have all.
        shown: Class indices (16, 16) that the images of tiles show, where those are not their labels.
        contents: Number of the content of tiles that are not to have that of their position, counted from 0.
    """
    config = StoreSettings(subtile_size=subtile_size, selected_bands=None, recipe=Recipe())
    path = store_path(processed_dir, subtile_size)
    bands, acquisitions = stored_layers(channels)
    tile_hash = config_hash(config, CONTEST, bands)
    entries = {}
    for position, (tile, side) in enumerate(split.items()):
        number = (contents or {}).get(tile, position)
        rng = np.random.default_rng(number)
        label = (labels or {}).get(tile, random_labels(number))
        seen = (shown or {}).get(tile, np.where(label == UNKNOWN_LABEL, 0, label))
        levels = np.kron(seen.astype(np.float32), np.ones((CELL_SIZE_PX, CELL_SIZE_PX), np.float32))
        noise = 0.3 * rng.standard_normal((len(channels), *levels.shape), np.float32)
        factors = np.arange(1, len(channels) + 1, dtype=np.float32)[:, None, None]
        image = (levels * factors + noise).astype(np.float16)
        image[:, :2, :2] = np.nan
        if spoiled and tile in spoiled:
            image[0, 0, 0] = spoiled[tile]
        if no_data and tile in no_data:
            image[np.kron(no_data[tile], np.ones((CELL_SIZE_PX, CELL_SIZE_PX), bool))] = np.nan
        counts = np.stack([count_codes(channel) for channel in image])
        arrays = TileArrays(image, label, counts)
        source = SourceFingerprint(files=1, bytes=1, digest=tile)
        entries[tile] = describe_tile(arrays, side, source, None, acquisitions)
        unfinished = path / UNFINISHED_NAME / tile
        write_tile(tile_path(path, side, tile), unfinished, arrays, entries[tile], tile_hash, subtile_size)
    write_manifest(
        path,
        Manifest(
            format_version=FORMAT_VERSION,
            config=config,
            config_hash=tile_hash,
            split=SplitSettings(seed=0, val_fraction=0.5, test_fraction=0),
            sensors=CONTEST,
            bands=bands,
            tiles=entries,
        ),
    )
    return open_store(processed_dir, subtile_size)


def stitch_subtiles(subtiles: Tensor) -> Tensor:
    """Put the subtiles of a tile together.

    Args:
        subtiles: All subtiles of a tile, (rows, columns, ..., h, w).

    Returns:
        The tile (..., rows h, columns w).
    """
    return torch.cat([torch.cat(list(row), dim=-1) for row in subtiles], dim=-2)
