"""Small stores with chosen contents, for tests of reading."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe
from esdseg.sensors.classes import GRID_SIZE, TILE_SIZE_PX
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
from esdseg.store.statistics import HalfArray, count_codes
from esdseg.store.tile_store import TileArrays, write_tile
from tests.contest import CONTEST, stored_layers

LAYERS = ("sentinel1_2020-07-23_VV", "sentinel2_2020-08-16_B04", "sentinel2_2020-08-16_B08")
CHANNELS = ("sentinel1_1_VV", "sentinel2_1_B04", "sentinel2_1_B08")


def random_image(seed: int) -> HalfArray:
    """Blocky values with some no data, (3, 800, 800), each 50 x 50 px cell different from the others."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(len(CHANNELS), GRID_SIZE, 1, GRID_SIZE, 1))
    patch = rng.normal(size=(len(CHANNELS), 1, 50, 1, 50))
    image = (cells + patch).reshape(len(CHANNELS), TILE_SIZE_PX, TILE_SIZE_PX).astype(np.float16)
    image[1, :3] = np.nan
    return image


def random_label(seed: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.choice([0, 1, 2, 3, 255], (GRID_SIZE, GRID_SIZE)).astype(np.uint8)


def write_store(
    processed_dir: Path, splits: Mapping[str, SplitName], subtile_size: int = 4
) -> dict[str, tuple[HalfArray, npt.NDArray[np.uint8]]]:
    """Write a store and return each tile's image and label as they were written."""
    store = store_path(processed_dir, subtile_size)
    settings = StoreSettings(subtile_size=subtile_size, selected_bands=None, recipe=Recipe())
    bands, acquisitions = stored_layers(LAYERS)
    tile_hash = config_hash(settings, CONTEST, bands)
    written, entries = {}, {}
    for seed, (tile, split) in enumerate(splits.items()):
        image, label = random_image(seed), random_label(seed)
        codes = np.stack([count_codes(channel) for channel in image])
        arrays = TileArrays(image, label, codes)
        entry = describe_tile(
            arrays, split, SourceFingerprint(files=1, bytes=seed, digest=tile), None, acquisitions
        )
        path = tile_path(store, split, tile)
        write_tile(path, store / UNFINISHED_NAME / path.name, arrays, entry, tile_hash, subtile_size)
        entries[tile] = entry
        written[tile] = image, label
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        config=settings,
        config_hash=tile_hash,
        split=SplitSettings(seed=0, val_fraction=0.2, test_fraction=0),
        sensors=CONTEST,
        bands=bands,
        tiles=entries,
    )
    write_manifest(store, manifest)
    return written
