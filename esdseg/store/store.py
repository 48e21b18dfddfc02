"""A processed store, opened for reading."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.sensors.channels import Channel, channel_from_name
from esdseg.sensors.classes import NUM_CLASSES
from esdseg.sensors.grid import CELL_SIZE_PX, GRID_SIZE
from esdseg.store.commands import preprocess_command
from esdseg.store.layout import SplitName, tile_path
from esdseg.store.manifest import Manifest, TileEntry
from esdseg.store.statistics import ChannelStatistics, HalfArray
from esdseg.store.tile_store import LabelArray, TileReader

Positions = npt.NDArray[np.integer]


class Store:
    """Reads the tiles of one processed store. Can be pickled, and used after a fork.

    Attributes:
        path: The store's folder, such as ``data/processed/4x4``.
        manifest: What it holds.
        manifest_hash: Hash of the manifest's file.
    """

    def __init__(self, path: Path, manifest: Manifest, manifest_hash: str) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_hash = manifest_hash
        self._readers: dict[str, TileReader] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_readers": {}}

    @property
    def subtile_size(self) -> int:
        """Side of a subtile in label cells."""
        return self.manifest.config.subtile_size

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The image's channels in order."""
        return tuple(channel_from_name(name) for name in self.manifest.channels)

    @property
    def rewrite_command(self) -> str:
        """The command that brings the store in order, for messages."""
        split = self.manifest.split
        return preprocess_command(
            PreprocessConfig(
                processed_dir=self.path.parent,
                subtile_size=self.subtile_size,
                val_fraction=split.val_fraction,
                test_fraction=split.test_fraction,
                seed=split.seed,
                recipe=self.manifest.config.recipe,
            )
        )

    def tile_names(self, split: SplitName) -> tuple[str, ...]:
        """Return the names of a split's tiles in natural order."""
        return tuple(name for name, entry in self.manifest.tiles.items() if entry.split == split)

    def labels(self, tile: str) -> LabelArray:
        """Read a tile's class indices (16, 16): 0 to 3, or 255 where unknown."""
        return self._reader(tile).read_label()

    def read_subtile(
        self, tile: str, row: int, column: int, channel_indices: Positions | None = None
    ) -> HalfArray:
        """Read a subtile.

        Args:
            tile: The tile's name.
            row: Position from the top, in subtiles.
            column: Position from the left, in subtiles.
            channel_indices: Positions of the wanted channels, or ``None`` for all.

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
        # Room for channels that nobody asked for takes as long to get as unpacking them.
        first, last = int(channel_indices.min()), int(channel_indices.max())
        return reader.read_image(slice(first, last + 1), rows, columns)[channel_indices - first]

    def channel_statistics(self, tiles: Sequence[str]) -> ChannelStatistics:
        """Return the statistics of all channels over ``tiles`` together, from their code counts alone.

        Raises:
            InputDataError: There are no tiles, or one is not in the store or cannot be read.
        """
        if not tiles:
            raise InputDataError(f"{self.path}: statistics of channels need at least one tile.")
        return ChannelStatistics.merge(self._reader(tile).read_code_counts() for tile in tiles)

    def class_counts(self, tiles: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the number (4,) of label cells of each class over ``tiles``; unknown cells are left out."""
        counts = np.zeros(NUM_CLASSES, np.int64)
        for tile in tiles:
            counts += self._entry_of(tile).class_counts
        return counts

    def _entry_of(self, tile: str) -> TileEntry:
        try:
            return self.manifest.tiles[tile]
        except KeyError:
            held = ", ".join(list(self.manifest.tiles)[:10])
            raise InputDataError(f"{self.path} holds no tile '{tile}'; its tiles: {held}.") from None

    def _reader(self, tile: str) -> TileReader:
        if tile not in self._readers:
            entry = self._entry_of(tile)
            path = tile_path(self.path, entry.split, tile)
            self._readers[tile] = TileReader(path, entry, self.rewrite_command)
        return self._readers[tile]
