"""One training run, from settings to checkpoints."""

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from esdseg.config.models import AnyModelConfig, CellModelConfig
from esdseg.config.section import NetworkSection
from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.models.checkpoint import load_starting_weights
from esdseg.models.normalization import NetworkInput
from esdseg.models.registry import check_model
from esdseg.prediction.known_tiles import note_known_tiles
from esdseg.store.store import open_store
from esdseg.system.processes import ItemListener, ignore
from esdseg.training.calibration import calibrate_run
from esdseg.training.callbacks import (
    EpochEnd,
    EpochListener,
    History,
    StepProgress,
    StoppedRunError,
)
from esdseg.training.estimate import Pace, TrainingNeeds, check_needs, checkpoint_bytes
from esdseg.training.machine import Machine, build_trainer, choose_machine, training_session
from esdseg.training.pseudo_labels import label_tiles
from esdseg.training.run_folder import FitResult, RunFolder, open_run
from esdseg.training.simple_fit import fit_simple_model, measure_simple_fit
from esdseg.training.task import SegmentationTask
from esdseg.training.tracking import WandbTracker, tracking
from esdseg.training.wandb_connection import NoteListener, choose_mode

MEASURED_STEPS = 3
"""Steps that are trained to measure the pace. The first one also prepares the device; the last one counts."""


def fit(
    config: ESDConfig,
    *,
    checkpoints_dir: Path = Path("checkpoints"),
    named_runs_dir: Path | None = None,
    name: str | None = None,
    resume: bool = False,
    on_epoch: EpochListener | None = None,
    on_step: ItemListener = ignore,
    on_needs: Callable[[TrainingNeeds], None] | None = None,
    on_note: NoteListener = lambda note: None,
) -> FitResult:
    """Train a model on a processed store, or go on with a run.

    With several devices, Lightning starts the other processes by running the calling program again. They end
    inside this function (``SystemExit``), so that only the first process goes on after it.

    Args:
        config: All settings. With ``resume`` the run's own hold. Explicit ones may change what is in
            ``CHANGEABLE_ON_RESUME``; others that differ are refused.
        checkpoints_dir: Folder of the runs.
        named_runs_dir: Folder in which runs that the settings name are looked up; ``checkpoints_dir`` unless
            given.
        name: The run's folder in it; by default MODEL-DATE-TIME, or the newest run where one is resumed.
        resume: Go on from the run's last checkpoint; a run that lacks its calibration alone is calibrated.
        on_epoch: Called after each epoch, once its checkpoints are written.
        on_step: Receives each training step, and each other step that takes long. It is called often and
            must be quick.
        on_needs: Called once with what the run will need, before training starts.
        on_note: Called with sentences for the user, such as the address of the run at Weights & Biases.

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
    others_dir = named_runs_dir or checkpoints_dir
    with open_run(config, checkpoints_dir, name, resume) as run:
        config = run.config
        if isinstance(config.model, CellModelConfig):
            return fit_simple_model(run, others_dir, on_epoch, on_step, on_note)
        check_model(config.model, config.data.window_size or config.data.subtile_size)
        machine = choose_machine(config)
        mode = None if run.is_trained else choose_mode(config.tracking)

        on_step("reading the store", 0, 0)
        store = open_store(config.data.processed_dir, config.data.subtile_size)
        config = config.resolved(store.subtile_size, store.channels)
        data = SubtileDataModule(config, store)
        label_tiles(data, run, others_dir, on_step, on_note)
        machine.check_windows(data.val_windows)
        task = SegmentationTask(config, data, run.path.name)
        run.check_data(task.metadata)
        data.take(task.model.grids)
        if run.progress is None:
            _start_from_weights(task, data, config.model, others_dir, on_step, on_note)
        if not run.is_trained and rank_zero_only.rank == 0:
            needs = check_needs(run, task, data, machine)
            if on_needs is not None:
                on_needs(needs)
        run.write_settings(config, data.fold)

        # Tracking ends last, so that nothing waits for Weights & Biases.
        tiles = len(data.train_tiles), len(data.val_tiles)
        with tracking(mode, run, config, task.metrics, data, on_note) as tracker, run.drawing_curves(*tiles):
            if not run.is_trained:
                _train(run, task, data, machine, tracker, on_epoch, on_step)
            if config.trainer.calibrate:
                on_step("choosing a temperature", 0, 0)
                calibrate_run(run, data, machine)
    if tracker is None:
        return run.result()
    return run.result(tracker.sync_command, tracker.url)


def _start_from_weights(
    task: SegmentationTask,
    data: SubtileDataModule,
    model: AnyModelConfig,
    checkpoints_dir: Path,
    on_step: ItemListener,
    on_note: NoteListener,
) -> None:
    """Load the weights that the settings name; warn if they were learned on tiles that score this run."""
    if not isinstance(model, NetworkSection):
        return
    if model.weights != "none":
        on_step("loading weights", 0, 0)
    seen = NetworkInput(data.channels, task.model.normalization, task.metadata.recipe)
    source, notes = load_starting_weights(task.model.network, model, seen, checkpoints_dir)
    if source is not None:
        notes = note_known_tiles(
            source,
            data.store,
            (*data.val_tiles, *data.held_out_tiles),
            learned=f"The weights of {source.run_name} were learned on",
            advice="Start from one on other tiles.",
        )
    for note in notes:
        if rank_zero_only.rank == 0:
            on_note(note)


def _train(
    run: RunFolder,
    task: SegmentationTask,
    data: SubtileDataModule,
    machine: Machine,
    tracker: WandbTracker | None,
    on_epoch: EpochListener | None,
    on_step: ItemListener,
) -> None:
    """Train the epochs that are left."""
    config = task.config
    with training_session(data):
        recorders = [History(run).append]
        callbacks: list[pl.Callback] = [StepProgress(on_step)]
        if tracker is not None:
            recorders.append(tracker.log_epoch)
            callbacks.append(tracker)
        epoch_end = EpochEnd(run, config.trainer, recorders, on_epoch, checkpoint_bytes(task))
        trainer = build_trainer(config, machine, [*callbacks, epoch_end])
        trainer.fit(task, datamodule=data, ckpt_path=run.resume_from, weights_only=True)
    if rank_zero_only.rank:
        raise SystemExit(0)


def measure_pace(config: ESDConfig, checkpoints_dir: Path) -> Pace:
    """Train a few steps in a folder that is thrown away, without tracking, to say how long a training takes.

    A model that is fitted in one go is fitted to a few tiles.

    Args:
        config: All settings.
        checkpoints_dir: Folder in which runs that they name are looked up.

    Raises:
        ESDSegError: The settings cannot be trained.
    """
    if isinstance(config.model, CellModelConfig):
        return Pace(measure_simple_fit(config), 1, has_epochs=False)
    tracking = config.tracking.model_copy(update={"wandb": "disabled"})
    config = config.model_copy(update={"tracking": tracking})
    times: list[float] = []
    steps = 1

    def on_step(_item: str, _done: int, total: int) -> None:
        nonlocal steps
        if not total:
            return
        times.append(time.monotonic())
        steps = total
        if len(times) > MEASURED_STEPS:
            raise StoppedRunError

    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StoppedRunError):
        fit(
            config,
            checkpoints_dir=Path(folder),
            named_runs_dir=checkpoints_dir,
            name="measured",
            on_step=on_step,
        )
    if len(times) < 2:
        return Pace(time.monotonic() - begun, 1, has_epochs=False)
    return Pace(times[-1] - times[-2], steps, has_epochs=True)
