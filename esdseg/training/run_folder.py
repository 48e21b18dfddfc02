"""A run's folder: its name, its lock, resuming it, the settings it keeps, and what came out."""

import dataclasses
import itertools
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pytorch_lightning.utilities import rank_zero_only

from esdseg.config.loading import dump_config
from esdseg.config.models import CellModelConfig
from esdseg.config.training import MONITORED_METRICS, PLACE_SETTINGS, ESDConfig
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.models.checkpoint import METADATA_KEY, CheckpointMetadata, read_metadata
from esdseg.models.runs import (
    BEST_NAME,
    HISTORY_NAME,
    LAST_NAME,
    check_name,
    check_new,
    fold_run_name,
    has_checkpoint,
    read_history,
)
from esdseg.models.tensor_file import read_torch_file
from esdseg.report.training_curves import CURVES_NAME, describe_training, write_curves
from esdseg.store.folds import Fold
from esdseg.system.files import naming_write_faults, part_path, put_in_place, write_text
from esdseg.system.locks import exclusive_writer

CONFIG_NAME = "config.yml"
FOLD_NAME = "fold.json"
WANDB_ID_NAME = "wandb-run-id.txt"
"""Keeps the run's identity at Weights & Biases, so that a resumption goes on with it."""

BEST_EPOCH_STATE = "EpochEnd"
"""Where a checkpoint keeps the epoch of ``best.ckpt`` and its metrics, among the states of callbacks."""

CHANGEABLE_ON_RESUME = (
    "trainer.max_epochs",
    "trainer.calibrate",
    *(name for name in PLACE_SETTINGS if name != "data.processed_dir"),
)
"""Settings that a resumption may change. The store stays, since a run goes on with the data it began with."""

_DATA_OF_A_RUN = {
    "sensors": "description of sensors",
    "channels": "channels",
    "acquisitions": "order of acquisitions",
    "train_tiles": "training tiles",
    "val_tiles": "validation tiles",
    "held_out_tiles": "held-out tiles",
    "recipe": "recipe",
    "manifest_hash": "manifest",
}
"""What a checkpoint says of the data that it was trained on, with the words for it."""


