"""One training run, from settings to checkpoints."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from esdseg.config.training import MONITORED_METRICS, ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import MissingResourceError
from esdseg.models.checkpoint_lookup import HISTORY_NAME
from esdseg.models.registry import check_model, is_fitted, load_pretrained
from esdseg.report.training_curves import CURVES_NAME, write_curves
from esdseg.sensors.classes import GRID_SIZE
from esdseg.store.folds import make_fold
from esdseg.store.store import open_store
from esdseg.training.calibration import calibrate_run
from esdseg.training.callbacks import (
    EpochEnd,
    EpochListener,
    History,
    PredictedMaps,
    StepListener,
    StepProgress,
    StoppedRunError,
)
from esdseg.training.cell_fit import fit_cells
from esdseg.training.estimate import TrainingNeeds, check_needs, checkpoint_bytes, estimate_needs
from esdseg.training.late_calibration import finish_trained
from esdseg.training.machine import (
    build_trainer,
    choose_machine,
    interruptible,
    launcher_environment,
    quiet_lightning,
)
from esdseg.training.preparation import (
    applicable_settings,
    build_task,
    check_cache,
    check_fit,
    check_resumable,
    describe,
    naming_large_batches,
    resolve_config,
)
from esdseg.training.run_folder import FitResult, RunFolder, new_run, resumed_run
from esdseg.training.tracking import TrackedEpochs, Tracker, choose_mode
from esdseg.training.weight_averaging import weight_averaging

NeedsListener = Callable[[TrainingNeeds], None]


def fit(
    config: ESDConfig,
    *,
    checkpoints_dir: Path = Path("checkpoints"),
    name: str | None = None,
    resume: bool = False,
    on_epoch: EpochListener | None = None,
    on_step: StepListener | None = None,
    on_needs: NeedsListener | None = None,
) -> FitResult:
    """Train a model on a processed store, or go on with a run.

    With several devices, Lightning starts the further processes by running the calling program again. They
    end inside this function (``SystemExit``), so that what follows it is done once.

    Args:
        config: All settings. With ``resume`` the run's own win, and explicit ones that differ are refused.
        checkpoints_dir: Folder of the runs.
        name: The run's folder in it; by default MODEL-DATE-TIME, or the newest run where one is resumed.
        resume: Go on from the run's last checkpoint; a run that lacks its calibration alone is calibrated.
        on_epoch: Told of each finished epoch, once its checkpoints are written.
        on_step: Told of each training step; it must not take long.
        on_needs: Told once of what the run will need, before it starts.

    Returns:
        Where the run lies and how good it became.

    Raises:
        UsageError: The run exists, is finished, has other settings, or the machine lacks what they name.
        ConfigError: The model cannot work, or not on the store's subtiles.
        InputDataError: Store or checkpoint is missing, broken or does not fit, another process trains the
            run, or the loss became NaN.
        MissingResourceError: Pretrained weights, a login, or space on the disk are missing.
        OutOfMemoryError: A batch does not fit into memory.
        StoppedRunError: ``on_epoch`` raised it.
        KeyboardInterrupt: Interrupted, with how to go on as its message.
    """
    is_main = rank_zero_only.rank == 0
    run = _open_run(config, checkpoints_dir, name, resume, is_main)
    config = applicable_settings(run.config)
    if run.is_trained:
        if not is_main:
            raise SystemExit(0)
        return finish_trained(run, config)
    check_model(config.model, config.data.window_size or config.data.subtile_size or GRID_SIZE)
    mode = choose_mode(config.tracking, os.environ)
    machine = choose_machine(config.trainer)
    check_cache(config.data, machine)
    store = open_store(config.data.processed_dir, config.data.subtile_size)
    config = resolve_config(config, store)
    fold = make_fold(config.folds, store) if config.folds.fold is not None else None
    data = SubtileDataModule(config.data, config.trainer.seed, store, fold)
    check_fit(config, machine, data, store)
    check_resumable(run, data, store)

    task = build_task(config, describe(run, config, data, store), data, store, machine)
    if run.resumed is None:
        load_pretrained(task.model.network, config.model, data.channels)
    data.take(task.model.grids)
    if is_main:
        needs = estimate_needs(run, task, data, machine)
        check_needs(run, needs)
        if on_needs is not None:
            on_needs(needs)

    maps = PredictedMaps(len(data.val_tiles))
    tracked: TrackedEpochs | None = None
    sync_command: str | None = None
    with ExitStack() as held:
        if is_main:
            held.enter_context(run.exclusively())
            held.enter_context(_saying_how_to_go_on(run))
            run.write_config(config)
            if fold is not None:
                run.write_fold(config.folds, fold)
            if mode is not None:
                tracker = Tracker(run, config, store.manifest_hash, mode)
                truths = {tile: store.labels(tile) for tile in data.val_tiles}
                tracked = TrackedEpochs(tracker, config.tracking, task, maps, truths)
                sync_command = tracker.sync_command
        history = History(run.path / HISTORY_NAME, run.epochs_done)

        recorders = (history.append,) if tracked is None else (history.append, tracked)
        epoch_end = EpochEnd(run, config.trainer, recorders, on_epoch, checkpoint_bytes(task))
        callbacks: list[pl.Callback] = [maps, *weight_averaging(config.trainer), epoch_end]
        if on_step is not None and is_main:
            callbacks.append(StepProgress(on_step))
        exit_code = 1
        try:
            with quiet_lightning(), launcher_environment(), interruptible(), naming_large_batches(data):
                trainer = build_trainer(config, machine, callbacks)
                if is_fitted(config.model):
                    fit_cells(trainer, task, data, epoch_end, on_step)
                else:
                    trainer.fit(
                        task,
                        datamodule=data,
                        ckpt_path=run.last_checkpoint if run.resumed is not None else None,
                        weights_only=True,
                    )
            exit_code = 0
        except StoppedRunError:
            exit_code = 0
            raise
        finally:
            if is_main:
                best_epoch = epoch_end.best_epoch or None
                # What ended the training matters more than that there is no room for its picture.
                with suppress(MissingResourceError) if exit_code else nullcontext():
                    if history.rows:
                        write_curves(
                            run.path / CURVES_NAME, history.rows, best_epoch, run.path.name, config.loss
                        )
                if tracked is not None:
                    tracked.finish(exit_code)
        if not is_main:
            raise SystemExit(0)
        if config.trainer.calibrate:
            calibrate_run(run, data.val_dataset, data.batch_size, trainer.strategy.root_device)
    return FitResult(
        run_dir=run.path,
        best_checkpoint=run.best_checkpoint,
        last_checkpoint=run.last_checkpoint,
        best_epoch=epoch_end.best_epoch,
        best_metrics={
            name: epoch_end.best_metrics[name] for name in MONITORED_METRICS if name != "train_loss"
        },
        epochs=len(history.rows),
        sync_command=sync_command,
    )


@contextmanager
def _saying_how_to_go_on(run: RunFolder) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(run.how_to_go_on()) from None


def _open_run(
    config: ESDConfig, checkpoints_dir: Path, name: str | None, resume: bool, is_main: bool
) -> RunFolder:
    if resume:
        return resumed_run(config, checkpoints_dir, name)
    if is_main:
        return new_run(config, checkpoints_dir, name, datetime.now())
    # The first process has chosen the folder and made it; the others write nothing.
    return RunFolder(checkpoints_dir, config)


MEASURED_STEPS = 3
"""The first one also prepares the device; the last one counts."""

VALIDATION_SHARE = 0.5
"""Validation and checkpoints, as a share of the time that an epoch's steps take."""


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Attributes:
        step_seconds: One training step; the whole fit where there are no steps.
        steps: Training steps an epoch.
        has_epochs: Whether there are epochs at all: some models are fitted in one go.
    """

    step_seconds: float
    steps: int
    has_epochs: bool

    def seconds(self, epochs: float) -> float:
        """Return how long so many epochs take."""
        if not self.has_epochs:
            return self.step_seconds
        return self.step_seconds * self.steps * (1 + VALIDATION_SHARE) * epochs


def measure_pace(config: ESDConfig) -> Pace:
    """Train a few steps in a folder that is thrown away, without tracking.

    Raises:
        ESDSegError: The settings cannot be trained.
    """
    tracking = config.tracking.model_copy(update={"wandb": "disabled"})
    config = config.model_copy(update={"tracking": tracking})
    times: list[float] = []
    steps = 1

    def on_step(epoch: int, done: int, total: int) -> None:
        nonlocal steps
        times.append(time.monotonic())
        steps = total
        if len(times) > MEASURED_STEPS:
            raise StoppedRunError

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # What a model that is fitted in one go calls steps are the subtiles that it reads.
        has_epochs = not is_fitted(config.model)
        with contextlib.suppress(StoppedRunError):
            fit(
                config,
                checkpoints_dir=Path(folder),
                name="measured",
                on_step=on_step if has_epochs else None,
            )
        whole = time.monotonic() - begun
    if len(times) < 2:
        return Pace(whole, 1, has_epochs=False)
    return Pace(times[-1] - times[-2], steps, has_epochs=True)
