"""The training and validation steps, for Lightning."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from esdseg.config.preprocessing import Recipe
from esdseg.config.training import AugmentationConfig, ESDConfig
from esdseg.datasets.augmentation import (
    add_night_glow,
    augment_geometry,
    augment_values,
    draw_missing,
    drop_channels,
    jitter_bands,
    mix_cells,
    sensors_of,
    shuffle_places,
)
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import Batch
from esdseg.datasets.pixel_grid import native_grids
from esdseg.datasets.sampling import class_weights, derived_generator, derived_seed
from esdseg.errors import ConfigError, InputDataError
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.models.checkpoint import METADATA_KEY, CheckpointMetadata, SegmentationModel
from esdseg.models.layers import running_statistics
from esdseg.models.normalization import Normalization
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel, describe_acquisitions
from esdseg.sensors.classes import CELL_SIZE_PX, CLASS_NAMES, CLASSES
from esdseg.store.identity import TileIdentity
from esdseg.training.loss import LossTracker, SegmentationLoss
from esdseg.training.optimization import Schedule, build_optimizer, build_schedule

STEPS_BETWEEN_LOSS_CHECKS = 50
"""Looking whether the loss is still a number waits for the device, so it is not done at every step."""

_PLATEAU_KEY = "plateau_schedule"

_CLASS_METRICS = {f"val_f1_{name}": index for index, name in enumerate(CLASS_NAMES)} | {"val_contest_f1": 0}
"""Metrics of a single class, by the index of the class."""


class Augmentation:
    """Changes and normalises training batches.

    All that is drawn comes from one generator, and what is switched off neither draws nor costs anything.

    Args:
        config: Probabilities and strengths.
        channels: The channels of the images.
        recipe: How the store's values came about.
        memory_format: Order of the axes of new pixels in memory.
    """

    def __init__(
        self,
        config: AugmentationConfig,
        channels: Sequence[Channel],
        recipe: Recipe,
        memory_format: torch.memory_format,
    ) -> None:
        self._config = config
        self._channels = tuple(channels)
        self._sensors = sensors_of(channels)
        # Values that each tile scaled by itself have no unit.
        self._holds_light = recipe.scale_by == "training_tiles"
        self._memory_format = memory_format

    def __call__(
        self, model: SegmentationModel, batch: Batch, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor, bool]:
        """Change a batch.

        Returns:
            Normalised pixels, for :meth:`SegmentationModel.classify`; labels (N, k, k); and whether a sensor
            is missing in all samples.
        """
        config, normalization = self._config, model.normalization
        channels = [grid.channels for grid in model.grids]
        pixels, labels = augment_geometry(
            batch["pixels"], batch["label"], config, generator, self._memory_format
        )
        mix_cells(pixels, labels, config, generator)
        shuffle_places(pixels, channels, self._sensors, config, generator)
        if self._holds_light:
            add_night_glow(pixels, model.grids, self._channels, config, generator)
        jitter_bands(pixels, channels, normalization.shift, normalization.scale, config, generator)
        image_size_px = labels.shape[-1] * CELL_SIZE_PX
        pixels = augment_values(model.normalize(pixels), image_size_px, config, generator)
        missing = draw_missing(self._sensors, len(labels), config, generator)
        if missing is None:
            return pixels, labels, False
        # Last, for a sample without a date is to look as it would from a store without it.
        drop_channels(pixels, model.grids, missing, normalization.fill)
        gone = missing.all(dim=0)
        return pixels, labels, any(bool(gone[list(sensor.channels)].all()) for sensor in self._sensors)


class SegmentationTask(pl.LightningModule):
    """Trains and validates a :class:`SegmentationModel`; logs every name of ``LOGGED_METRICS`` each epoch.

    No step waits for the device: losses and predictions are pooled there, over batches and processes, and
    read once an epoch.

    Args:
        config: All settings, with those of the store filled in.
        data: The tiles. Weights come from the seed, the scales of channels from the training tiles alone.
        run_name: The run's name, for its checkpoints.

    Attributes:
        model: The model.
        config: All settings.
        loss: The loss that is minimised.
        metadata: What every checkpoint of the run says of itself.
        learning_rate: Learning rate of the last step.
        epoch_values: The last epoch's logged values by name, exact; what Lightning keeps is rounded.

    Raises:
        ConfigError: The model cannot work on windows of that size, or they cannot be mixed.
        InputDataError: The monitored metric has no value on the validation tiles.
    """

    def __init__(self, config: ESDConfig, data: SubtileDataModule, run_name: str) -> None:
        super().__init__()
        _check_mixing(config, data.window_size)
        check_monitor(config, data)
        self.config = config
        # Convolutions of all backends are at least as fast with the channels last.
        is_contiguous = config.trainer.memory_format == "contiguous"
        self._memory_format = torch.contiguous_format if is_contiguous else torch.channels_last
        self.model = _build_model(config, data).to(memory_format=self._memory_format)
        self.metadata = describe_run(config, data, run_name)
        weights = class_weights(config.loss.class_weights, data.store.class_counts(data.train_tiles))
        self.loss = SegmentationLoss(config.loss, torch.tensor(weights, dtype=torch.float32))
        self.metrics = SegmentationMetrics()
        self.learning_rate = 0.0
        self.epoch_values: dict[str, float] = {}
        self._augmentation = Augmentation(
            config.augmentation, data.channels, self.metadata.recipe, self._memory_format
        )
        self._schedule: Schedule | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._train_loss: LossTracker | None = None

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer and the schedule that moves its rate after every step."""
        precision = self.trainer.precision
        optimizer = build_optimizer(self.config.optimizer, self.model, precision)
        steps = int(self.trainer.estimated_stepping_batches) // self.config.trainer.epochs
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
        self._train_loss = LossTracker(len(self.metadata.train_tiles), self.device)
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
        self.learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        pixels, labels, lacks_sensor = self._augmentation(self.model, batch, self._generator)
        # Statistics of batches without a sensor are not those of the images that most predictions are made
        # of; so these batches are seen as such an image is in prediction.
        with running_statistics(self.model) if lacks_sensor else nullcontext():
            logits = self.model.classify(pixels)
        loss = self.loss(logits, labels)
        assert self._train_loss is not None
        self._train_loss.update(loss, logits, labels, batch["tile"])
        if (batch_index + 1) % STEPS_BETWEEN_LOSS_CHECKS == 0:
            self._check(self._train_loss, "training", self.metadata.train_tiles)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Look at the training loss, and forget what was seen before, such as by the sanity check."""
        if not self.trainer.sanity_checking and self._train_loss is not None:
            self._check(self._train_loss, "training", self.metadata.train_tiles)
        self.metrics.reset()
        self._val_loss = LossTracker(len(self.metadata.val_tiles), self.device)
        if self.trainer.world_size > 1:
            # The running statistics of batch normalisation differ between the processes; those of the first
            # are the ones in checkpoints.
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Score a batch and return its predicted classes (N, k, k)."""
        pixels = [grid.to(memory_format=self._memory_format) for grid in batch["pixels"]]
        logits = self.model.classify_stored(pixels)
        labels = batch["label"]
        self._val_loss.update(self.loss(logits, labels), logits, labels, batch["tile"])
        self.metrics.update(logits, labels)
        return logits.argmax(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all validation cells."""
        self._check(self._val_loss, "validation", self.metadata.val_tiles)
        scores = {f"val_{name}": value for name, value in self.metrics.compute().items()}
        scores["val_loss"] = self._val_loss.pooled(self.loss)
        self.epoch_values = scores
        self.log_dict(scores)

    def on_train_epoch_end(self) -> None:
        """Log the training loss, and move a rate that waits for progress.

        Lightning would move the rate only after the epoch's checkpoint is written.
        """
        assert self._train_loss is not None
        self.epoch_values["train_loss"] = self._train_loss.pooled(self.loss)
        self.log("train_loss", self.epoch_values["train_loss"])
        if self._schedule is not None and self._schedule.by_epoch is not None:
            assert self.config.trainer.monitor is not None, "settings with a plateau monitor a metric"
            self._schedule.by_epoch.step(self.epoch_values[self.config.trainer.monitor])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that prediction and resumption need, as plain values."""
        checkpoint[METADATA_KEY] = self.metadata.model_dump(mode="json")
        if self._schedule is not None and self._schedule.by_epoch is not None:
            checkpoint[_PLATEAU_KEY] = self._schedule.by_epoch.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the schedule until the optimizer is there."""
        self._plateau_state = checkpoint.get(_PLATEAU_KEY)

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


def _build_model(config: ESDConfig, data: SubtileDataModule) -> SegmentationModel:
    statistics = data.store.channel_statistics(data.train_tiles, data.channels)
    recipe = data.store.manifest.config.recipe
    normalization = Normalization.from_statistics(statistics, data.channels, recipe)
    # Layers draw their first weights from PyTorch's global stream.
    torch.manual_seed(derived_seed(config.trainer.seed, "network"))
    network = build_network(config.model, data.channels, data.window_size)
    return SegmentationModel(normalization, network, native_grids(data.channels))


def describe_run(config: ESDConfig, data: SubtileDataModule, run_name: str) -> CheckpointMetadata:
    """Return what every checkpoint of a run says of itself."""
    identities = {
        tile: TileIdentity.of(data.store.manifest.tiles[tile])
        for tile in (*data.train_tiles, *data.val_tiles, *data.held_out_tiles)
    }
    return CheckpointMetadata(
        config=config,
        sensors=data.store.manifest.sensors,
        channels=tuple(channel.name for channel in data.channels),
        acquisitions=describe_acquisitions(data.channels),
        subtile_size=data.store.subtile_size,
        window_size=data.window_size,
        recipe=data.store.manifest.config.recipe,
        reflectance_offset=data.store.manifest.config.reflectance_offset,
        manifest_hash=data.store.manifest_hash,
        run_name=run_name,
        train_tiles=data.train_tiles,
        val_tiles=data.val_tiles,
        held_out_tiles=data.held_out_tiles,
        tile_contents={tile: identity.content for tile, identity in identities.items()},
        tile_places={tile: identity.place for tile, identity in identities.items()},
        labelled_by=data.labelled_by,
    )


def _check_mixing(config: ESDConfig, window_size: int) -> None:
    if config.augmentation.mixing_probability and window_size == 1:
        raise ConfigError(
            "augmentation.mixing_probability: a window of 1 cell has no part to mix; use --set "
            "data.window_size=2 or more, or no mixing."
        )


def check_monitor(config: ESDConfig, data: SubtileDataModule) -> None:
    """Refuse a monitored metric that has no value on the validation tiles (``InputDataError``)."""
    monitor, val_counts = config.trainer.monitor, data.store.class_counts(data.val_tiles)
    if monitor is None:
        return
    absent = monitor in _CLASS_METRICS and val_counts[_CLASS_METRICS[monitor]] == 0
    if absent or (monitor == "val_auc_macro" and np.count_nonzero(val_counts) < 2):
        present = ", ".join(entry.title_with_code for entry in CLASSES if val_counts[entry.index])
        split = "split anew with another `esdseg preprocess --seed N`"
        if config.folds.fold is not None:
            split = "draw other folds with --set folds.seed=N"
        raise InputDataError(
            f"{monitor} has no value here: the validation tiles hold cells of class {present} alone. Monitor "
            f"another metric, such as --set trainer.monitor=val_f1_macro, or {split}."
        )
