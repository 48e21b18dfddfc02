"""A run's folder: its name, what may already lie in it, and what a resumption keeps."""

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from esdseg.config.loading import dump_config
from esdseg.config.training import ABLATIONS_FOLDER, SWEEPS_FOLDER, ESDConfig, FoldsConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import METADATA_KEY, CheckpointMetadata, read_metadata
from esdseg.models.checkpoint_lookup import BEST_NAME, LAST_NAME, fold_run_name
from esdseg.models.registry import is_fitted
from esdseg.models.tensor_file import read_torch_file
from esdseg.report.training_curves import CURVES_NAME
from esdseg.store.folds import Fold
from esdseg.system.files import naming_write_faults, part_path, put_in_place, write_text
from esdseg.system.locks import clear_leftovers, exclusive_writer


@dataclass(frozen=True)
class FitResult:
    """A finished run.

    Attributes:
        run_dir: Its folder.
        best_checkpoint: The checkpoint with the best monitored metric.
        last_checkpoint: The one of the last epoch.
        best_epoch: The best epoch's number, counted from 1.
        best_metrics: Its validation metrics by name; NaN where a score is undefined.
        epochs: Epochs trained, those before a resumption included.
        sync_command: What uploads the run to Weights & Biases later, where it was logged offline.
    """

    run_dir: Path
    best_checkpoint: Path
    last_checkpoint: Path
    best_epoch: int
    best_metrics: Mapping[str, float]
    epochs: int
    sync_command: str | None

    def to_json(self) -> dict[str, object]:
        """Return the result as plain JSON types; an undefined score is ``None``."""
        return {
            "run": str(self.run_dir),
            "best_checkpoint": str(self.best_checkpoint),
            "last_checkpoint": str(self.last_checkpoint),
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "metrics": {
                name: value if math.isfinite(value) else None for name, value in self.best_metrics.items()
            },
            "wandb_sync_command": self.sync_command,
        }


CONFIG_NAME = "config.yml"
FOLD_NAME = "fold.json"

_ELSEWHERE = "choose another --name"


