"""The training and validation steps, for Lightning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics.utilities.distributed import gather_all_tensors

from esdseg.config.training import LOGGED_METRICS, AugmentationConfig, ESDConfig
from esdseg.datasets.augmentation import (
    augment_geometry,
    augment_values,
    draw_missing,
    drop_channels,
    jitter_bands,
    mix_cells,
    sensors_of,
)
from esdseg.datasets.dataset import Batch
from esdseg.datasets.sampling import derived_generator, derived_seed
from esdseg.errors import InputDataError
from esdseg.metrics.segmentation import SegmentationMetrics
from esdseg.models.checkpoint import METADATA_KEY, CheckpointMetadata
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.sensors.channels import Channel, channel_from_name
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES
from esdseg.training.loss import SegmentationLoss
from esdseg.training.optimization import Schedule, build_optimizer, build_schedule


class Augmentation:
    """Changes and normalises training batches.

    All that is drawn comes from one generator, and what is switched off neither draws nor costs anything.

    Args:
        config: Probabilities and strengths.
        channels: The channels of the images.
        memory_format: Order of the axes of new pixels in memory.
    """

    def __init__(
        self, config: AugmentationConfig, channels: Sequence[Channel], memory_format: torch.memory_format
    ) -> None:
        self._config = config
        self._sensors = sensors_of(channels)
        self._memory_format = memory_format

    def __call__(
        self, model: SegmentationModel, batch: Batch, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return normalised pixels, for :meth:`SegmentationModel.classify`, and labels (N, k, k)."""
        config, normalization = self._config, model.normalization
        channels = [grid.channels for grid in model.grids]
        pixels, labels = augment_geometry(
            batch["pixels"], batch["label"], config, generator, self._memory_format
        )
        mix_cells(pixels, labels, config, generator)
        jitter_bands(pixels, channels, normalization.shift, normalization.scale, config, generator)
        image_size_px = labels.shape[-1] * CELL_SIZE_PX
        pixels = augment_values(model.normalize(pixels), image_size_px, config, generator)
        missing = draw_missing(self._sensors, len(labels), config, generator)
        if missing is not None:
            # Last, for a sample without a date is to look as it would from a store without it.
            drop_channels(pixels, channels, missing, normalization.fill)
        return pixels, labels


_VALUES_A_CELL = NUM_CLASSES + 1


@dataclass(frozen=True)
class Fault:
    """A loss that was no finite number.

    Attributes:
        step: The first such step, counted from 0.
        tiles: Positions of the tiles of that step's batch.
    """

    step: int
    tiles: tuple[int, ...]


class LossTracker:
    """Keeps an epoch's cells on the device and notes the first loss that is not finite, waiting for nothing.

    A cell takes 20 bytes, a tile 5 kB.

    Args:
        tiles: How many tiles the batches come from.
        device: Where the losses are.
    """

    def __init__(self, tiles: int, device: torch.device) -> None:
        self._device = device
        # Flat, because a process that has seen no batch contributes an empty vector.
        self._cells: list[Tensor] = []
        self._in_fault = torch.zeros(tiles, device=device)
        self._fault_step = torch.full((), torch.inf, device=device)
        self._steps = 0

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, tiles: Tensor) -> None:
        """Take in one batch: its loss, logits (N, 4, k, k), labels (N, k, k) and tiles' positions (N,)."""
        first = ~torch.isfinite(loss.detach()) & torch.isinf(self._fault_step)
        self._fault_step = torch.where(first, float(self._steps), self._fault_step)
        self._in_fault[tiles] = torch.maximum(self._in_fault[tiles], first.float())
        cells = torch.cat((logits.detach(), labels.unsqueeze(1).to(logits.dtype)), dim=1)
        self._cells.append(cells.movedim(1, -1).reshape(-1))
        self._steps += 1

    def fault(self) -> Fault | None:
        """Return the first fault of all processes; all of them must ask, and the device is waited for."""
        in_fault, fault_step = self._in_fault.clone(), self._fault_step.clone()
        if _several_processes():
            torch.distributed.all_reduce(fault_step, op=torch.distributed.ReduceOp.MIN)
            # A faulty step spoils the weights of all processes; only the tiles of the earliest are to blame.
            in_fault *= self._fault_step == fault_step
            torch.distributed.all_reduce(in_fault)
        step = float(fault_step)
        if step == torch.inf:
            return None
        return Fault(int(step), tuple(in_fault.nonzero().flatten().tolist()))

    def pooled(self, loss: SegmentationLoss) -> float:
        """Return the loss of all cells of all processes together; see :meth:`fault`."""
        cells = _flat(self._cells, self._device)
        if _several_processes():
            cells = torch.cat(gather_all_tensors(cells))
        values = cells.reshape(-1, _VALUES_A_CELL)
        return float(loss(values[:, :-1], values[:, -1].long()))


