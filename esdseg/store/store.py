"""Opening a processed store and reading its tiles; each fault names the command that mends it."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.section import nearest_hint
from esdseg.errors import InputDataError
from esdseg.sensors.acquisitions import Acquisition
from esdseg.sensors.channels import Channel, Layer, channel_table, layer_table, resolve
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, NUM_CLASSES, SUBTILE_SIZES
from esdseg.store.commands import (
    preprocess_command,
    rewrite_command,
    settings_of,
    unread_store_command,
)
from esdseg.store.manifest import (
    MANIFEST_NAME,
    SPLIT_FOLDERS,
    Manifest,
    SplitName,
    TileEntry,
    read_manifest,
    store_path,
    tile_path,
)
from esdseg.store.statistics import ChannelStatistics, CodeCounts, HalfArray
from esdseg.store.tile_store import LabelArray, TileReader
from esdseg.tiles.discovery import holds_tiles

Positions = npt.NDArray[np.integer]
"""Of layers in a tile's image; :data:`NO_LAYER` for what the tile lacks."""

NO_LAYER = -1

SHOWN_TILES = 10
"""Tiles that a message names."""


class Store:
    """Reads the tiles of one processed store. Can be pickled, and used after a fork.

    Attributes:
        path: The store's folder, such as ``data/processed/4x4``.
        manifest: The store's settings, sensors and tiles.
        manifest_hash: Hash of the manifest's file, by which runs know the store they were trained on.
    """

    def __init__(self, path: Path, manifest: Manifest, manifest_hash: str) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_hash = manifest_hash
        self._readers: dict[str, TileReader] = {}
        self._layers: dict[str, tuple[Layer, ...]] = {}
        self._given_labels: dict[str, LabelArray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_readers": {}, "_layers": {}}

    def with_labels(self, labels: Mapping[str, LabelArray]) -> "Store":
        """Return the store with other labels of some tiles, which are written nowhere.

        Args:
            labels: Class indices (16, 16) of each tile: 0 to 3, or 255 where unknown. Its entry in the
                manifest, by which it is known again, stays as it is.
        """
        relabelled = Store(self.path, self.manifest, self.manifest_hash)
        relabelled._given_labels = {**self._given_labels, **labels}
        return relabelled

    @property
    def subtile_size(self) -> int:
        """Side of a subtile in label cells."""
        return self.manifest.config.subtile_size

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """All channels that a network can take: as many places of each sensor as any training tile fills.

        Where the store has no training tiles, all of its tiles count.
        """
        tiles = self.tile_names("train") or tuple(self.manifest.tiles)
        counts = dict.fromkeys(self.manifest.bands, 0)
        for tile in tiles:
            held = [acquisition.sensor for acquisition in self.acquisitions(tile)]
            counts = {sensor: max(count, held.count(sensor)) for sensor, count in counts.items()}
        return channel_table(counts, self.manifest.sensors, self.manifest.bands)

    def acquisitions(self, tile: str) -> tuple[Acquisition, ...]:
        """Return the dates of each sensor in a tile, with what the sky was."""
        return self._entry_of(tile).acquisitions

    def layers(self, tile: str) -> tuple[Layer, ...]:
        """Return the layers of a tile's image in their order."""
        if tile not in self._layers:
            self._layers[tile] = layers_of(self._entry_of(tile), self.manifest)
        return self._layers[tile]

    def positions(self, tile: str, channels: Sequence[Channel]) -> Positions | None:
        """Return where a tile's image holds channels, -1 for each place or band that the tile lacks.

        Returns:
            Positions (C,), for :meth:`read_cells`; ``None`` where they are all layers of the tile in order.
        """
        layers = self.layers(tile)
        held = {(layer.sensor.name, layer.band, layer.acquired): index for index, layer in enumerate(layers)}
        found = [
            NO_LAYER if layer is None else held.get((layer.sensor.name, layer.band, layer.acquired), NO_LAYER)
            for layer in resolve(channels, self.acquisitions(tile))
        ]
        return None if found == list(range(len(layers))) else np.array(found, np.intp)

    @property
    def settings(self) -> PreprocessConfig:
        """The settings that the store was made with, as far as its manifest knows them."""
        return settings_of(self.manifest, self.path.parent)

    @cached_property
    def rewrite_command(self) -> str:
        """The command that writes damaged or missing tiles again; see :func:`rewrite_command`."""
        return rewrite_command(self.settings)

    def tile_names(self, split: SplitName) -> tuple[str, ...]:
        """Return the names of a split's tiles in natural order."""
        return tuple(name for name, entry in self.manifest.tiles.items() if entry.split == split)

    def labels(self, tile: str) -> LabelArray:
        """Read a tile's class indices (16, 16): 0 to 3, or 255 where unknown."""
        given = self._given_labels.get(tile)
        return self._reader(tile).read_label() if given is None else given.copy()

    def read_subtile(
        self, tile: str, row: int, column: int, channel_indices: Positions | None = None
    ) -> HalfArray:
        """Read a subtile.

        Args:
            tile: The tile's name.
            row: Position from the top, in subtiles.
            column: Position from the left, in subtiles.
            channel_indices: Positions of the wanted layers (:meth:`positions`), or ``None`` for all.

        Returns:
            Image (C, 50k, 50k); NaN is no data.

        Raises:
            InputDataError: The store has no such tile, or it cannot be read.
            IndexError: The tile has no such subtile.
        """
        size = self.subtile_size
        return self.read_cells(tile, row * size, column * size, size, size, channel_indices)

    def read_tile(self, tile: str, channel_indices: Positions | None = None) -> HalfArray:
        """Read a whole tile as (C, 800, 800); see :meth:`read_subtile`."""
        return self.read_cells(tile, 0, 0, GRID_SIZE, GRID_SIZE, channel_indices)

    def read_cells(
        self,
        tile: str,
        top_cell: int,
        left_cell: int,
        height_cells: int,
        width_cells: int,
        channel_indices: Positions | None = None,
    ) -> HalfArray:
        """Read a window of whole label cells as (C, 50 * height, 50 * width); see :meth:`read_subtile`."""
        bottom, right = top_cell + height_cells, left_cell + width_cells
        if (
            min(top_cell, left_cell) < 0
            or min(height_cells, width_cells) < 1
            or max(bottom, right) > GRID_SIZE
        ):
            raise IndexError(
                f"rows {top_cell} to {bottom} and columns {left_cell} to {right} of cells are no window of a "
                f"tile of {GRID_SIZE} x {GRID_SIZE}"
            )
        reader = self._reader(tile)
        rows = slice(top_cell * CELL_SIZE_PX, bottom * CELL_SIZE_PX)
        columns = slice(left_cell * CELL_SIZE_PX, right * CELL_SIZE_PX)
        if channel_indices is None:
            return reader.read_image(slice(0, reader.num_channels), rows, columns)
        held = channel_indices[channel_indices != NO_LAYER]
        if not len(held):
            shape = (len(channel_indices), rows.stop - rows.start, columns.stop - columns.start)
            return np.full(shape, np.nan, np.float16)
        # Getting memory for unwanted layers takes as long as unpacking them.
        first, last = int(held.min()), int(held.max())
        image = reader.read_image(slice(first, last + 1), rows, columns)[
            np.maximum(channel_indices - first, 0)
        ]
        if len(held) < len(channel_indices):
            image[channel_indices == NO_LAYER] = np.nan
        return image

    def channel_statistics(
        self, tiles: Sequence[str], channels: Sequence[Channel] | None = None
    ) -> ChannelStatistics:
        """Return the statistics of channels over ``tiles`` together, from their code counts alone.

        A channel's statistics are those of the layers that it stands for in each tile.

        Args:
            tiles: Names of the tiles.
            channels: The channels; all of the store unless given.

        Raises:
            InputDataError: There are no tiles, or one is not in the store or cannot be read.
        """
        if not tiles:
            raise InputDataError(f"{self.path}: statistics of channels need at least one tile.")
        chosen = self.channels if channels is None else channels
        return ChannelStatistics.merge(self._code_counts(tile, chosen) for tile in tiles)

    def layer_statistics(self, tile: str) -> ChannelStatistics:
        """Return the statistics of the layers of one tile."""
        return ChannelStatistics(self._reader(tile).read_code_counts())

    def _code_counts(self, tile: str, channels: Sequence[Channel]) -> CodeCounts:
        counts, positions = self._reader(tile).read_code_counts(), self.positions(tile, channels)
        if positions is None:
            return counts
        chosen = counts[np.maximum(positions, 0)]
        chosen[positions == NO_LAYER] = 0
        return chosen

    def class_counts(self, tiles: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the number (4,) of label cells of each class over ``tiles``; unknown cells are left out."""
        counts = np.zeros(NUM_CLASSES, np.int64)
        for tile in tiles:
            given = self._given_labels.get(tile)
            if given is None:
                counts += self._entry_of(tile).class_counts
            else:
                counts += np.bincount(given.ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES]
        return counts

    def select(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Return the named tiles, each once, or all of the store.

        Raises:
            InputDataError: A named tile is not in the store.
        """
        for name in names or ():
            self._entry_of(name)
        return tuple(dict.fromkeys(self.manifest.tiles if names is None else names))

    def _entry_of(self, tile: str) -> TileEntry:
        try:
            return self.manifest.tiles[tile]
        except KeyError:
            known = tuple(self.manifest.tiles)
            more = f" and {len(known) - SHOWN_TILES} more" if len(known) > SHOWN_TILES else ""
            shown = ", ".join(known[:SHOWN_TILES])
            raise InputDataError(
                f"{self.path} holds no tile '{tile}'; {nearest_hint(tile, known)}Its tiles: {shown}{more}."
            ) from None

    def _reader(self, tile: str) -> TileReader:
        if tile not in self._readers:
            entry = self._entry_of(tile)
            path = tile_path(self.path, entry.split, tile)
            self._readers[tile] = TileReader(path, entry, self.rewrite_command)
        return self._readers[tile]


def layers_of(entry: TileEntry, manifest: Manifest) -> tuple[Layer, ...]:
    """Return the layers of the image of a tile of a store."""
    dates: dict[str, list[date]] = {}
    for acquisition in entry.acquisitions:
        dates.setdefault(acquisition.sensor, []).append(acquisition.acquired)
    return layer_table(dates, manifest.sensors, manifest.bands)


def open_store(processed_dir: Path, subtile_size: int | None = None) -> Store:
    """Open a processed store for reading.

    Args:
        processed_dir: Folder that holds ``4x4/`` and other sizes.
        subtile_size: Side of the subtiles in cells; may be left out where there is only one size.

    Returns:
        The store. Its manifest is read and its tiles are known to be there; no image is opened yet.

    Raises:
        InputDataError: There is no store, there are several to choose from, or it is unfinished, damaged or
            of another version.
    """
    size = subtile_size or _only_size(processed_dir)
    path = store_path(processed_dir, size)
    config = PreprocessConfig(processed_dir=processed_dir, subtile_size=size)
    try:
        manifest, manifest_hash = read_manifest(path, unread_store_command(config, "--overwrite"))
    except FileNotFoundError:
        raise InputDataError(_missing_message(config)) from None
    if manifest.config.subtile_size != size:
        own = settings_of(manifest, processed_dir).model_copy(update={"subtile_size": size})
        raise InputDataError(
            f"{path} holds subtiles of {manifest.config.subtile_size} cells, not of {size}: the folder was "
            f"renamed. Rename it back, or write it anew with {rewrite_command(own, '--overwrite')}."
        )
    store = Store(path, manifest, manifest_hash)
    for tile, entry in manifest.tiles.items():
        folder = tile_path(path, entry.split, tile)
        if not (folder / "zarr.json").is_file():
            raise InputDataError(f"The tile {folder} is missing; write it anew with {store.rewrite_command}.")
    return store


def require_store(processed_dir: Path, subtile_size: int | None = None) -> Store | None:
    """Open a processed store, unless there are several and what is asked for later chooses.

    Raises:
        InputDataError: There is no store, or it is unfinished, damaged or of another version.
    """
    is_open = subtile_size is None and len(_sizes(processed_dir)) > 1
    return None if is_open else open_store(processed_dir, subtile_size)


def find_stores(folder: Path) -> tuple[Path, ...]:
    """Return the stores that a folder is or holds, such as ``data/processed/4x4``; none for raw tiles."""
    if _is_store(folder):
        return (folder,)
    sizes = (store_path(folder, size) for size in SUBTILE_SIZES)
    return tuple(path for path in sizes if _is_store(path))


def _is_store(folder: Path) -> bool:
    """Return whether a folder looks like a store, be it an unfinished one."""
    return (folder / MANIFEST_NAME).exists() or any(
        next((folder / split).glob("*.zarr"), None) for split in SPLIT_FOLDERS.values()
    )


def _sizes(processed_dir: Path) -> tuple[int, ...]:
    return tuple(
        size for size in SUBTILE_SIZES if (store_path(processed_dir, size) / MANIFEST_NAME).is_file()
    )


def _only_size(processed_dir: Path) -> int:
    sizes = _sizes(processed_dir)
    if len(sizes) > 1:
        names = ", ".join(f"{size}x{size}" for size in sizes)
        raise InputDataError(
            f"{processed_dir} holds several sizes of subtiles ({names}); choose one with --subtile-size "
            f"{sizes[0]}."
        )
    if sizes:
        return sizes[0]
    unfinished = [size for size in SUBTILE_SIZES if store_path(processed_dir, size).is_dir()]
    size = (*unfinished, PreprocessConfig().subtile_size)[0]
    raise InputDataError(_missing_message(PreprocessConfig(processed_dir=processed_dir, subtile_size=size)))


def _missing_message(config: PreprocessConfig) -> str:
    processed_dir, command = config.processed_dir, preprocess_command(config)
    path = store_path(processed_dir, config.subtile_size)
    if (processed_dir / MANIFEST_NAME).is_file():
        return (
            f"{processed_dir} is a store itself; give the folder above it: --processed-dir "
            f"{processed_dir.parent}."
        )
    if path.is_dir():
        return f"The processed store {path} was not finished; finish it with {unread_store_command(config)}."
    others = ", ".join(str(other) for other in _sizes(processed_dir))
    if others:
        return (
            f"There is no processed store {path}; make it with {command}, or use --subtile-size with a size "
            f"that is there: {others}."
        )
    if holds_tiles(processed_dir):
        return raw_tiles_message(processed_dir)
    if not processed_dir.exists():
        return f"The folder {processed_dir} does not exist; make the processed store with {command}."
    return f"The folder {processed_dir} holds no processed store; make it with {command}."


def raw_tiles_message(folder: Path) -> str:
    """Say what to do with a folder of raw tiles that was given as ``--processed-dir``."""
    config = PreprocessConfig(raw_dir=folder)
    return (
        f"{folder} holds raw tiles, which belong to --raw-dir. Make a store of them with "
        f"{preprocess_command(config)}, and give that as --processed-dir {config.processed_dir}."
    )