@dataclass(frozen=True)
class FitResult:
    """A finished run.

    Attributes:
        run_dir: The run's folder.
        best_epoch: Number of the epoch that ``best.ckpt`` holds, counted from 1: the one with the best
            monitored metric, or the last where none is monitored.
        best_metrics: Validation metrics of that epoch by name; NaN where a score is undefined.
        epochs: Epochs trained, those before a resumption included.
        processed_dir: Folder of the processed store that it was trained on.
        sync_command: Uploads what Weights & Biases lacks of the run, such as one that was logged offline.
        wandb_url: The run's address at Weights & Biases, where it was logged online.
    """

    run_dir: Path
    best_epoch: int
    best_metrics: Mapping[str, float]
    epochs: int
    processed_dir: Path
    sync_command: str | None = None
    wandb_url: str | None = None

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint to use: of the epoch with the best monitored metric, or of the last."""
        return self.run_dir / BEST_NAME

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.run_dir / LAST_NAME

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
            "wandb_url": self.wandb_url,
            "wandb_sync_command": self.sync_command,
        }


@dataclass(frozen=True)
class RunProgress:
    """How far a run is, as its last checkpoint says.

    Attributes:
        metadata: The checkpoint's description.
        epochs: Finished epochs.
        stopped_early: Whether early stopping ended the training.
        best_epoch: Number of the epoch that ``best.ckpt`` holds, counted from 1.
        best_metrics: All metrics of that epoch by name.
    """

    metadata: CheckpointMetadata
    epochs: int
    stopped_early: bool
    best_epoch: int
    best_metrics: Mapping[str, float]

    def is_trained(self, config: ESDConfig) -> bool:
        """Return whether the run has all the epochs that its settings allow."""
        is_fitted = isinstance(config.model, CellModelConfig)
        return is_fitted or self.stopped_early or self.epochs >= config.max_epochs

    def is_calibrated(self, config: ESDConfig) -> bool:
        """Return whether the run is calibrated, or its settings ask for no calibration."""
        return self.metadata.is_calibrated or not config.trainer.calibrate

    def is_finished(self, config: ESDConfig) -> bool:
        """Return whether nothing is left to train or to calibrate."""
        return self.is_trained(config) and self.is_calibrated(config)

    def result(
        self, run_dir: Path, sync_command: str | None = None, wandb_url: str | None = None
    ) -> FitResult:
        """Return the run's result."""
        metrics = {name: self.best_metrics[name] for name in MONITORED_METRICS if name != "train_loss"}
        processed_dir = self.metadata.config.data.processed_dir
        return FitResult(
            run_dir, self.best_epoch, metrics, self.epochs, processed_dir, sync_command, wandb_url
        )

    def how_it_ended(self, config: ESDConfig) -> str:
        """Return in words why a trained run cannot go on, and what to do."""
        if isinstance(config.model, CellModelConfig):
            return (
                f"a {config.model.name} is fitted in one go. For other settings start a new run under "
                "another --name."
            )
        if self.stopped_early:
            return (
                f"it stopped early after epoch {self.epochs}, having gone {config.trainer.patience} epochs "
                "without progress. For more, start a new run with a larger --set trainer.patience=N."
            )
        return f"it has trained {self.epochs} epochs. To go on, raise --max-epochs above {self.epochs}."


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run that is being trained.

    Attributes:
        path: The folder.
        config: The run's settings.
        progress: Of the checkpoint that the run goes on from; ``None`` for a new run.
    """

    path: Path
    config: ESDConfig
    progress: RunProgress | None = None

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint to use: of the epoch with the best monitored metric, or of the last."""
        return self.path / BEST_NAME

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.path / LAST_NAME

    @property
    def resume_from(self) -> Path | None:
        """The checkpoint that training goes on from."""
        return self.last_checkpoint if self.progress is not None else None

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left to train."""
        return self.progress is not None and self.progress.is_trained(self.config)

    def check_data(self, metadata: CheckpointMetadata) -> None:
        """Refuse to go on with a run on other data than it began with.

        Args:
            metadata: What a checkpoint of the resumed run would say of itself.

        Raises:
            InputDataError: Tiles, split, channels or recipe are not those of the run.
        """
        if self.progress is None:
            return
        begun = self.progress.metadata
        changed = [
            words
            for field, words in _DATA_OF_A_RUN.items()
            if getattr(metadata, field) != getattr(begun, field)
        ]
        if changed:
            raise InputDataError(
                f"{metadata.config.data.processed_dir} has changed since the run {self.path} began (its "
                f"{', '.join(changed)}); write it as it was with `esdseg preprocess`, or start a new run "
                "without --resume."
            )

    def write_settings(self, config: ESDConfig, fold: Fold | None) -> None:
        """Write ``config.yml``, and for a fold ``fold.json`` with its tiles.

        Raises:
            InputDataError: The folder cannot be written.
            MissingResourceError: There is no space left.
        """
        if rank_zero_only.rank:
            return
        write_text(self.path / CONFIG_NAME, dump_config(config))
        if fold is not None:
            content = {**config.folds.model_dump(mode="json"), **dataclasses.asdict(fold)}
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            write_text(self.path / FOLD_NAME, text)

    def how_to_go_on(self) -> str:
        """Return what to do after an interruption."""
        if not self.last_checkpoint.is_file() or isinstance(self.config.model, CellModelConfig):
            return f"{self.path} has no finished epoch yet; the same command starts it again."
        command = f"esdseg train --resume --name {self.path.name}"
        if self.path.parent != Path("checkpoints"):
            command += f" --checkpoints-dir {self.path.parent}"
        return f"Finished epochs are kept; go on with `{command}`."

    @contextmanager
    def drawing_curves(self, train_tiles: int, val_tiles: int) -> Iterator[None]:
        """Draw ``curves.png`` when the block ends, however it ends.

        The picture is the last file that a run writes, so that a trained run with it is a finished one.

        Args:
            train_tiles: How many tiles the run is trained on.
            val_tiles: How many choose its epoch.
        """
        title = describe_training(self.path.name, train_tiles, val_tiles)
        if rank_zero_only.rank:
            yield
            return
        (self.path / CURVES_NAME).unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            # What ended the training matters more than that there is no room for its picture.
            with suppress(MissingResourceError):
                self._draw_curves(title)
            raise
        self._draw_curves(title)

    def _draw_curves(self, title: str) -> None:
        rows = read_history(self.path / HISTORY_NAME)
        if not rows:
            return
        best_epoch = self._best_epoch(rows)
        write_curves(self.path / CURVES_NAME, rows, best_epoch, title, self.config.loss)

    def _best_epoch(self, rows: Sequence[Mapping[str, float]]) -> int | None:
        monitor = self.config.trainer.monitor
        if monitor is None:
            return None
        scored = [row for row in rows if not math.isnan(row[monitor])]
        choose = min if self.config.trainer.monitor_mode == "min" else max
        best = choose(scored, key=lambda row: row[monitor], default=None)
        return int(best["epoch"]) if best is not None else None

    def result(self, sync_command: str | None = None, wandb_url: str | None = None) -> FitResult:
        """Return what the finished run gave."""
        progress = read_progress(self.path)
        assert progress is not None, "a finished run has a checkpoint"
        return progress.result(self.path, sync_command, wandb_url)


@contextmanager
def open_run(config: ESDConfig, checkpoints_dir: Path, name: str | None, resume: bool) -> Iterator[RunFolder]:
    """Choose or find a run's folder, and keep other processes from writing to it while the block runs.

    The folder is removed again where the block fails before anything was written to it. Of several processes
    that train one run the first holds the folder; the others write nothing.

    Args:
        config: The settings. With ``resume`` only explicit ones count, and those must be the run's or in
            ``CHANGEABLE_ON_RESUME``.
        checkpoints_dir: Folder of the runs.
        name: The run's name. By default a new run is called MODEL-DATE-TIME, and the newest run is resumed,
            of the model that was asked for if one was.
        resume: Go on with a run rather than start one.

    Raises:
        InputDataError: There is no run to resume, its checkpoint cannot be read, or another process holds the
            folder.
        UsageError: The name cannot be a folder's or is taken, the run is finished, or settings differ from
            its own.
        KeyboardInterrupt: The block was interrupted; the message says how to go on.
    """
    if name is not None:
        check_name(name)
    made = [folder for folder in (checkpoints_dir, *checkpoints_dir.parents) if not folder.exists()]
    if resume:
        path = checkpoints_dir / name if name is not None else _newest_run(config, checkpoints_dir)
        if not has_checkpoint(path):
            raise InputDataError(
                f"There is no run to resume at {path}: it has no {LAST_NAME}. Start it without --resume."
            )
    else:
        suffix = fold_run_name("", config.folds.number, config.folds.count) if config.folds.fold else ""
        path = checkpoints_dir / (name or claim_name(config, checkpoints_dir, [suffix]) + suffix)
    if rank_zero_only.rank:
        yield _resumed(config, path) if resume else RunFolder(path, config)
        return
    try:
        with exclusive_writer(path, "choose another --name"):
            run = _resumed(config, path) if resume else _new(config, path)
            try:
                yield run
            except KeyboardInterrupt:
                raise KeyboardInterrupt(run.how_to_go_on()) from None
    finally:
        for folder in (path, *made):
            with suppress(OSError):
                folder.rmdir()


def claim_name(config: ESDConfig, checkpoints_dir: Path, suffixes: Sequence[str]) -> str:
    """Return MODEL-DATE-TIME, the name of runs that are given none, with a number where it is taken.

    Args:
        config: The runs' settings.
        checkpoints_dir: Folder of the runs.
        suffixes: What follows the name in the folder of each run. The first folder is made, so that of two
            runs that start in the same second each gets its own.
    """
    wanted = f"{config.model.folder_name}-{datetime.now():%Y%m%d-%H%M%S}"
    if rank_zero_only.rank:
        return wanted
    for name in itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2))):
        folders = [checkpoints_dir / f"{name}{suffix}" for suffix in suffixes]
        if any(folder.exists() for folder in folders):
            continue
        advice = "Or choose another folder with --checkpoints-dir."
        with naming_write_faults(folders[0], advice=advice), suppress(FileExistsError):
            folders[0].mkdir(parents=True)
            return name
    raise AssertionError("the numbers do not end")


def _new(config: ESDConfig, path: Path) -> RunFolder:
    check_new(path)
    # Left by a run that was killed before its first epoch.
    for leftover in (CONFIG_NAME, FOLD_NAME, WANDB_ID_NAME, HISTORY_NAME, CURVES_NAME):
        (path / leftover).unlink(missing_ok=True)
    return RunFolder(path, config)


def _resumed(config: ESDConfig, path: Path) -> RunFolder:
    progress = read_progress(path)
    assert progress is not None
    last = path / LAST_NAME
    if rank_zero_only.rank == 0 and not last.exists():
        # The run was killed after it wrote the best checkpoint of its first epoch, which is the last one too.
        copy_checkpoint(path / BEST_NAME, last)
    kept = merge_settings(progress.metadata.config, config, path / CONFIG_NAME)
    if progress.is_finished(kept) and (path / CURVES_NAME).is_file():
        raise UsageError(f"The run {path} is finished: {progress.how_it_ended(kept)}")
    return RunFolder(path, kept, progress)


def copy_checkpoint(source: Path, target: Path, *, needed_bytes: int | None = None, advice: str = "") -> None:
    """Copy a checkpoint so that a reader finds the old or the new one, never a part."""
    with naming_write_faults(target, part_path(target), needed_bytes=needed_bytes, advice=advice):
        shutil.copyfile(source, part_path(target))
        put_in_place(target)


def read_progress(run_dir: Path) -> RunProgress | None:
    """Read how far a run is from its last checkpoint; ``None`` where it has none yet.

    Raises:
        InputDataError: The checkpoint cannot be read, or was not written by a run.
    """
    if not has_checkpoint(run_dir):
        return None
    # After the first epoch the best checkpoint is written before the last one.
    path = next(run_dir / name for name in (LAST_NAME, BEST_NAME) if (run_dir / name).is_file())
    content: Any = read_torch_file(path, "checkpoint")
    metadata = read_metadata(content, path)
    try:
        callbacks = content["callbacks"]
        return RunProgress(
            metadata=metadata,
            epochs=int(content["epoch"]) + 1,
            stopped_early=any(state.get("stopped_epoch") for state in callbacks.values()),
            best_epoch=int(callbacks[BEST_EPOCH_STATE]["best_epoch"]),
            best_metrics=dict(callbacks[BEST_EPOCH_STATE]["best_metrics"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputDataError(
            f"{path}: is no checkpoint that a run can go on from ({error}); train anew under another --name."
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
    """Return a run's settings with the changes that a resumption may make.

    Args:
        kept: The run's settings.
        asked: The settings that were asked for; only what was given explicitly counts.
        path: The file that holds the run's settings, for messages.

    Raises:
        UsageError: Other settings are to change; the message names them.
    """
    differing = [
        f"{key} is {held}, not {value}"
        for key, held, value in _differences(kept, asked)
        if key not in CHANGEABLE_ON_RESUME
    ]
    if differing:
        raise UsageError(
            f"--resume goes on with the settings in {path}, and these were asked for "
            f"differently: {'; '.join(differing)}. Leave them out, or start a new run under another --name."
        )
    for key in CHANGEABLE_ON_RESUME:
        section, name = key.split(".")
        given = getattr(asked, section)
        if name in given.model_fields_set:
            changed = getattr(kept, section).model_copy(update={name: getattr(given, name)})
            kept = kept.model_copy(update={section: changed})
    return kept


def _differences(
    kept: BaseModel | None, asked: BaseModel, prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted name, kept value and asked value of each setting that was given and differs."""
    for name in type(asked).model_fields:
        if name not in asked.model_fields_set:
            continue
        held, value = getattr(kept, name, None), getattr(asked, name)
        if isinstance(value, BaseModel):
            yield from _differences(held, value, f"{prefix}{name}.")
        elif held != value:
            yield f"{prefix}{name}", held, value
