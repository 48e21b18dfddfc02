"""What is said of an epoch, and of a whole run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
