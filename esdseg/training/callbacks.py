"""Callbacks of the training loop: history, checkpoints, progress, and the program's own signal handler."""

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from esdseg.config.training import TrainerConfig
from esdseg.models.runs import HISTORY_COLUMNS, HISTORY_NAME, read_history
from esdseg.system.files import naming_write_faults, part_path, put_in_place, write_text
from esdseg.system.processes import ItemListener
from esdseg.training.run_folder import BEST_EPOCH_STATE, RunFolder, copy_checkpoint
from esdseg.training.task import SegmentationTask


class StoppedRunError(Exception):
    """Raised by a listener to end a run that is no failure."""


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch.

    Attributes:
        epoch: Number of the epoch, counted from 1.
        max_epochs: Epochs that the run may take.
        learning_rate: Learning rate of the epoch's last step; NaN for a model that is fitted without steps.
        train_loss: Mean over the epoch's training cells, by class weight.
        metrics: Validation metrics by name, such as ``val_f1_macro``; NaN where a score is undefined.
        seconds: Time that the epoch took, validation included.
        is_best: Whether ``best.ckpt`` now holds this epoch: it is the best so far by the monitored metric, or
            no metric is monitored.
        monitor: The monitored metric, if there is one.
        is_last: Whether the training ends with this epoch.
    """

    epoch: int
    max_epochs: int
    learning_rate: float
    train_loss: float
    metrics: Mapping[str, float]
    seconds: float
    is_best: bool
    monitor: str | None = None
    is_last: bool = False

    def values(self) -> dict[str, float]:
        """Return everything that is logged: epoch, learning rate, training loss and validation metrics."""
        return {
            "epoch": self.epoch,
            "learning_rate": self.learning_rate,
            "train_loss": self.train_loss,
            **self.metrics,
        }

    def line(self) -> str:
        """Return the epoch as one line of at most 80 characters; the lines of a run stand in columns."""
        width = len(str(self.max_epochs))
        scores = "  ".join(
            f"{title} {self.metrics[name]:.3f}"
            for title, name in (
                ("macro F1", "val_f1_macro"),
                ("contest F1", "val_contest_f1"),
            )
        )
        losses = f"loss {self.train_loss:.3f} val {self.metrics['val_loss']:.3f}"
        best = " best" if self.is_best and self.monitor is not None else ""
        return f"Epoch {self.epoch:{width}}/{self.max_epochs}  {losses}  {scores} {self.seconds:.0f} s{best}"


EpochListener = Callable[[EpochReport], None]


class History:
    """Writes ``metrics.csv``: one row an epoch, the whole file or none of the change.

    Args:
        run: The run. Rows of epochs that are trained again are dropped.
    """

    def __init__(self, run: RunFolder) -> None:
        self._path = run.path / HISTORY_NAME
        done = run.progress.epochs if run.progress is not None else 0
        self._rows = [row for row in read_history(self._path) if row["epoch"] <= done]

    def append(self, report: EpochReport) -> None:
        """Add an epoch's row; rows of the same and later epochs, which were trained before, are dropped."""
        self._rows = [row for row in self._rows if row["epoch"] < report.epoch]
        values = report.values()
        self._rows.append({column: values[column] for column in HISTORY_COLUMNS})
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        for row in self._rows:
            writer.writerow([_cell(column, row[column]) for column in HISTORY_COLUMNS])
        write_text(self._path, text.getvalue())


def _cell(column: str, value: float) -> str:
    if column == "epoch":
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))