@dataclass(frozen=True)
class RunFolder:
    """Where a run is kept and where it stands.

    Attributes:
        path: Its folder.
        config: Its settings.
        resumed: The checkpoint's description that it goes on from, or ``None`` for a new run.
        epochs_done: Epochs behind that checkpoint.
        is_trained: Whether nothing is left to do but to calibrate it and to draw its curves.
    """

    path: Path
    config: ESDConfig
    resumed: CheckpointMetadata | None = None
    epochs_done: int = 0
    is_trained: bool = False

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint with the best monitored metric."""
        return self.path / BEST_NAME

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.path / LAST_NAME

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes from training into the folder while the block runs.

        Raises:
            InputDataError: Another process does, or the folder cannot be written.
            UsageError: Another process has gone on with the run since this one looked at it.
        """
        with exclusive_writer(self.path, _ELSEWHERE):
            last = self.last_checkpoint
            if (read_standing(last).epochs_done if last.is_file() else 0) != self.epochs_done:
                raise UsageError(
                    f"Another process has trained {self.path} meanwhile; go on with it by --resume, or "
                    "choose another --name."
                )
            yield

    def how_to_go_on(self) -> str:
        """Say what to do after an interruption."""
        if not self.last_checkpoint.is_file() or is_fitted(self.config.model):
            return f"{self.path} has no finished epoch yet; the same command starts it again."
        command = f"esdseg train --resume --name {self.path.name}"
        if self.path.parent != Path("checkpoints"):
            command += f" --checkpoints-dir {self.path.parent}"
        return f"Finished epochs are kept; go on with `{command}`."

    def write_config(self, config: ESDConfig) -> None:
        """Make the folder and write the settings into it.

        Raises:
            InputDataError: The folder cannot be written.
            MissingResourceError: There is no space left.
        """
        with naming_write_faults(self.path, advice="Or choose another folder with --checkpoints-dir."):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / CONFIG_NAME, dump_config(config))

    def write_fold(self, config: FoldsConfig, fold: Fold) -> None:
        """Write down which tiles the run trains on, chooses its epoch on, and holds out."""
        content = {**config.model_dump(mode="json"), **dataclasses.asdict(fold)}
        write_text(self.path / FOLD_NAME, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def new_run(config: ESDConfig, checkpoints_dir: Path, name: str | None, now: datetime) -> RunFolder:
    """Choose the folder of a new run.

    Args:
        config: Its settings.
        checkpoints_dir: Folder of the runs.
        name: The run's name; MODEL-DATE-TIME unless given.
        now: The time that is part of the name.

    Raises:
        UsageError: The name cannot be a folder's, or a run has it.
    """
    if name is None:
        wanted = f"{config.model.folder_name}-{now:%Y%m%d-%H%M%S}"
        if config.folds.fold is not None:
            wanted = fold_run_name(wanted, config.folds.number, config.folds.count)
        taken = len(list(checkpoints_dir.glob(f"{wanted}*")))
        return RunFolder(checkpoints_dir / (f"{wanted}-{taken + 1}" if taken else wanted), config)
    if not re.fullmatch(r"\w[\w.+=-]*", name) or name in (SWEEPS_FOLDER, ABLATIONS_FOLDER):
        raise UsageError(
            f"--name {name}: a run's name is made of letters, digits, '-', '_', '.', '+' and '=', starts "
            f"with a letter or digit, and is not '{SWEEPS_FOLDER}' or '{ABLATIONS_FOLDER}'."
        )
    run = RunFolder(checkpoints_dir / name, config)
    # Settings, and a history without a checkpoint, are left from a run that ended before its first epoch.
    if any((run.path / kept).exists() for kept in (BEST_NAME, LAST_NAME)):
        raise UsageError(f"The run {run.path} exists; go on with it by --resume, or choose another --name.")
    return run


def resumed_run(config: ESDConfig, checkpoints_dir: Path, name: str | None) -> RunFolder:
    """Find the run to go on with, and its settings.

    Args:
        config: The settings that were asked for; only those that were given explicitly count.
        checkpoints_dir: Folder of the runs.
        name: The run's name; unless given, the newest run, of the model that was asked for if one was.

    Raises:
        InputDataError: There is no such run, its last checkpoint cannot be read, or another process is just
            finishing it.
        UsageError: Settings were given that differ from the run's, or the run is finished.
    """
    path = checkpoints_dir / name if name is not None else _newest_run(config, checkpoints_dir)
    last = path / LAST_NAME
    complete_first_epoch(path)
    if not last.is_file():
        raise InputDataError(
            f"There is no run to resume at {path}: it has no {LAST_NAME}. Start it without --resume."
        )
    standing = read_standing(last)
    kept = merge_settings(standing.metadata.config, config, path / CONFIG_NAME)
    is_trained = standing.is_trained(kept)
    # The curves are drawn last of all.
    if standing.is_finished(kept) and (path / CURVES_NAME).is_file():
        clear_leftovers(path, _ELSEWHERE)
        raise UsageError(f"The run {path} is finished: {_describe_end(standing, kept)}")
    return RunFolder(path, kept, standing.metadata, standing.epochs_done, is_trained)


def complete_first_epoch(path: Path) -> None:
    """Write the last checkpoint of a run that was ended after it wrote the best one of its first epoch.

    They are the same. After later epochs an older last one is there, which the run goes on from.
    """
    best, last = path / BEST_NAME, path / LAST_NAME
    if best.is_file() and not last.exists():
        with naming_write_faults(last, part_path(last)):
            shutil.copyfile(best, part_path(last))
            put_in_place(last)


@dataclass(frozen=True)
class Standing:
    """Where a run stands, as its last checkpoint says.

    Attributes:
        metadata: The checkpoint's description.
        epochs_done: Epochs behind it.
        stopped_early: Whether it will not go on, for want of progress.
        callbacks: What the training's callbacks keep there, by their names.
    """

    metadata: CheckpointMetadata
    epochs_done: int
    stopped_early: bool
    callbacks: Mapping[str, Mapping[str, Any]]

    def is_trained(self, config: ESDConfig) -> bool:
        """Say whether the run has all the epochs that its settings allow."""
        return is_fitted(config.model) or self.stopped_early or self.epochs_done >= config.trainer.max_epochs

    def is_finished(self, config: ESDConfig) -> bool:
        """Say whether nothing is left to do, calibration included."""
        return self.is_trained(config) and (self.metadata.is_calibrated or not config.trainer.calibrate)


def _describe_end(standing: Standing, config: ESDConfig) -> str:
    if is_fitted(config.model):
        return (
            f"a {config.model.name} is fitted in one go. For other settings start a new run under another "
            "--name."
        )
    if standing.stopped_early:
        return (
            f"it stopped early after epoch {standing.epochs_done}, having gone {config.trainer.patience} "
            "epochs without progress. For more, start a new run with a larger --set trainer.patience=N."
        )
    return (
        f"it has trained {standing.epochs_done} epochs. To go on, raise --max-epochs above "
        f"{standing.epochs_done}."
    )


def read_standing(last: Path) -> Standing:
    """Read where a run stands from its last checkpoint.

    Raises:
        InputDataError: It cannot be read, or was not written by a run.
    """
    content: Any = read_torch_file(last, "checkpoint")
    metadata = read_metadata(content, last)
    try:
        return Standing(
            metadata=metadata,
            epochs_done=int(content["epoch"]) + 1,
            stopped_early=any(state.get("stopped_epoch") for state in content["callbacks"].values()),
            callbacks=content["callbacks"],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputDataError(
            f"{last}: is no checkpoint that a run can go on from ({error}); train anew under another --name."
        ) from None


def _newest_run(config: ESDConfig, checkpoints_dir: Path) -> Path:
    """Return the folder whose last checkpoint is the newest."""
    model = config.model.name if "model" in config.model_fields_set else None
    found = sorted(
        checkpoints_dir.glob(f"*/{LAST_NAME}"), key=lambda path: (path.stat().st_mtime_ns, path), reverse=True
    )
    for last in found:
        if model is None or _model_of(last) == model:
            return last.parent
    kind = f" of {model}" if model else ""
    raise InputDataError(f"There is no run{kind} to resume in {checkpoints_dir}; start one without --resume.")


def _model_of(checkpoint: Path) -> str | None:
    """Return the name of a checkpoint's model, or ``None`` where the file does not say."""
    try:
        content: Any = read_torch_file(checkpoint, "checkpoint")
        return str(content[METADATA_KEY]["config"]["model"]["name"])
    except (InputDataError, KeyError, TypeError):
        return None


CHANGEABLE_ON_RESUME = ("max_epochs", "calibrate")
"""Settings of the section ``trainer`` that a resumption may change."""


def merge_settings(kept: ESDConfig, asked: ESDConfig, path: Path) -> ESDConfig:
    """Return the kept settings with the changes that are allowed.

    Args:
        kept: The run's settings.
        asked: Those that were asked for; only what was given explicitly counts.
        path: The file that holds the run's, for messages.

    Raises:
        UsageError: Others are to change; they are named.
    """
    differing = []
    for key, value in _given(asked):
        held = _held(kept, key)
        section, _, setting = key.rpartition(".")
        is_changeable = section == "trainer" and setting in CHANGEABLE_ON_RESUME
        if held != value and not is_changeable:
            differing.append(f"{key} is {held}, not {value}")
    if differing:
        raise UsageError(
            f"--resume goes on with the settings in {path}, and these were asked for "
            f"differently: {'; '.join(differing)}. Leave them out, or start a new run under another --name."
        )
    given = asked.trainer.model_fields_set.intersection(CHANGEABLE_ON_RESUME)
    trainer = kept.trainer.model_copy(update={name: getattr(asked.trainer, name) for name in given})
    return kept.model_copy(update={"trainer": trainer})


def _given(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of every setting that was given rather than left at its default."""
    for name in type(section).model_fields:
        if name in section.model_fields_set:
            value = getattr(section, name)
            if isinstance(value, BaseModel):
                yield from _given(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value


def _held(section: BaseModel, key: str) -> Any:
    value: Any = section
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
