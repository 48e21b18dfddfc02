"""Averages of a network's weights over steps or epochs, which are what is validated and kept."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, Subset

from esdseg.config.training import TrainerConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import Sample
from esdseg.models.checkpoint import MODEL_PREFIX, STATE_KEY, SegmentationModel
from esdseg.training.task import SegmentationTask

LAST_WEIGHTS_KEY = "last_weights"
"""Where a checkpoint keeps the weights that training goes on with; its own place is the average's."""


class WeightAveraging(pl.Callback, ABC):
    """Keeps an average of the model's weights, and lends it to validation and to checkpoints.

    Lightning's callback of this name would validate untouched weights until the first average is taken, and
    take an epoch's average after the epoch was validated.
    """

    def __init__(self) -> None:
        self._average: AveragedModel | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin with a copy of the model."""
        if stage == "fit":
            assert isinstance(pl_module, SegmentationTask)
            self._average = self._start(pl_module.model)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to the device; the count stays on the CPU, where no step waits for it."""
        assert self._average is not None
        self._average.module.to(pl_module.device)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the average."""
        self._exchange(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights as they were."""
        self._exchange(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average where the model's weights are read from, and those beside it."""
        assert self._average is not None
        checkpoint[LAST_WEIGHTS_KEY] = checkpoint[STATE_KEY]
        averaged = self._average.module.state_dict()
        checkpoint[STATE_KEY] = {f"{MODEL_PREFIX}{name}": value for name, value in averaged.items()}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the weights and the average of a checkpoint, whose average the model holds by now."""
        assert self._average is not None
        assert isinstance(pl_module, SegmentationTask)
        self._average.module.load_state_dict(pl_module.model.state_dict())
        pl_module.load_state_dict(checkpoint[LAST_WEIGHTS_KEY])

    def state_dict(self) -> dict[str, Any]:
        """Return how many weights the average is of."""
        assert self._average is not None
        return {"n_averaged": int(self._average.n_averaged)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        assert self._average is not None
        self._average.n_averaged.fill_(state_dict["n_averaged"])

    @abstractmethod
    def _start(self, model: nn.Module) -> AveragedModel:
        """Return an average that is a copy of the model so far."""

    @torch.no_grad()
    def _exchange(self, task: pl.LightningModule) -> None:
        # A validation outside a training has no average.
        if self._average is None:
            return
        assert isinstance(task, SegmentationTask)
        averaged = self._average.module.state_dict()
        for name, value in task.model.state_dict().items():
            kept = value.clone()
            value.copy_(averaged[name])
            averaged[name].copy_(kept)


class MovingAverage(WeightAveraging):
    """An exponential moving average over steps (EMA), batch normalisation's statistics with it.

    Until there are as many steps as it remembers, it is the plain mean of all of them, so that it does not
    drag the first weights along.

    Args:
        epochs: Over how many epochs what is remembered falls to 1/e.
    """

    def __init__(self, epochs: float) -> None:
        super().__init__()
        self._epochs = epochs
        self._decay = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn epochs into steps."""
        self._decay = math.exp(-1 / (self._epochs * trainer.num_training_batches))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Take in the step's weights."""
        assert self._average is not None
        assert isinstance(pl_module, SegmentationTask)
        self._average.update_parameters(pl_module.model)

    def _start(self, model: nn.Module) -> AveragedModel:
        return AveragedModel(model, multi_avg_fn=self._move, use_buffers=True)

    def _move(self, averaged: Any, current: Any, _count: Tensor | int) -> None:
        assert self._average is not None
        steps = int(self._average.n_averaged)
        move = get_ema_multi_avg_fn(min(self._decay, steps / (steps + 1)))  # type: ignore[no-untyped-call]
        move(averaged, current, steps)


class EpochAverage(WeightAveraging):
    """The mean of the weights at the ends of the last epochs (SWA, Izmailov et al. 2018, arXiv:1803.05407).

    Until its first epoch the weights are validated as they are. Batch normalisation's statistics do not
    average; they are taken anew from the training tiles before each validation, as the paper does.

    Args:
        first_epoch: The first epoch that counts, counted from 0.
    """

    def __init__(self, first_epoch: int) -> None:
        super().__init__()
        self._first_epoch = first_epoch

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take in the epoch's weights, and validate the average."""
        if self._average is None or trainer.sanity_checking:
            super().on_validation_start(trainer, pl_module)
            return
        assert isinstance(pl_module, SegmentationTask)
        assert isinstance(trainer.datamodule, SubtileDataModule)
        if trainer.current_epoch <= self._first_epoch:
            self._average.n_averaged.zero_()
        self._average.update_parameters(pl_module.model)
        super().on_validation_start(trainer, pl_module)
        if self._average.n_averaged > 1:
            _renew_batch_normalization(pl_module.model, trainer.datamodule, pl_module.device)

    def _start(self, model: nn.Module) -> AveragedModel:
        return AveragedModel(model)


def weight_averaging(config: TrainerConfig) -> list[pl.Callback]:
    """Return what averages weights as the settings ask for, if they do."""
    match config.weight_averaging:
        case "ema":
            return [MovingAverage(config.ema_epochs)]
        case "swa":
            return [EpochAverage(math.floor(config.swa_start * config.epochs))]
        case "none":
            return []


class _OnStoredPixels(nn.Module):
    """Has the layers of a model, and takes what batches hold."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, pixels: Sequence[Tensor]) -> Tensor:
        return self.model.classify_stored(pixels)


def _renew_batch_normalization(
    model: SegmentationModel, data: SubtileDataModule, device: torch.device
) -> None:
    dataset = data.train_dataset
    loader: DataLoader[Sample] = DataLoader(
        Subset(dataset, dataset.grid_indices()), batch_size=data.batch_size, shuffle=False
    )
    # Of a list it takes the first entry.
    update_bn(([[grid.to(device) for grid in batch["pixels"]]] for batch in loader), _OnStoredPixels(model))