class EpochEnd(Checkpoint):
    """Records each epoch, then writes its checkpoints, then reports it.

    Lightning runs callbacks of this kind last, when everything is logged and early stopping has counted the
    epoch. The record comes before the checkpoint: after a crash between the two the epoch is trained and
    recorded again. In the other order the epoch would be missing from the history.

    Lightning's ModelCheckpoint does not fit: it does not write a file beside and rename it on the same disk,
    and keeps the best score but not the best epoch's other metrics.

    Args:
        run: Where the checkpoints go.
        config: Monitored metric and length of the run.
        recorders: Called by the first process for each epoch, before its checkpoints are written.
        on_epoch: Called by the first process afterwards.
        checkpoint_bytes: About how large a checkpoint is, for messages.
    """

    def __init__(
        self,
        run: RunFolder,
        config: TrainerConfig,
        recorders: Sequence[EpochListener],
        on_epoch: EpochListener | None,
        checkpoint_bytes: int,
    ) -> None:
        self._run = run
        self._config = config
        self._recorders = recorders
        self._on_epoch = on_epoch
        self._checkpoint_bytes = checkpoint_bytes
        self._best_epoch = 0
        self._best_metrics: dict[str, float] = {}
        self._started = time.monotonic()

    @property
    def state_key(self) -> str:
        """The name under which checkpoints keep this callback's state."""
        return BEST_EPOCH_STATE

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch that ``best.ckpt`` holds, and its metrics."""
        return {"best_epoch": self._best_epoch, "best_metrics": self._best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._best_epoch = state_dict["best_epoch"]
        self._best_metrics = dict(state_dict["best_metrics"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the time."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch, write its checkpoints, and report it."""
        assert isinstance(pl_module, SegmentationTask)
        metrics = {name: value for name, value in pl_module.epoch_values.items() if name != "train_loss"}
        report = EpochReport(
            epoch=trainer.current_epoch + 1,
            max_epochs=self._config.epochs,
            learning_rate=pl_module.learning_rate,
            train_loss=pl_module.epoch_values["train_loss"],
            metrics=metrics,
            seconds=time.monotonic() - self._started,
            is_best=self._is_best(pl_module.epoch_values),
            monitor=self._config.monitor,
            # Early stopping has decided before: Lightning calls checkpoints last.
            is_last=trainer.should_stop or trainer.current_epoch + 1 == self._config.epochs,
        )
        if report.is_best:
            self._best_epoch = report.epoch
            self._best_metrics = {"train_loss": report.train_loss, **metrics}
        if trainer.is_global_zero:
            for record in self._recorders:
                record(report)
        self._save(trainer, report.is_best)
        if self._on_epoch is not None and trainer.is_global_zero:
            self._on_epoch(report)

    def _is_best(self, epoch_values: Mapping[str, float]) -> bool:
        monitor = self._config.monitor
        if monitor is None:
            return True
        value = epoch_values[monitor]
        if math.isnan(value):
            return False
        if not self._best_metrics:
            return True
        best = self._best_metrics[monitor]
        return value < best if self._config.monitor_mode == "min" else value > best

    def _save(self, trainer: pl.Trainer, is_best: bool) -> None:
        """Write each checkpoint beside and rename it: the best first, then the last.

        A resumption goes on from the last. After a crash between the two, the last still names an older best
        epoch, and training the epoch again finds and writes the newer one again.
        """
        best, last = self._run.best_checkpoint, self._run.last_checkpoint
        written = best if is_best else last
        advice = self._run.how_to_go_on()
        size = self._checkpoint_bytes
        with naming_write_faults(written, part_path(written), needed_bytes=size, advice=advice):
            trainer.save_checkpoint(part_path(written))
            if trainer.is_global_zero:
                put_in_place(written)
        if trainer.is_global_zero and is_best:
            copy_checkpoint(best, last, needed_bytes=size, advice=advice)


class StepProgress(pl.Callback):
    """Calls a listener after each training step; nothing is read from the device.

    Args:
        on_step: Receives the epoch, the steps that are done in it, and its number of steps.
    """

    def __init__(self, on_step: ItemListener) -> None:
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report a step."""
        if trainer.is_global_zero:
            done, total = batch_idx + 1, int(trainer.num_training_batches)
            what = ", validating" if done == total else ""
            self._on_step(f"epoch {trainer.current_epoch + 1}{what}", done, total)


class OwnSignals(pl.Callback):
    """Keeps the program's own handler of SIGTERM, where it has one.

    Lightning's would first wait for all processes, which may be waiting for this one, and for a batch.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handler back: Lightning has just replaced it."""
        self._restore()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the handler back in a run that is resumed without a sanity check."""
        self._restore()

    def _restore(self) -> None:
        if callable(self._handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)
