"""A run's folder: its name, what may already lie in it, and what a resumption keeps."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from esdseg.config import ESDConfig, dump_config
from esdseg.config.folds import FoldsConfig
from esdseg.config.training import ABLATIONS_FOLDER, SWEEPS_FOLDER
from esdseg.errors import InputDataError, UsageError
from esdseg.files import write_text
from esdseg.models import (
    BEST_NAME,
    HISTORY_NAME,
    LAST_NAME,
    METADATA_KEY,
    CheckpointMetadata,
    fold_run_name,
    is_fitted,
    read_metadata,
)
from esdseg.models.torch_file import read_torch_file
from esdseg.store import Fold

CONFIG_NAME = "config.yml"
FOLD_NAME = "fold.json"
CHANGEABLE_ON_RESUME = ("max_epochs", "calibrate")
"""Settings of the section ``trainer`` that a resumption may change."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run is kept and where it stands.

    Attributes:
        path: Its folder.
        config: Its settings.
        resumed: The checkpoint's description that it goes on from, or ``None`` for a new run.
        epochs_done: Epochs behind that checkpoint.
        is_trained: Whether nothing is left to do but to calibrate it.
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

    def write_config(self, config: ESDConfig) -> None:
        """Make the folder and write the settings into it.

        Raises:
            InputDataError: The folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / CONFIG_NAME, dump_config(config))
        except OSError as error:
            raise InputDataError(
                f"The run's folder {self.path} cannot be written: {error.strerror}."
            ) from None

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
    # A folder with settings alone is left from a run that failed before its first epoch was done.
    if any((run.path / kept).exists() for kept in (BEST_NAME, LAST_NAME, HISTORY_NAME)):
        raise UsageError(f"The run {run.path} exists; go on with it by --resume, or choose another --name.")
    return run


def resumed_run(config: ESDConfig, checkpoints_dir: Path, name: str | None) -> RunFolder:
    """Find the run to go on with, and its settings.

    Args:
        config: The settings that were asked for; only those that were given explicitly count.
        checkpoints_dir: Folder of the runs.
        name: The run's name; unless given, the newest run, of the model that was asked for if one was.

    Raises:
        InputDataError: There is no such run, or its last checkpoint cannot be read.
        UsageError: Settings were given that differ from the run's, or the run is finished.
    """
    path = checkpoints_dir / name if name is not None else _newest_run(config, checkpoints_dir)
    last = path / LAST_NAME
    if not last.is_file():
        raise InputDataError(
            f"There is no run to resume at {path}: it has no {LAST_NAME}. Start it without --resume."
        )
    standing = read_standing(last)
    kept = merge_settings(standing.metadata.config, config, path)
    is_trained = standing.is_trained(kept)
    if standing.is_finished(kept):
        raise UsageError(f"The run {path} is finished: {_describe_end(standing, kept)}")
    return RunFolder(path, kept, standing.metadata, standing.epochs_done, is_trained)


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


def merge_settings(kept: ESDConfig, asked: ESDConfig, path: Path) -> ESDConfig:
    """Return the kept settings with the changes that are allowed; refuse all others by name."""
    differing = []
    for key, value in _given(asked):
        held = _held(kept, key)
        section, _, setting = key.rpartition(".")
        is_changeable = section == "trainer" and setting in CHANGEABLE_ON_RESUME
        if held != value and not is_changeable:
            differing.append(f"{key} is {held}, not {value}")
    if differing:
        raise UsageError(
            f"--resume goes on with the settings in {path / CONFIG_NAME}, and these were asked for "
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
