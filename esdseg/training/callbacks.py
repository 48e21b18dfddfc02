"""What is done after each step and epoch: history, checkpoints, progress, predicted maps."""

import csv
import dataclasses
import io
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from esdseg.config.training import TrainerConfig
from esdseg.datasets.dataset import Batch
from esdseg.models.checkpoint_lookup import HISTORY_COLUMNS, read_history
from esdseg.sensors.classes import GRID_SIZE
from esdseg.system.files import naming_write_faults, part_path, put_in_place, write_text
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch: Its number, counted from 1.
        max_epochs: Epochs that the run may take.
        learning_rate: Of the epoch's last step; NaN for a model that is fitted without steps.
        train_loss: Mean over the epoch's training cells, by class weight.
        metrics: Validation metrics by name, such as ``val_f1_macro``; NaN where a score is undefined.
        seconds: Time the epoch took, validation included.
        is_best: Whether the monitored metric was never better.
    """

    epoch: int
    max_epochs: int
    learning_rate: float
    train_loss: float
    metrics: Mapping[str, float]
    seconds: float
    is_best: bool

    def values(self) -> dict[str, float]:
        """Return everything that is logged: epoch, learning rate, training loss and validation metrics."""
        return {
            "epoch": self.epoch,
            "learning_rate": self.learning_rate,
            "train_loss": self.train_loss,
            **self.metrics,
        }

    def line(self) -> str:
        """Return the epoch as one line for people; lines of one run stand in columns."""
        width = len(str(self.max_epochs))
        scores = "  ".join(
            f"{title} {self.metrics[name]:.3f}"
            for title, name in (
                ("val loss", "val_loss"),
                ("F1", "val_f1_macro"),
                ("Jaccard", "val_jaccard_macro"),
                ("contest F1", "val_contest_f1"),
            )
        )
        best = "  best so far" if self.is_best else ""
        return (
            f"Epoch {self.epoch:{width}}/{self.max_epochs}  train loss {self.train_loss:.3f}  {scores}  "
            f"{self.seconds:.1f} s{best}"
        )


StepListener = Callable[[int, int, int], None]
"""Told of the epoch, counted from 1, of the steps done in it, and of its number of steps."""


class StepProgress(pl.Callback):
    """Tells a listener of each training step; nothing is read from the device.

    Args:
        on_step: The listener.
    """

    def __init__(self, on_step: StepListener) -> None:
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell of a step."""
        self._on_step(trainer.current_epoch + 1, batch_idx + 1, int(trainer.num_training_batches))


class History:
    """Writes ``metrics.csv``, the whole of it or none of the change.

    Args:
        path: The file. Rows that are already in it are kept.
        epochs_done: Epochs behind the checkpoint that the run goes on from; rows of later epochs are dropped,
            since these are trained again.
    """

    def __init__(self, path: Path, epochs_done: int) -> None:
        self._path = path
        self.rows = [row for row in read_history(path) if row["epoch"] <= epochs_done]

    def append(self, report: EpochReport) -> None:
        """Add an epoch's row."""
        values = report.values()
        self.rows.append({column: values[column] for column in HISTORY_COLUMNS})
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        for row in self.rows:
            writer.writerow([_cell(column, row[column]) for column in HISTORY_COLUMNS])
        write_text(self._path, text.getvalue())


def _cell(column: str, value: float) -> str:
    if column == "epoch":
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))


