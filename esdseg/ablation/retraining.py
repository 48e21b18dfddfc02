"""Training networks again without groups of channels, from a checkpoint's own settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from esdseg.ablation.removal import Removal
from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import AblationConfig
from esdseg.config.training import ABLATIONS_FOLDER, DataConfig, ESDConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.runs import (
    BEST_NAME,
    HISTORY_NAME,
    LAST_NAME,
    fold_run_name,
    folds_name,
)
from esdseg.prediction.sources import Ensemble, Sources
from esdseg.sensors.channels import (
    Channel,
    bands_of,
    describe_acquisitions,
    places_of,
    select_channels,
)
from esdseg.system.processes import ItemListener, ignore
from esdseg.training.callbacks import EpochListener
from esdseg.training.fit import fit, measure_pace
from esdseg.training.run_folder import RunProgress, read_progress

RunListener = Callable[[int, int, Path], None]
"""Called before each run is trained, with its number, how many are to be trained, and its folder."""

OF_THE_MACHINE = {"accelerator", "devices", "num_nodes"}
"""Settings of the section ``trainer`` that another machine may change."""


@dataclass(frozen=True)
class RetrainingRun:
    """One training without a group of channels.

    Attributes:
        ensemble: The checkpoint that has all channels, and the tiles that it is scored on.
        path: The run's folder.
        config: The run's settings.
        progress: How far the run is; ``None`` where it has not begun.
        window_size: Label cells along each side of the windows that it is to predict; as in training where
            ``None``.
    """

    ensemble: Ensemble
    path: Path
    config: ESDConfig
    progress: RunProgress | None
    window_size: int | None

    @property
    def checkpoints_dir(self) -> Path:
        """Folder of the runs, above ``ablations/NAME/RUN``."""
        return self.path.parents[2]

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.progress is not None and self.progress.is_finished(self.config)

    @property
    def epochs_left(self) -> int:
        """Epochs that the run may still take."""
        done = self.progress.epochs if self.progress else 0
        return 0 if self.is_finished else max(self.config.max_epochs - done, 0)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to compare: the last one where the network with all channels is a last one."""
        is_last = self.ensemble.checkpoint.path.name == LAST_NAME
        return self.path / (LAST_NAME if is_last else BEST_NAME)

    def train(self, on_epoch: EpochListener | None, on_step: ItemListener) -> None:
        """Train the run, or go on with it.

        Raises:
            KeyboardInterrupt: Interrupted; the next call goes on.
        """
        has_begun = self.progress is not None
        try:
            fit(
                # A run that goes on keeps its settings.
                ESDConfig() if has_begun else self.config,
                checkpoints_dir=self.path.parent,
                named_runs_dir=self.checkpoints_dir,
                name=self.path.name,
                resume=has_begun,
                on_epoch=on_epoch,
                on_step=on_step,
            )
        except KeyboardInterrupt:
            # Its advice speaks of `esdseg train`.
            raise KeyboardInterrupt from None

    def load(self) -> LoadedCheckpoint:
        """Load the run's checkpoint.

        Raises:
            InputDataError: The checkpoint cannot be read, or was trained on other tiles.
        """
        whole = self.ensemble.checkpoint
        loaded = open_checkpoint(self.checkpoint, self.window_size)
        mine, theirs = loaded.metadata, whole.metadata
        if (mine.train_tiles, mine.manifest_hash) != (theirs.train_tiles, theirs.manifest_hash):
            raise InputDataError(
                f"{loaded.path} was trained on other tiles than {whole.path}, so that they cannot be "
                f"compared; move {self.path} elsewhere to train it again."
            )
        return loaded


@dataclass(frozen=True)
class Retraining:
    """All trainings without one group of channels.

    Attributes:
        removal: The group.
        runs: One, or one a fold.
    """

    removal: Removal
    runs: tuple[RetrainingRun, ...]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path, or the pattern of the folds' paths."""
        first = self.runs[0]
        if len(self.runs) == 1:
            return first.checkpoint
        together = folds_name(first.path.name.rpartition("-fold")[0], len(self.runs))
        return first.path.with_name(together) / first.checkpoint.name


def can_be_retrained(removal: Removal, channels: Sequence[Channel]) -> bool:
    """Return whether a network of these channels can be trained without the group.

    A sensor alone is not asked for. Of the places only the last can be done without, since a network takes
    the first ones. A night cannot be taken out of projections that are stored already.
    """
    if removal.kind == "place":
        left = [channel for channel in channels if channel not in removal.effect.absent]
        own = [channel for channel in left if channel.sensor.name == removal.sensor]
        # A network takes the first places: what is left must be some of them, without projections.
        return all(channel.place for channel in own) and removal.place == places_of(channels)[removal.sensor]
    return removal.kind != "alone"


