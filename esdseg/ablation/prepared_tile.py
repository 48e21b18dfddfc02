"""A tile that is brought before a network once, and channels then taken away from it again and again."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from esdseg.baselines.cell_classifier import CellClassifier
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.prediction.windows import Device, Passes, TileMeans, cut_windows, normalized_windows

Probabilities = tuple[Tensor, Tensor]
"""Of the classes, (4, 16, 16) float32, without and with the checkpoint's temperature."""


class PreparedTile(Protocol):
    """A tile whose channels can be taken away."""

    def predict(self, absent: Sequence[int], replaced: Mapping[int, Tensor]) -> Probabilities:
        """Predict the tile with some channels changed.

        Args:
            absent: Positions of the channels that have no data.
            replaced: Other stored pixels (800, 800) of a channel, by its position.
        """


def prepare_tile(
    checkpoint: LoadedCheckpoint, image: Tensor, device: Device, batch_size: int | None, passes: Passes
) -> PreparedTile:
    """Bring a tile before a checkpoint's network.

    Args:
        checkpoint: What predicts; its model lies on the device.
        image: The tile (C, 800, 800) as the store holds it, in the order of the checkpoint's channels.
        device: Where to compute.
        batch_size: Windows predicted at once; by default as many as make a tile.
        passes: Turns and flips, and the overlap of the windows.
    """
    if isinstance(checkpoint.model.network, CellClassifier):
        return CellTile(checkpoint, image, device)
    return PixelTile(checkpoint, image, device, batch_size, passes)


class PixelTile:
    """A tile as normalised pixels: a channel that is taken away becomes what no data becomes.

    Normalisation is done a pixel at a time, so this gives the same numbers as taking the channel away from
    the store. See :func:`prepare_tile`.
    """

    @torch.inference_mode()
    def __init__(
        self,
        checkpoint: LoadedCheckpoint,
        image: Tensor,
        device: Device,
        batch_size: int | None,
        passes: Passes,
    ) -> None:
        self._checkpoint, self._device, self._passes = checkpoint, device, passes
        self._grids = checkpoint.model.grids
        self._batches = tuple(normalized_windows(checkpoint, image, device, batch_size, passes))
        self._no_data = tuple(
            checkpoint.model.normalization(_no_data(len(grid.channels), device), grid.channels)
            for grid in self._grids
        )

    @torch.inference_mode()
    def predict(self, absent: Sequence[int], replaced: Mapping[int, Tensor]) -> Probabilities:
        """Predict with channels changed: see :class:`PreparedTile`."""
        means = TileMeans(self._checkpoint, self._device, self._passes)
        changed = set(absent) | replaced.keys()
        for corners, windows in self._batches:
            cut = {
                position: cut_windows(stored[None], corners, self._checkpoint.window_size)
                for position, stored in replaced.items()
            }
            pixels = tuple(
                one if changed.isdisjoint(grid.channels) else self._changed(index, one, absent, cut)
                for index, (one, grid) in enumerate(zip(windows, self._grids, strict=True))
            )
            means.add(pixels, corners)
        return means.result()

    def _changed(
        self, index: int, windows: Tensor, absent: Sequence[int], replaced: Mapping[int, Tensor]
    ) -> Tensor:
        """Return a copy of windows (N, c, pk, pk) of one grid with some of its channels changed."""
        grid, pixels = self._grids[index], windows.clone()
        gone = [place for place, position in enumerate(grid.channels) if position in absent]
        pixels[:, gone] = self._no_data[index][:, gone]
        for place, position in enumerate(grid.channels):
            if position in replaced:
                stored = replaced[position].to(pixels.device)
                sampled = PixelGrid((0,), grid.pixels_per_cell).sample(stored)
                pixels[:, [place]] = self._checkpoint.model.normalization(sampled, (position,))
        return pixels


class CellTile:
    """A tile as statistics of its cells, each of one channel: those of a channel without data are no data."""

    @torch.inference_mode()
    def __init__(self, checkpoint: LoadedCheckpoint, image: Tensor, device: Device) -> None:
        network = checkpoint.model.network
        assert isinstance(network, CellClassifier)
        self._network, self._temperature = network, checkpoint.metadata.temperature
        self._device, self._n_channels = device, len(image)
        self._features = self._describe(image)

    @torch.inference_mode()
    def predict(self, absent: Sequence[int], replaced: Mapping[int, Tensor]) -> Probabilities:
        """Predict with channels changed: see :class:`PreparedTile`."""
        features = self._features.clone()
        features[..., list(absent)] = torch.nan
        for position, stored in replaced.items():
            features[..., [position]] = self._describe(stored[None])
        with self._device.autocast():
            logits = self._network.classify_cells(features.flatten(2).flatten(0, 1))
        logits = logits.float().cpu().reshape(*features.shape[:2], -1).movedim(-1, 0)
        return torch.softmax(logits, dim=0), torch.softmax(logits / self._temperature, dim=0)

    def _describe(self, image: Tensor) -> Tensor:
        """Return statistics (16, 16, 3, C) of images (C, 800, 800)."""
        features: Tensor = self._network.statistics(image[None].to(self._device.torch_device))
        return features[0].reshape(*features.shape[1:3], -1, len(image))


def _no_data(n_channels: int, device: Device) -> Tensor:
    return torch.full((1, n_channels, 1, 1), torch.nan, device=device.torch_device)
