"""Windows of a processed store as samples."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from esdseg.datasets.pixel_grid import PixelGrid, whole_image
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import GRID_SIZE, UNKNOWN_LABEL
from esdseg.store.store import Store


class Sample(TypedDict):
    """One window of k x k cells: a subtile of the store, or a larger or smaller part of a tile.

    Attributes:
        pixels: What each of the dataset's grids takes of the image: channels (c, pk, pk), half precision, as
            the store holds them; NaN is no data.
        label: Class indices (k, k), int64: 0 to 3, 255 is unknown.
        tile: Position of the parent tile in the dataset's ``tiles``.
        row: Position from the top of the tile, in the dataset's steps: windows, unless they overlap.
        column: Position from the left, in the same.
    """

    pixels: tuple[Tensor, ...]
    label: Tensor
    tile: int
    row: int
    column: int


class Batch(TypedDict):
    """Samples that were stacked: each tensor or number of :class:`Sample` with a first axis N."""

    pixels: Sequence[Tensor]
    label: Tensor
    tile: Tensor
    row: Tensor
    column: Tensor


def stack_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples, their pixels with the channels last in memory, as they are kept and as networks work.

    PyTorch's own function would put the channels first again, and every step would pay for sorting them.
    """
    return Batch(
        pixels=[
            torch.stack([grid.movedim(0, -1) for grid in grids]).movedim(-1, 1)
            for grids in zip(*(sample["pixels"] for sample in samples), strict=True)
        ],
        label=torch.stack([sample["label"] for sample in samples]),
        tile=torch.tensor([sample["tile"] for sample in samples]),
        row=torch.tensor([sample["row"] for sample in samples]),
        column=torch.tensor([sample["column"] for sample in samples]),
    )


class SubtileDataset(Dataset[Sample]):
    """All windows of some tiles, tile by tile, row by row, column by column.

    Args:
        store: The store.
        tiles: Names of the tiles.
        channels: The channels to read, in the order in which images hold them; what a tile lacks is no data.
        kept_on: Where to keep all pixels, which are then decoded now; samples lie there. Without it each
            sample is read from disk, to memory, when it is asked for.
        window_size: Label cells k along each side of a window, a divisor of 16; the store's subtiles unless
            given.
        window_step: Label cells from a window to the next, a divisor of k; k unless given, so that none
            overlap.
        grids: The pixels to take of the images; whole images unless given.

    Raises:
        InputDataError: The store lacks a tile, or a tile cannot be read.
    """

    def __init__(
        self,
        store: Store,
        tiles: Sequence[str],
        channels: Sequence[Channel],
        kept_on: torch.device | None = None,
        window_size: int | None = None,
        window_step: int | None = None,
        grids: Sequence[PixelGrid] | None = None,
    ) -> None:
        self.tiles = tuple(tiles)
        self.channels = tuple(channels)
        self.window_size = window_size or store.subtile_size
        self.window_step = window_step or self.window_size
        self._grids = (whole_image(len(channels)),) if grids is None else tuple(grids)
        self._store = store
        self._positions = [store.positions(tile, channels) for tile in self.tiles]
        self._labels = torch.stack([torch.from_numpy(store.labels(tile)) for tile in self.tiles])
        self._kept: tuple[Tensor, ...] | None = None
        if kept_on is not None:
            self._labels = self._labels.to(kept_on)
            self._kept = self._decode(kept_on)

    @property
    def windows_per_side(self) -> int:
        """Windows along each side of a tile."""
        return (GRID_SIZE - self.window_size) // self.window_step + 1

    def __len__(self) -> int:
        return len(self.tiles) * self.windows_per_side**2

    def __getitem__(self, index: int) -> Sample:
        """Return sample ``index``, 0 to ``len(self) - 1``."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        side = self.windows_per_side
        tile, position = divmod(index, side**2)
        row, column = divmod(position, side)
        top, left, size = row * self.window_step, column * self.window_step, self.window_size
        return Sample(
            pixels=self._read(tile, top, left),
            label=self._labels[tile, top : top + size, left : left + size].long(),
            tile=tile,
            row=row,
            column=column,
        )

    def labelled_indices(self) -> tuple[int, ...]:
        """Return the samples that have at least one cell with a known label."""
        windows = self._labels.unfold(1, self.window_size, self.window_step)
        windows = windows.unfold(2, self.window_size, self.window_step)
        known = (windows != UNKNOWN_LABEL).flatten(start_dim=-2).any(dim=-1).flatten()
        return tuple(known.nonzero().flatten().tolist())

    def grid_indices(self) -> tuple[int, ...]:
        """Return samples that cover every tile once: all of them, unless they overlap."""
        side, each = self.windows_per_side, self.window_size // self.window_step
        rows, columns = range(0, side, each), range(0, side, each)
        return tuple(
            (tile * side + row) * side + column
            for tile in range(len(self.tiles))
            for row in rows
            for column in columns
        )

    def _read(self, tile: int, top_cell: int, left_cell: int) -> tuple[Tensor, ...]:
        size = self.window_size
        if self._kept is None:
            cells = (top_cell, left_cell, size, size)
            return self._sample(self._store.read_cells(self.tiles[tile], *cells, self._positions[tile]))
        windows = []
        for kept, grid in zip(self._kept, self._grids, strict=True):
            per_cell = grid.pixels_per_cell
            rows, columns = (
                slice(first * per_cell, (first + size) * per_cell) for first in (top_cell, left_cell)
            )
            windows.append(kept[tile, :, rows, columns])
        return tuple(windows)

    def _decode(self, device: torch.device) -> tuple[Tensor, ...]:
        kept = tuple(
            torch.empty(
                (len(self.tiles), len(grid.channels), grid.pixels_per_tile, grid.pixels_per_tile),
                dtype=torch.float16,
                device=device,
                memory_format=torch.channels_last,
            )
            for grid in self._grids
        )
        for position, tile in enumerate(self.tiles):
            pixels = self._sample(self._store.read_tile(tile, self._positions[position]))
            for images, grid_pixels in zip(kept, pixels, strict=True):
                images[position] = grid_pixels
        return kept

    def _sample(self, image: npt.NDArray[np.float16]) -> tuple[Tensor, ...]:
        images = torch.from_numpy(image)[None]
        return tuple(grid.sample(images)[0] for grid in self._grids)
