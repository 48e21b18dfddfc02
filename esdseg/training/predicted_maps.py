"""Restitched predictions of the validation tiles, gathered while they are scored."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch import Tensor

from esdseg.datasets.dataset import Batch
from esdseg.sensors.grid import GRID_SIZE


class PredictedMaps(pl.Callback):
    """Keeps the classes that were predicted in the last validation.

    Args:
        tiles: How many validation tiles there are.

    Attributes:
        maps: Class indices (tiles, 16, 16) on the CPU.
    """

    def __init__(self, tiles: int) -> None:
        self.maps: npt.NDArray[np.int64] = np.zeros((tiles, GRID_SIZE, GRID_SIZE), np.int64)
        self._gathered = torch.zeros(0)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start anew."""
        self._gathered = torch.zeros(self.maps.shape, dtype=torch.int64, device=pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put a batch's predicted classes (N, k, k) into their places; the device is not waited for."""
        predicted: Tensor = outputs
        size = predicted.shape[-1]
        within = torch.arange(size, device=predicted.device)
        tiles = batch["tile"][:, None, None]
        rows = (batch["row"] * size)[:, None, None] + within[None, :, None]
        columns = (batch["column"] * size)[:, None, None] + within[None, None, :]
        self._gathered[tiles, rows, columns] = predicted

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join what the processes predicted: each cell was predicted by one of them."""
        if trainer.world_size > 1:
            torch.distributed.all_reduce(self._gathered)
        self.maps = self._gathered.cpu().numpy()
