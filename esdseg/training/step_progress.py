"""Telling how far an epoch is."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

StepListener = Callable[[int, int, int], None]
"""Told of the epoch, counted from 1, of the steps done in it, and of its number of steps."""


class StepProgress(pl.Callback):
    """Tells a listener of each training step; nothing is read from the device.

    Args:
        on_step: The listener.
    """

    def __init__(self, on_step: StepListener) -> None:
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell of a step."""
        self._on_step(trainer.current_epoch + 1, batch_idx + 1, int(trainer.num_training_batches))
