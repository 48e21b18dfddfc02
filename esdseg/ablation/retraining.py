"""Training again without a group of channels, from a checkpoint's own settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from esdseg.ablation.removals import Removal
from esdseg.channels import Channel, select_channels
from esdseg.config import ESDConfig
from esdseg.config.ablation import AblationConfig
from esdseg.config.training import ABLATIONS_FOLDER, DataConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.evaluation.parts import Part, Scored
from esdseg.models import (
    BEST_NAME,
    HISTORY_NAME,
    LAST_NAME,
    LoadedCheckpoint,
    fold_run_name,
    folds_name,
    load_checkpoint,
)
from esdseg.training import fit
from esdseg.training.epoch_end import EpochListener
from esdseg.training.run_folder import Standing, read_standing
from esdseg.training.step_progress import StepListener

RunListener = Callable[[int, int, Path], None]
"""Told of each run that is about to be trained: its number, how many are to be trained, and its folder."""

OF_THE_MACHINE = {"accelerator", "devices", "num_nodes"}
"""Settings of the section ``trainer`` that another machine may change."""


@dataclass(frozen=True)
class Run:
    """One training without a group of channels.

    Attributes:
        part: The checkpoint that had all channels, and the tiles that it is scored on.
        path: The run's folder.
        config: Its settings.
        standing: Where it stands, where it has begun.
        window_size: Label cells along each side of the windows that it is to predict; as in training where
            ``None``.
    """

    part: Part
    path: Path
    config: ESDConfig
    standing: Standing | None
    window_size: int | None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.standing is not None and self.standing.is_finished(self.config)

    @property
    def epochs_left(self) -> int:
        """Epochs that it may still take."""
        done = self.standing.epochs_done if self.standing else 0
        return 0 if self.is_finished else max(self.config.trainer.max_epochs - done, 0)

    def train(self, on_epoch: EpochListener | None, on_step: StepListener | None) -> None:
        """Train it, or go on with it."""
        begun = self.standing is not None
        fit(
            # A run that goes on keeps its settings.
            ESDConfig() if begun else self.config,
            checkpoints_dir=self.path.parent,
            name=self.path.name,
            resume=begun,
            on_epoch=on_epoch,
            on_step=on_step,
        )

    def load(self) -> LoadedCheckpoint:
        """Load its checkpoint: the last one where that is what it is compared with, else the best.

        Raises:
            InputDataError: It cannot be read, or was trained on other tiles.
        """
        whole = self.part.inputs.checkpoint
        name = LAST_NAME if whole.path.name == LAST_NAME else BEST_NAME
        loaded = load_checkpoint(self.path / name, self.window_size)
        mine, theirs = loaded.metadata, whole.metadata
        if (mine.train_tiles, mine.manifest_hash) != (theirs.train_tiles, theirs.manifest_hash):
            raise InputDataError(
                f"{loaded.path} was trained on other tiles than {whole.path}, so that they cannot be "
                f"compared; remove {self.path} to train it again."
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
    runs: tuple[Run, ...]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path, or the pattern of the folds' paths."""
        first = self.runs[0]
        name = LAST_NAME if first.part.inputs.checkpoint.path.name == LAST_NAME else BEST_NAME
        if len(self.runs) == 1:
            return first.path / name
        together = folds_name(first.path.name.rpartition("-fold")[0], len(self.runs))
        return first.path.with_name(together) / name


def can_be_retrained(removal: Removal) -> bool:
    """Say whether a network can be trained without the group.

    A sensor alone is not asked for. A night cannot be taken out of projections that are stored already.
    """
    return removal.kind != "alone" and removal.effect.nights is None


def plan_retrainings(
    scored: Scored, removals: Sequence[Removal], config: AblationConfig
) -> tuple[Retraining, ...]:
    """Say what is to be trained, and where each run stands.

    Args:
        scored: The checkpoints with their tiles.
        removals: The groups to do without; those that cannot be are left out.
        config: Where runs and store lie.

    Raises:
        InputDataError: The store has changed since the checkpoint was trained, or a run cannot be read.
        UsageError: A run of that name has other settings.
    """
    for part in scored.parts:
        checkpoint = part.inputs.checkpoint
        if checkpoint.metadata.manifest_hash != scored.store.manifest_hash:
            raise InputDataError(
                f"--retrain: {scored.store.path} is not the store that {checkpoint.path} was trained on, or "
                "has changed since, so that a network trained on it now would differ by more than its "
                "channels; name that store with --processed-dir, or train on this one."
            )
    folder = config.checkpoints_dir / ABLATIONS_FOLDER / scored.run_name
    # Of groups of the same channels the first stands for all.
    distinct = {removal.effect: removal for removal in reversed(removals) if can_be_retrained(removal)}
    return tuple(
        Retraining(removal, tuple(_run(part, removal, folder, scored, config) for part in scored.parts))
        for removal in removals
        if removal in distinct.values()
    )


def _run(part: Part, removal: Removal, folder: Path, scored: Scored, config: AblationConfig) -> Run:
    settings = settings_without(part.inputs.checkpoint, removal, scored.store.channels, config)
    name = f"without-{removal.label.replace(' ', '-')}"
    if len(scored.parts) > 1:
        name = fold_run_name(name, settings.folds.number, settings.folds.count)
    path = folder / name
    standing = read_standing(path / LAST_NAME) if (path / LAST_NAME).is_file() else None
    if standing is not None:
        _check_settings(standing.metadata.config, settings, path)
    elif any((path / kept).exists() for kept in (BEST_NAME, HISTORY_NAME)):
        raise InputDataError(f"The run {path} lacks its {LAST_NAME}; remove the folder to train it again.")
    return Run(part, path, settings, standing, config.window_size)


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
    bands = {
        sensor: tuple(dict.fromkeys(channel.band for channel in kept if channel.sensor == sensor))
        for sensor in dict.fromkeys(channel.sensor for channel in kept)
    }
    dates = {
        sensor: days
        for sensor in bands
        if (days := tuple(sorted({c.acquired for c in kept if c.sensor == sensor and c.acquired})))
    }
    data = DataConfig.model_validate(
        {
            **own.data.model_dump(),
            "processed_dir": config.processed_dir,
            "selected_bands": bands,
            "selected_dates": dates,
        }
    )
    assert select_channels(stored, data.selected_bands, data.selected_dates) == kept
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
    differing = [
        f"{section}.{key}"
        for section, values in _comparable(wanted).items()
        for key, value in values.items()
        if _comparable(kept)[section].get(key) != value
    ]
    if differing:
        raise UsageError(
            f"The run {path} was trained with other settings ({', '.join(differing)}) than the checkpoint "
            "has; remove the folder to train it again, or move it away."
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
