"""Runs of the simple models, which scikit-learn fits in one go: no epochs, batches or devices."""

import time
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esdseg.baselines.cell_features import CellFeatures
from esdseg.baselines.cell_models import CellModel
from esdseg.baselines.checkpoint import checkpoint_content
from esdseg.baselines.simple_baselines import fit_baseline
from esdseg.config.models import CellModelConfig
from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.sampling import class_weights
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES
from esdseg.store.store import Store, open_store
from esdseg.system.files import naming_write_faults, part_path, put_in_place
from esdseg.system.processes import ItemListener, announcing
from esdseg.training.calibration import calibrate_metadata
from esdseg.training.callbacks import EpochListener, EpochReport, History
from esdseg.training.loss import SegmentationLoss
from esdseg.training.pseudo_labels import label_tiles
from esdseg.training.run_folder import BEST_EPOCH_STATE, FitResult, RunFolder, copy_checkpoint
from esdseg.training.task import check_monitor, describe_run
from esdseg.training.tracking import tracking
from esdseg.training.wandb_connection import NoteListener, choose_mode

Predicted = tuple[Tensor, Tensor]
"""Logits (tiles, 4, 16, 16) and labels (tiles, 16, 16) of whole tiles."""


MEASURED_TILES = 2
"""Tiles that a simple model is fitted to, to say how long it takes."""


def fit_simple_model(
    run: RunFolder,
    checkpoints_dir: Path,
    on_epoch: EpochListener | None,
    on_step: ItemListener,
    on_note: NoteListener,
) -> FitResult:
    """Fit a simple model and write what every run writes, as a single epoch.

    Args:
        run: The run's folder and settings.
        checkpoints_dir: Folder in which runs that the settings name are looked up.
        on_epoch: Called once the checkpoints are written.
        on_step: Receives each tile that is described, and the fit.
        on_note: Called with sentences for the user, such as the address of the run at Weights & Biases.

    Returns:
        Where the run lies and how good the model is.

    Raises:
        InputDataError: The store is missing, broken or does not fit, or the monitored metric has no value.
        MissingResourceError: A login or space on the disk is missing.
    """
    begun, config = time.monotonic(), run.config
    mode = choose_mode(config.tracking)
    store = open_store(config.data.processed_dir, config.data.subtile_size)
    config = config.resolved(store.subtile_size, store.channels)
    data = SubtileDataModule(config, store)
    label_tiles(data, run, checkpoints_dir, on_step, on_note)
    store = data.store
    check_monitor(config, data)
    metadata = describe_run(config, data, run.path.name)
    run.check_data(metadata)
    run.write_settings(config, data.fold)

    tiles = (*data.train_tiles, *data.val_tiles)
    begin = announcing(on_step, len(tiles) + 1)
    features = CellFeatures(store, data.channels, begin)
    for tile in tiles:
        features.of_tile(tile)
    begin(f"fitting {config.model.name}")
    assert isinstance(config.model, CellModelConfig)
    weighting, seed = config.loss.class_weights, config.trainer.seed
    model = fit_baseline(config.model, store, data.train_tiles, weighting, seed, features)
    train = _predict(model, features, store, data.train_tiles)
    val = _predict(model, features, store, data.val_tiles)
    if config.trainer.calibrate:
        logits, labels = val
        cells = logits.movedim(1, -1).reshape(-1, NUM_CLASSES)
        metadata = calibrate_metadata(metadata, labels.flatten().numpy(), cells.numpy())

    weights = class_weights(weighting, store.class_counts(data.train_tiles))
    loss = SegmentationLoss(config.loss, torch.tensor(weights, dtype=torch.float32))
    metrics = SegmentationMetrics()
    metrics.update(*val)
    scores = {f"val_{name}": value for name, value in metrics.compute().items()}
    report = EpochReport(
        epoch=1,
        max_epochs=1,
        learning_rate=nan,
        train_loss=float(loss(*train)),
        metrics={**scores, "val_loss": float(loss(*val))},
        seconds=time.monotonic() - begun,
        is_best=True,
        is_last=True,
    )
    counts = len(data.train_tiles), len(data.val_tiles)
    with tracking(mode, run, config, metrics, data, on_note) as tracker, run.drawing_curves(*counts):
        History(run).append(report)
        if tracker is not None:
            tracker.maps = val[0].argmax(dim=1).numpy()
            tracker.log_epoch(report)
        _write_checkpoints(run, model, metadata, report)
        if on_epoch is not None:
            on_epoch(report)
    if tracker is None:
        return run.result()
    return run.result(tracker.sync_command, tracker.url)


def measure_simple_fit(config: ESDConfig) -> float:
    """Return about how many seconds a simple model's run takes, by a fit to a few tiles that is thrown away.

    Raises:
        InputDataError: The store is missing, broken or does not fit.
    """
    store = open_store(config.data.processed_dir, config.data.subtile_size)
    config = config.resolved(store.subtile_size, store.channels)
    data = SubtileDataModule(config, store)
    tiles = data.train_tiles[:MEASURED_TILES]
    added = data.unlabelled_tiles if config.data.pseudo_labels is not None else ()
    trained = len(data.train_tiles) + len(added)
    features = CellFeatures(store, data.channels)
    begun = time.monotonic()
    for tile in tiles:
        features.of_tile(tile)
    described = time.monotonic()
    assert isinstance(config.model, CellModelConfig)
    fit_baseline(config.model, store, tiles, config.loss.class_weights, config.trainer.seed, features)
    # Both take as many times as long as there are tiles.
    describing = (described - begun) * (trained + len(data.val_tiles))
    return (describing + (time.monotonic() - described) * trained) / len(tiles)


def _predict(model: CellModel, features: CellFeatures, store: Store, tiles: Sequence[str]) -> Predicted:
    logits, labels = [], []
    for tile in tiles:
        logarithms = model.log_probabilities(features.of_tile(tile).reshape(GRID_SIZE**2, -1))
        logits.append(logarithms.T.reshape(NUM_CLASSES, GRID_SIZE, GRID_SIZE))
        labels.append(store.labels(tile).astype(np.int64))
    return torch.from_numpy(np.stack(logits)), torch.from_numpy(np.stack(labels))


def _write_checkpoints(
    run: RunFolder, model: CellModel, metadata: CheckpointMetadata, report: EpochReport
) -> None:
    best = run.best_checkpoint
    metrics = {"train_loss": report.train_loss, **report.metrics}
    content: dict[str, Any] = {
        **checkpoint_content(model, metadata),
        # As in every checkpoint of a run: finished epochs before this one, and which was the best.
        "epoch": 0,
        "callbacks": {BEST_EPOCH_STATE: {"best_epoch": 1, "best_metrics": metrics}},
    }
    with naming_write_faults(best, part_path(best)):
        torch.save(content, part_path(best))
        put_in_place(best)
    copy_checkpoint(best, run.last_checkpoint)