class PredictedMaps(pl.Callback):
    """Keeps the classes that were predicted in the last validation.

    Args:
        tiles: How many validation tiles there are.

    Attributes:
        maps: Class indices (tiles, 16, 16) on the CPU.
    """

    def __init__(self, tiles: int) -> None:
        self.maps: npt.NDArray[np.int64] = np.zeros((tiles, GRID_SIZE, GRID_SIZE), np.int64)
        self._gathered = torch.zeros(0)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start anew."""
        self._gathered = torch.zeros(self.maps.shape, dtype=torch.int64, device=pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put a batch's predicted classes (N, k, k) into their places; the device is not waited for."""
        predicted: Tensor = outputs
        size = predicted.shape[-1]
        within = torch.arange(size, device=predicted.device)
        tiles = batch["tile"][:, None, None]
        rows = (batch["row"] * size)[:, None, None] + within[None, :, None]
        columns = (batch["column"] * size)[:, None, None] + within[None, None, :]
        self._gathered[tiles, rows, columns] = predicted

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join what the processes predicted: each cell was predicted by one of them."""
        if trainer.world_size > 1:
            torch.distributed.all_reduce(self._gathered)
        self.maps = self._gathered.cpu().numpy()


EpochListener = Callable[[EpochReport], None]


class StoppedRunError(Exception):
    """Raised by a listener to end a run that is no failure; it passes through the training."""


class EpochEnd(Checkpoint):
    """Reports each epoch, then writes its checkpoints, then tells that it is done.

    Lightning runs callbacks of this kind last, when everything is logged and early stopping has counted the
    epoch. What is recorded comes before the checkpoint: after a crash between the two the epoch is trained
    and recorded again, whereas the other way round it would be missing for ever.

    Args:
        run: Where the checkpoints go.
        config: Monitored metric and length of the run.
        recorders: Told of each epoch before its checkpoints are written, by the first process.
        on_epoch: Told of it afterwards, by the first process.
        checkpoint_bytes: About how large a checkpoint is, for messages.

    Attributes:
        best_epoch: The best epoch's number, counted from 1; 0 before the first.
        best_metrics: Its training loss and validation metrics.
    """

    def __init__(
        self,
        run: RunFolder,
        config: TrainerConfig,
        recorders: tuple[EpochListener, ...],
        on_epoch: EpochListener | None,
        checkpoint_bytes: int,
    ) -> None:
        self.best_epoch = 0
        self.best_metrics: dict[str, float] = {}
        self._run = run
        self._config = config
        self._recorders = recorders
        self._listeners = (on_epoch,) if on_epoch is not None else ()
        self._started = 0.0
        self._checkpoint_bytes = checkpoint_bytes

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumption needs, as plain values."""
        return {"best_epoch": self.best_epoch, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.best_epoch = state_dict["best_epoch"]
        self.best_metrics = dict(state_dict["best_metrics"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, write its checkpoints, and tell of it."""
        assert isinstance(pl_module, SegmentationTask)
        self.finish(trainer, pl_module)

    def start(self) -> None:
        """Note the time at which the epoch begins."""
        self._started = time.monotonic()

    def finish(self, trainer: pl.Trainer, task: SegmentationTask) -> None:
        """Record a finished epoch, write its checkpoints, and tell of it."""
        report = self._report(trainer, task)
        if report.is_best:
            self.best_epoch = report.epoch
            self.best_metrics = {"train_loss": report.train_loss, **report.metrics}
        self._tell(self._recorders, report, trainer)
        self._save(trainer, report.is_best)
        self._tell(self._listeners, report, trainer)

    def _report(self, trainer: pl.Trainer, task: SegmentationTask) -> EpochReport:
        metrics = {name: value for name, value in task.epoch_values.items() if name != "train_loss"}
        report = EpochReport(
            epoch=trainer.current_epoch + 1,
            max_epochs=self._config.max_epochs,
            learning_rate=task.learning_rate,
            train_loss=task.epoch_values["train_loss"],
            metrics=metrics,
            seconds=time.monotonic() - self._started,
            is_best=False,
        )
        return dataclasses.replace(report, is_best=self._is_best(report))

    def _is_best(self, report: EpochReport) -> bool:
        value = report.values()[self._config.monitor]
        if math.isnan(value):
            return False
        if not self.best_metrics:
            return True
        best = self.best_metrics[self._config.monitor]
        return value < best if self._config.monitor_mode == "min" else value > best

    def _save(self, trainer: pl.Trainer, is_best: bool) -> None:
        """Write each checkpoint beside and rename it: the best first, then the last.

        A resumption goes on from the last. After a crash between the two, it still tells of an older best
        epoch, and training the epoch again finds and writes the newer one again.
        """
        best, last = self._run.best_checkpoint, self._run.last_checkpoint
        written = best if is_best else last
        with self._naming_faults(written):
            trainer.save_checkpoint(part_path(written))
            if trainer.is_global_zero:
                put_in_place(written)
        if trainer.is_global_zero and is_best:
            with self._naming_faults(last):
                shutil.copyfile(best, part_path(last))
                put_in_place(last)

    def _naming_faults(self, path: Path) -> AbstractContextManager[None]:
        advice = f"The epochs before are kept. {self._run.how_to_go_on()}"
        return naming_write_faults(path, part_path(path), needed_bytes=self._checkpoint_bytes, advice=advice)

    @staticmethod
    def _tell(listeners: tuple[EpochListener, ...], report: EpochReport, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            for listener in listeners:
                listener(report)