def _flat(cells: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.cat(list(cells)) if cells else torch.empty(0, device=device)


def _several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


STEPS_BETWEEN_LOSS_CHECKS = 50
"""Looking whether the loss is still a number waits for the device, so it is not done at every step."""

_PLATEAU_KEY = "plateau_schedule"


class SegmentationTask(pl.LightningModule):
    """Trains and validates a :class:`SegmentationModel`; logs every name of ``LOGGED_METRICS`` each epoch.

    No step waits for the device: losses and predictions are pooled there, over batches and processes, and
    read once an epoch.

    Args:
        model: The model.
        config: All settings.
        class_weights: Weight of each class in the loss (4,).
        metadata: What every checkpoint says of itself.
        memory_format: Order of an image's axes in memory.

    Attributes:
        learning_rate: Of the last step.
        config: All settings.
        loss: What is minimised.
        epoch_values: The last epoch's logged values by name, exact; what Lightning keeps is rounded.
    """

    def __init__(
        self,
        model: SegmentationModel,
        config: ESDConfig,
        class_weights: Tensor,
        metadata: CheckpointMetadata,
        memory_format: torch.memory_format,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=memory_format)
        self.metrics = SegmentationMetrics()
        self.learning_rate = 0.0
        self.epoch_values: dict[str, float] = {}
        self.loss = SegmentationLoss(config.loss, class_weights)
        self.config = config
        self._metadata = metadata
        self._memory_format = memory_format
        channels = [channel_from_name(name) for name in metadata.channels]
        self._augmentation = Augmentation(config.augmentation, channels, memory_format)
        self._schedule: Schedule | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._train_loss: LossTracker | None = None

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer and the schedule that moves its rate after every step."""
        precision = self.trainer.precision
        optimizer = build_optimizer(self.config.optimizer, self.model.parameters(), precision)
        steps = int(self.trainer.estimated_stepping_batches) // self.config.trainer.max_epochs
        self._schedule = build_schedule(optimizer, self.config.optimizer, self.config.trainer, steps)
        if self._schedule.by_epoch is not None and self._plateau_state is not None:
            self._schedule.by_epoch.load_state_dict(self._plateau_state)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._schedule.by_step, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradients.

        As Lightning does, which however refuses it for fused optimizers even where no gradient is scaled.
        """
        if gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's random streams, which depend on seed, epoch and process alone."""
        seed, place = self.config.trainer.seed, (self.current_epoch, self.global_rank)
        self._generator = derived_generator(seed, "augmentation", *place)
        self._train_loss = LossTracker(len(self._metadata.train_tiles), self.device)
        schedule_backbone(self.model.network, self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Begin the epoch's stream for dropout, which draws from PyTorch's global one.

        Not earlier: Lightning draws from it to read an epoch's batches, in a resumed run at another time.
        """
        if batch_index == 0:
            place = (self.current_epoch, self.global_rank)
            torch.manual_seed(derived_seed(self.config.trainer.seed, "network", *place))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of an augmented batch."""
        self.learning_rate = self._optimizer().param_groups[0]["lr"]
        pixels, labels = self._augmentation(self.model, batch, self._generator)
        logits = self.model.classify(pixels)
        loss = self.loss(logits, labels)
        assert self._train_loss is not None
        self._train_loss.update(loss, logits, labels, batch["tile"])
        if (batch_index + 1) % STEPS_BETWEEN_LOSS_CHECKS == 0:
            self._check(self._train_loss, "training", self._metadata.train_tiles)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Look at the training loss, and forget what was seen before, such as by the sanity check."""
        if not self.trainer.sanity_checking and self._train_loss is not None:
            self._check(self._train_loss, "training", self._metadata.train_tiles)
        self.metrics.reset()
        self._val_loss = LossTracker(len(self._metadata.val_tiles), self.device)
        if self.trainer.world_size > 1:
            # The running statistics of batch normalisation differ between the processes; those of the first
            # are the ones in checkpoints.
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Score a batch and return its predicted classes (N, k, k)."""
        pixels = [one.to(memory_format=self._memory_format) for one in batch["pixels"]]
        logits = self.model.classify_stored(pixels)
        labels = batch["label"]
        self._val_loss.update(self.loss(logits, labels), logits, labels, batch["tile"])
        self.metrics.update(logits, labels)
        return logits.argmax(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all validation cells."""
        self._check(self._val_loss, "validation", self._metadata.val_tiles)
        scores = {f"val_{name}": value for name, value in self.metrics.compute().items()}
        scores["val_loss"] = self._val_loss.pooled(self.loss)
        _check_names(scores)
        self.epoch_values = scores
        self.log_dict(scores)

    def on_train_epoch_end(self) -> None:
        """Log the training loss, and move a rate that waits for progress."""
        assert self._train_loss is not None
        self.epoch_values["train_loss"] = self._train_loss.pooled(self.loss)
        self.log("train_loss", self.epoch_values["train_loss"])
        if self._schedule is not None and self._schedule.by_epoch is not None:
            self._schedule.by_epoch.step(self.epoch_values[self.config.trainer.monitor])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that prediction and resumption need, as plain values."""
        checkpoint[METADATA_KEY] = self._metadata.model_dump(mode="json")
        if self._schedule is not None and self._schedule.by_epoch is not None:
            checkpoint[_PLATEAU_KEY] = self._schedule.by_epoch.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the schedule until the optimizer is there."""
        self._plateau_state = checkpoint.get(_PLATEAU_KEY)

    def _optimizer(self) -> Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        return optimizer

    def _check(self, tracker: LossTracker, stage: str, tiles: Sequence[str]) -> None:
        fault = tracker.fault()
        if fault is None:
            return
        names = ", ".join(tiles[position] for position in fault.tiles)
        raise InputDataError(
            f"The {stage} loss of epoch {self.current_epoch + 1} is no finite number from step "
            f"{fault.step + 1} on, whose batch came from {names}. Lower --learning-rate, use "
            "--precision 32-true, or look at these tiles with `esdseg check`."
        )


def _check_names(scores: dict[str, float]) -> None:
    missing = [name for name in LOGGED_METRICS if name != "train_loss" and name not in scores]
    if missing:
        raise RuntimeError(f"validation computes no {', '.join(missing)}")
