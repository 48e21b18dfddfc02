"""What happens after each epoch."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from esdseg.config.training import TrainerConfig
from esdseg.system.files import naming_write_faults, part_path, put_in_place
from esdseg.training.reports import EpochReport
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask

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