def plan_retrainings(
    sources: Sources, removals: Sequence[Removal], config: AblationConfig
) -> tuple[Retraining, ...]:
    """List what is to be trained, with how far each run is.

    Args:
        sources: The checkpoints with their tiles.
        removals: The groups to do without; those that cannot be are left out.
        config: Where runs and store lie.

    Raises:
        InputDataError: The store has changed since the checkpoint was trained, or a run cannot be read.
        UsageError: A run of that name has other settings.
    """
    for ensemble in sources.ensembles:
        checkpoint = ensemble.checkpoint
        if checkpoint.metadata.manifest_hash != sources.store.manifest_hash:
            raise InputDataError(
                f"--retrain: {sources.store.path} is not the store that {checkpoint.path} was trained on, or "
                "has changed since, so that a network trained on it now would differ by more than its "
                "channels; name that store with --processed-dir, or train on this one."
            )
    channels = sources.ensembles[0].checkpoint.channels
    # Of groups of the same channels the first stands for all.
    distinct = {
        removal.effect: removal for removal in reversed(removals) if can_be_retrained(removal, channels)
    }
    return tuple(
        Retraining(
            removal, tuple(_plan_run(ensemble, removal, sources, config) for ensemble in sources.ensembles)
        )
        for removal in removals
        if removal in distinct.values()
    )


def _plan_run(
    ensemble: Ensemble, removal: Removal, sources: Sources, config: AblationConfig
) -> RetrainingRun:
    settings = settings_without(ensemble.checkpoint, removal, sources.store.channels, config)
    name = f"without-{removal.label.replace(' ', '-')}"
    if len(sources.ensembles) > 1:
        name = fold_run_name(name, settings.folds.number, settings.folds.count)
    path = config.checkpoints_dir / ABLATIONS_FOLDER / sources.name / name
    progress = read_progress(path)
    if progress is not None:
        _check_settings(progress.metadata.config, settings, path)
    elif any((path / kept).exists() for kept in (BEST_NAME, HISTORY_NAME)):
        raise InputDataError(
            f"The run {path} lacks its {LAST_NAME}; move the folder elsewhere to train it again."
        )
    return RetrainingRun(ensemble, path, settings, progress, config.window_size)


def settings_without(
    checkpoint: LoadedCheckpoint, removal: Removal, stored: Sequence[Channel], config: AblationConfig
) -> ESDConfig:
    """Return a checkpoint's settings without a group of channels, on one device.

    Args:
        checkpoint: Whose settings; its seed, folds and all else stay.
        removal: The group.
        stored: The store's channels.
        config: Where the store lies, and what to compute on.
    """
    own = checkpoint.config
    kept = tuple(channel for channel in checkpoint.channels if channel not in removal.effect.absent)
    data = DataConfig.model_validate(
        {
            **own.data.model_dump(),
            "processed_dir": config.processed_dir,
            "selected_bands": bands_of(kept),
            "acquisitions": describe_acquisitions(kept),
        }
    )
    assert select_channels(stored, data.selected_bands, data.acquisitions) == kept
    trainer: dict[str, object] = {"devices": 1, "num_nodes": 1}
    if config.accelerator != "auto":
        trainer["accelerator"] = config.accelerator
    group = own.tracking.group or f"ablate-{checkpoint.run_name}"
    return own.model_copy(
        update={
            "data": data,
            "trainer": own.trainer.model_copy(update=trainer),
            "tracking": own.tracking.model_copy(update={"group": group}),
        }
    )


def _check_settings(kept: ESDConfig, wanted: ESDConfig, path: Path) -> None:
    """Refuse a run that lies there already and has other settings (``UsageError``)."""
    before = _comparable(kept)
    differing = [
        f"{section}.{key}"
        for section, values in _comparable(wanted).items()
        for key, value in values.items()
        if before[section].get(key) != value
    ]
    if differing:
        raise UsageError(
            f"The run {path} was trained with other settings ({', '.join(differing)}) than the checkpoint "
            "has; move the folder elsewhere to train it again."
        )


def _comparable(config: ESDConfig) -> dict[str, dict[str, JsonValue]]:
    return config.model_dump(
        mode="json",
        exclude={
            "tracking": True,
            "data": {"processed_dir", "num_workers", "cache"},
            "trainer": OF_THE_MACHINE,
        },
    )


def runs_to_train(retrainings: Sequence[Retraining]) -> tuple[RetrainingRun, ...]:
    """Return the runs that are not finished."""
    return tuple(run for retraining in retrainings for run in retraining.runs if not run.is_finished)


def estimate_seconds(runs: Sequence[RetrainingRun]) -> float:
    """Return how long trainings will take at most, early stopping aside, by a few steps of the first.

    Args:
        runs: What is to be trained, at least one.

    Raises:
        ESDSegError: The first cannot be trained.
    """
    pace = measure_pace(runs[0].config, runs[0].checkpoints_dir)
    return sum(pace.seconds(run.epochs_left) for run in runs)


def train_runs(
    runs: Sequence[RetrainingRun],
    on_run: RunListener | None = None,
    on_epoch: EpochListener | None = None,
    on_step: ItemListener = ignore,
) -> None:
    """Train runs one after the other.

    Args:
        runs: Those that are not finished.
        on_run: Called before each run.
        on_epoch: Called after each epoch.
        on_step: Called after each training step.

    Raises:
        ESDSegError: A run cannot be trained.
        KeyboardInterrupt: Interrupted; what is finished is kept.
    """
    for number, run in enumerate(runs, start=1):
        if on_run is not None:
            on_run(number, len(runs), run.path)
        run.train(on_epoch, on_step)
