"""Verifying a processed store: the checksums of its files, and its manifest against its tiles."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.classes import NUM_CLASSES, SUBTILE_SIZES, TILE_SIZE_PX, UNKNOWN_LABEL
from esdseg.store.commands import rewrite_command, unread_store_command
from esdseg.store.identity import digest_channels, digest_labels
from esdseg.store.manifest import (
    SPLIT_FOLDERS,
    TileEntry,
    read_manifest,
    store_path,
    tile_path,
)
from esdseg.store.statistics import count_codes
from esdseg.store.store import Store
from esdseg.store.tile_store import TileReader, create_arrays, read_entry
from esdseg.system.memory import available_cores
from esdseg.system.processes import ItemListener, map_unordered

CHECKSUM_BYTES = 4
"""Length of the CRC-32C at the end of each chunk, lowest byte first, as Zarr writes it."""

COMPRESSOR = "blosc"
"""Name of the compressor among an array's codecs."""


@dataclass(frozen=True)
class StoreProblem:
    """Something in a store that is not as it was written.

    Attributes:
        tile: The tile's name; ``None`` for a problem of the whole store.
        message: What is wrong, as a sentence.
        fix: The command that mends it.
    """

    tile: str | None
    message: str
    fix: str


@dataclass(frozen=True)
class StoreReport:
    """What verifying a store found.

    Attributes:
        store: The store's folder.
        tiles: Number of tiles of each split, as the manifest lists them.
        num_channels: Channels that a network can take of the store.
        problems: What is wrong, in the order of the tiles; empty if all is well.
        skipped: What was wrong with each raw tile that the store was made without, by its name.
        acquisitions: The dates of each sensor in each tile, by the tile's name.
    """

    store: Path
    tiles: dict[str, int]
    num_channels: int
    problems: tuple[StoreProblem, ...]
    skipped: dict[str, str]
    acquisitions: dict[str, tuple[Acquisition, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        own = replace(self, acquisitions={})
        content = {name: value for name, value in asdict(own).items() if name != "acquisitions"}
        return {"ok": self.ok, **content, "store": str(self.store)}


def verify_store(
    path: Path, *, workers: int | None = None, on_tile: ItemListener | None = None
) -> StoreReport:
    """Read everything in a store and report what is not as it was written.

    In each tile the checksum of every chunk is verified, the values are counted again and compared with the
    stored counts, and the labels are compared with the manifest.

    Args:
        path: The store's folder.
        workers: Processes, each with one tile at a time; by default one a core.
        on_tile: Called after each tile with its name, the number read so far and the number of all.
    """
    rebuild = _unread_store_command(path, "--overwrite")
    try:
        manifest, manifest_hash = read_manifest(path, rebuild)
    except FileNotFoundError:
        finish = _unread_store_command(path)
        return StoreReport(path, {}, 0, (StoreProblem(None, f"{path} was not finished.", finish),), {})
    except InputDataError as error:
        return StoreReport(path, {}, 0, (StoreProblem(None, str(error), rebuild),), {})
    store = Store(path, manifest, manifest_hash)
    found: dict[str, StoreProblem | None] = {}
    verify = partial(_verify_tile, store)
    for name, problem in map_unordered(verify, manifest.tiles, workers or available_cores()):
        found[name] = problem
        if on_tile is not None:
            on_tile(name, len(found), len(manifest.tiles))
    problems = (_renamed(store), *(found[name] for name in manifest.tiles))
    return StoreReport(
        store=path,
        tiles={split: len(store.tile_names(split)) for split in SPLIT_FOLDERS},
        num_channels=len(store.channels),
        problems=tuple(problem for problem in problems if problem is not None),
        skipped=manifest.skipped,
        acquisitions={name: entry.acquisitions for name, entry in manifest.tiles.items()},
    )


def _renamed(store: Store) -> StoreProblem | None:
    expected = store_path(store.path.parent, store.subtile_size)
    if store.path.resolve().name == expected.name:
        return None
    message = f"The folder was renamed: it holds subtiles of {store.subtile_size} cells."
    return StoreProblem(None, message, f"mv {shlex.quote(str(store.path))} {shlex.quote(str(expected))}")


def _verify_tile(store: Store, name: str) -> StoreProblem | None:
    """Return the first thing that is wrong with a tile."""
    entry = store.manifest.tiles[name]
    path = tile_path(store.path, entry.split, name)
    written = read_entry(path)
    if written is None:
        fault = "is missing" if not path.is_dir() else "does not say what it is: its zarr.json is damaged"
        return StoreProblem(name, f"{path} {fault}.", store.rewrite_command)
    damage = find_damage(path, len(store.layers(name)), store.subtile_size)
    if damage is not None:
        return StoreProblem(name, f"{path}: {damage}.", store.rewrite_command)
    differing = list(_differences(TileReader(path, written[0], store.rewrite_command), entry))
    if written != (entry, store.manifest.config_hash):
        differing.append("what the tile says of itself")
    if not differing:
        return None
    message = f"{path}: each file is whole, but they differ from the manifest: {', '.join(differing)}."
    return StoreProblem(name, message, rewrite_command(store.settings, "--overwrite"))


def _differences(reader: TileReader, entry: TileEntry) -> Iterator[str]:
    """Yield what differs between a tile, its stored counts and its entry in the manifest."""
    whole = slice(0, TILE_SIZE_PX)
    codes = np.stack(
        [count_codes(channel) for channel in reader.read_image(slice(0, reader.num_channels), whole, whole)]
    )
    if not np.array_equal(codes, reader.read_code_counts()):
        yield "counts of the values"
    if digest_channels(codes) != entry.content:
        yield "digests of the values"
    label = reader.read_label()
    cells = np.bincount(label.ravel(), minlength=UNKNOWN_LABEL + 1)
    if (*cells[:NUM_CLASSES], cells[UNKNOWN_LABEL]) != (*entry.class_counts, entry.unknown_cells):
        yield "counts of the labels"
    if digest_labels(label) != entry.label_digest:
        yield "digest of the labels"


def _unread_store_command(path: Path, *flags: str) -> str:
    sizes = [size for size in SUBTILE_SIZES if store_path(path.parent, size).name == path.resolve().name]
    config = PreprocessConfig(processed_dir=path.parent)
    named = config.model_copy(update={"subtile_size": sizes[0]}) if sizes else config
    return unread_store_command(named, *flags)


def find_damage(path: Path, num_channels: int, subtile_size: int) -> str | None:
    """Verify the checksum of every file of a tile's arrays, without unpacking them.

    Args:
        path: The tile's folder.
        num_channels: Layers of the tile's image.
        subtile_size: Side of its subtiles in cells.

    Returns:
        What is wrong with the first damaged file; ``None`` if all are there and as they were written.
    """
    import zarr

    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        for name, layout in _layouts(num_channels, subtile_size).items():
            array = group[name]
            if _layout(array) != layout:
                return f"{name}/zarr.json describes another array than was written"
            for index in np.ndindex(*array.cdata_shape):
                file = f"{name}/c/{'/'.join(map(str, index))}"
                fault = _checksum_fault(path / file)
                if fault is not None:
                    return f"{file} {fault}"
    except MemoryError:
        raise
    # Zarr raises whatever its parts raise.
    except Exception as error:
        return f"it cannot be opened ({error})"
    return None


def _checksum_fault(path: Path) -> str | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    packed, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if len(content) <= CHECKSUM_BYTES or google_crc32c.value(packed) != int.from_bytes(checksum, "little"):
        return "is damaged: its checksum does not hold"
    return None


@cache
def _layouts(num_channels: int, subtile_size: int) -> dict[str, dict[str, Any]]:
    """Return the metadata of each array of a tile as it is written today."""
    import zarr
    from zarr.storage import MemoryStore

    group = zarr.create_group(MemoryStore(), zarr_format=3)
    arrays = create_arrays(group, num_channels, subtile_size)
    return {name: _layout(array) for name, array in arrays.items()}


def _layout(array: Any) -> dict[str, Any]:
    """Return an array's metadata without the compressor's settings, which each chunk holds itself."""
    metadata = array.metadata.to_dict()
    codecs = [codec["name"] if codec["name"] == COMPRESSOR else codec for codec in metadata["codecs"]]
    return {**metadata, "codecs": codecs}
