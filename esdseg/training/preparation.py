"""The parts of a run, made from its settings and the store; what cannot work is refused here."""

from contextlib import AbstractContextManager

import numpy as np
import torch

from esdseg.config.training import DataConfig, ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.sampling import class_weights, derived_seed
from esdseg.errors import ConfigError, InputDataError, UsageError
from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.models.device import naming_memory_faults
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network, is_fitted
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.sensors.classes import CLASS_NAMES, GRID_SIZE
from esdseg.store.statistics import ChannelStatistics
from esdseg.store.store import Store
from esdseg.training.machine import Machine
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask

_CLASS_METRICS = {f"val_f1_{name}": index for index, name in enumerate(CLASS_NAMES)} | {"val_contest_f1": 0}
"""Metrics of a single class, by its index."""


def applicable_settings(config: ESDConfig) -> ESDConfig:
    """Set aside what has no meaning for a model that is fitted in one go, by one process, unrounded."""
    if not is_fitted(config.model):
        return config
    trainer = {
        "max_epochs": 1,
        "devices": 1,
        "num_nodes": 1,
        "precision": "32-true",
        "weight_averaging": "none",
    }
    return config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update=trainer),
            # Every subtile is read once, so none is worth keeping.
            "data": config.data.model_copy(update={"cache": "disk", "window_positions": "grid"}),
        }
    )


def check_cache(config: DataConfig, machine: Machine) -> None:
    """Refuse to keep pixels on a GPU where none trains.

    Raises:
        UsageError: ``data.cache`` is ``gpu``, and training runs on the CPU.
    """
    if config.cache == "gpu" and machine.accelerator == "cpu":
        raise UsageError(
            "data.cache=gpu keeps decoded subtiles on the GPU that trains, and this run trains on the CPU; "
            "use --set data.cache=memory, or auto."
        )


def resolve_config(config: ESDConfig, store: Store) -> ESDConfig:
    """Fill in what follows from the store and the model.

    Raises:
        ConfigError: The model cannot work on windows of that size, or they cannot be mixed.
    """
    resolved = config.resolved(store.subtile_size)
    assert resolved.data.window_size is not None
    try:
        config.model.check_subtile(resolved.data.window_size)
    except ValueError as error:
        raise ConfigError(f"model {config.model.name}: {error}.") from None
    if config.augmentation.mixing_probability and resolved.data.window_size == 1:
        raise ConfigError(
            "augmentation.mixing_probability: a window of 1 cell has no part to mix; use --set "
            "data.window_size=2 or more, or no mixing."
        )
    return resolved


def check_fit(config: ESDConfig, machine: Machine, data: SubtileDataModule, store: Store) -> None:
    """Refuse a run that would only fail later.

    Raises:
        InputDataError: The monitored metric has no value on the validation tiles.
        UsageError: There are more processes than validation windows.
    """
    counts = store.class_counts(data.val_tiles)
    monitor = config.trainer.monitor
    absent = monitor in _CLASS_METRICS and counts[_CLASS_METRICS[monitor]] == 0
    if absent or (monitor == "val_auc_macro" and np.count_nonzero(counts) < 2):
        present = ", ".join(name for name, count in zip(CLASS_NAMES, counts, strict=True) if count)
        raise InputDataError(
            f"{monitor} has no value here: the validation tiles hold cells of {present} alone. Monitor "
            f"another metric, such as --set trainer.monitor=val_f1_macro, or {_split_anew(config)}."
        )
    windows = len(data.val_tiles) * (GRID_SIZE // data.window_size) ** 2
    if machine.processes > windows:
        raise UsageError(
            f"{machine.processes} processes are more than the {windows} validation windows; use --devices "
            f"{windows} or fewer."
        )


def _split_anew(config: ESDConfig) -> str:
    if config.folds.fold is not None:
        return "draw other folds with --set folds.seed=N"
    return "split anew with another `esdseg preprocess --seed N`"


def check_resumable(run: RunFolder, data: SubtileDataModule, store: Store) -> None:
    """Refuse to go on with a run on other data than it began with.

    Raises:
        InputDataError: Tiles, split, channels or recipe are not those of the run.
    """
    if run.resumed is None:
        return
    begun = run.resumed
    now = {
        "channels": tuple(channel.name for channel in data.channels),
        "training tiles": data.train_tiles,
        "validation tiles": data.val_tiles,
        "held-out tiles": data.held_out_tiles,
        "recipe": store.manifest.config.recipe,
        "manifest": store.manifest_hash,
    }
    then = {
        "channels": begun.channels,
        "training tiles": begun.train_tiles,
        "validation tiles": begun.val_tiles,
        "held-out tiles": begun.held_out_tiles,
        "recipe": begun.recipe,
        "manifest": begun.manifest_hash,
    }
    changed = [what for what in now if now[what] != then[what]]
    if changed:
        raise InputDataError(
            f"{store.path} has changed since the run {run.path} began (its {', '.join(changed)}); write it "
            "as it was with `esdseg preprocess`, or start a new run without --resume."
        )


def describe(run: RunFolder, config: ESDConfig, data: SubtileDataModule, store: Store) -> CheckpointMetadata:
    """Return what every checkpoint of the run says of itself."""
    return CheckpointMetadata(
        config=config,
        channels=tuple(channel.name for channel in data.channels),
        subtile_size=store.subtile_size,
        window_size=data.window_size,
        recipe=store.manifest.config.recipe,
        manifest_hash=store.manifest_hash,
        run_name=run.path.name,
        train_tiles=data.train_tiles,
        val_tiles=data.val_tiles,
        held_out_tiles=data.held_out_tiles,
    )


def build_task(
    config: ESDConfig,
    metadata: CheckpointMetadata,
    data: SubtileDataModule,
    store: Store,
    machine: Machine,
) -> SegmentationTask:
    """Build the model and what trains it: weights by the seed, scales from the training tiles alone."""
    if is_fitted(config.model):
        normalization = Normalization.pass_through(len(data.channels))
    else:
        positions = [store.channels.index(channel) for channel in data.channels]
        statistics = ChannelStatistics(store.channel_statistics(data.train_tiles).code_counts[positions])
        normalization = Normalization.from_statistics(statistics, data.channels, metadata.recipe)
    # Layers draw their first weights from PyTorch's global stream.
    torch.manual_seed(derived_seed(config.trainer.seed, "network"))
    network = build_network(config.model, data.channels, data.window_size)
    weights = class_weights(config.loss.class_weights, store.class_counts(data.train_tiles))
    return SegmentationTask(
        SegmentationModel(normalization, network),
        config,
        torch.tensor(weights, dtype=torch.float32),
        metadata,
        machine.memory_format,
    )


def naming_large_batches(data: SubtileDataModule) -> AbstractContextManager[None]:
    """Say what to try where a batch does not fit into memory (``OutOfMemoryError``)."""
    size = data.batch_size
    smaller = f"--batch-size {size // 2}, " if size > 1 else ""
    return naming_memory_faults(
        f"batches of {size} windows of {data.window_size} x {data.window_size} cells and "
        f"{len(data.channels)} channels",
        f"Try {smaller}fewer channels (--set data.selected_bands={{...}}), smaller windows (--set "
        "data.window_size=N), a smaller network, or --set data.cache=disk.",
    )
