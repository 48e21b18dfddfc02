"""Finishing a run that was stopped after its last epoch: its curves, and its calibration."""

from pathlib import Path

from esdseg.config.training import MONITORED_METRICS, ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.models.checkpoint import load_checkpoint
from esdseg.models.checkpoint_lookup import BEST_NAME, HISTORY_NAME, LAST_NAME, read_history
from esdseg.models.device import choose_torch_device
from esdseg.report.training_curves import CURVES_NAME, write_curves
from esdseg.store.folds import make_fold
from esdseg.store.store import open_store
from esdseg.training.calibration import calibrate_run
from esdseg.training.callbacks import EpochEnd
from esdseg.training.preparation import check_resumable, resolve_config
from esdseg.training.run_folder import FitResult, RunFolder, Standing, read_standing


def finish_trained(run: RunFolder, config: ESDConfig) -> FitResult:
    """Draw the curves of a trained run, and calibrate it where its settings say so.

    Args:
        run: The run.
        config: Its settings.

    Raises:
        InputDataError: The store is missing or has changed since, or another process trains the run.
        UsageError: The machine lacks the accelerator that the settings name.
    """
    with run.exclusively():
        standing = read_standing(run.last_checkpoint)
        result = finished_result(run.path, standing)
        rows = read_history(run.path / HISTORY_NAME)
        write_curves(run.path / CURVES_NAME, rows, result.best_epoch or None, run.path.name, config.loss)
        if not standing.is_finished(config):
            _calibrate(run, config)
    return result


def _calibrate(run: RunFolder, config: ESDConfig) -> None:
    """Calibrate a run on the store that it was trained on."""
    store = open_store(config.data.processed_dir, config.data.subtile_size)
    config = resolve_config(config, store)
    fold = make_fold(config.folds, store) if config.folds.fold is not None else None
    data = SubtileDataModule(config.data, config.trainer.seed, store, fold)
    check_resumable(run, data, store)
    data.take(load_checkpoint(run.last_checkpoint).model.grids)
    run.write_config(config)
    device = choose_torch_device(config.trainer.accelerator)
    calibrate_run(run, data.val_dataset, data.batch_size, device)


def finished_result(path: Path, standing: Standing) -> FitResult:
    """Return what a trained run told at its end, from its last checkpoint."""
    kept = standing.callbacks[EpochEnd.__qualname__]
    metrics = kept["best_metrics"]
    return FitResult(
        run_dir=path,
        best_checkpoint=path / BEST_NAME,
        last_checkpoint=path / LAST_NAME,
        best_epoch=kept["best_epoch"],
        best_metrics={name: metrics[name] for name in MONITORED_METRICS if name != "train_loss"},
        epochs=standing.epochs_done,
        sync_command=None,
    )
