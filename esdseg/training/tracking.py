"""Monitoring with Weights & Biases: each epoch's values, and pictures."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import Batch
from esdseg.metrics.scores import per_class_scores
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.models.runs import HISTORY_NAME, read_history
from esdseg.report.look import Picture, to_pixels
from esdseg.report.score_pictures import describe_origin, draw_confusion_matrix
from esdseg.report.training_curves import draw_side_by_side
from esdseg.sensors.classes import CLASS_NAMES, GRID_SIZE
from esdseg.training.callbacks import EpochReport, StoppedRunError
from esdseg.training.run_folder import RunFolder
from esdseg.training.wandb_connection import Mode, NoteListener, start_run, sync_command

INTERRUPTED_EXIT_CODE = 255
"""Tells Weights & Biases that the user stopped the run."""


class WandbTracker(pl.Callback):
    """Logs a run to Weights & Biases: each epoch's values, and every few epochs pictures.

    The pictures show the first validation tiles, whose predictions are gathered while they are validated, and
    the confusion matrix. Every process of a run has this callback; the first one logs.

    Args:
        mode: Online or offline.
        run: The run's folder; wandb's files go there too.
        config: All settings, which are logged too.
        metrics: They hold the last validation's confusion matrix.
        data: The validation tiles and their labels.
        on_note: Gets the run's address, and what became of it.

    Attributes:
        epochs: Epochs that were logged, those before a resumption included.
        maps: Class indices (tiles, 16, 16) that were predicted last.
        sync_command: Uploads what Weights & Biases lacks of the run, an offline one for example.
        url: The run's address; ``None`` offline.

    Raises:
        MissingResourceError: wandb cannot start.
    """

    def __init__(
        self,
        mode: Mode,
        run: RunFolder,
        config: ESDConfig,
        metrics: SegmentationMetrics,
        data: SubtileDataModule,
        on_note: NoteListener,
    ) -> None:
        self._config = config.tracking
        self._name = run.path.name
        self._metrics = metrics
        self._data = data
        self._folder = run
        self._on_note = on_note
        self._best: dict[str, float] = {}
        self.epochs = run.progress.epochs if run.progress is not None else 0
        self.maps: npt.NDArray[np.int64] = np.zeros((len(data.val_tiles), GRID_SIZE, GRID_SIZE), np.int64)
        self._gathered = torch.zeros(0)
        self.sync_command: str | None = None
        self.url: str | None = None
        if rank_zero_only.rank == 0:
            self._run, self._mode = start_run(mode, run, config, data.store.manifest_hash, on_note)
            if self._mode == "offline":
                self.sync_command = sync_command(run, self._mode, self._run.id)
            else:
                self.url = self._run.url
            if run.progress is not None:
                self._take_up(run)

    def log_epoch(self, report: EpochReport) -> None:
        """Log an epoch's values, and its pictures where they are due."""
        values = {
            f"val_{score}_{name}": float(value)
            for score, by_class in per_class_scores(self._metrics.confusion_matrix).items()
            for name, value in zip(CLASS_NAMES, by_class, strict=True)
        }
        if report.is_best:
            self._best = {"train_loss": report.train_loss, **report.metrics, "best_epoch": report.epoch}
        self.epochs = report.epoch
        every = self._config.image_every_epochs
        due = every > 0 and report.epoch % every == 0
        pictures = self._tile_pictures() if due or (report.is_last and every > 0) else {}
        if due or report.is_last:
            pictures |= self._confusion_picture()
        self._log(report.epoch, {**values, **report.values()}, pictures)

    def finish(self, exit_code: int, reason: str | None = None) -> None:
        """Close the run, its summary telling of ``best.ckpt``; what does not arrive in time is left.

        Args:
            exit_code: Marks the run as failed where it is not 0.
            reason: Why it failed.
        """
        self._run.summary.update({**self._best, **({"reason": reason} if reason else {})})
        try:
            self._run.finish(exit_code=exit_code)
        except (TimeoutError, KeyboardInterrupt):
            self.sync_command = sync_command(self._folder, self._mode, self._run.id)
            self._on_note("Weights & Biases has not received all of the run, and is not waited for.")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the last validation's predictions."""
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

    def _log(self, epoch: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Send an epoch's values and RGB pictures now: without ``commit``, wandb waits for the next epoch."""
        import wandb

        images = {name: wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **images}, step=epoch, commit=True)

    def _take_up(self, run: RunFolder) -> None:
        """Go on where a resumed run stopped, and send the epochs that never arrived."""
        assert run.progress is not None
        self._best = {**run.progress.best_metrics, "best_epoch": run.progress.best_epoch}
        if self._mode == "offline":
            # What was logged before lies in wandb's own files of the run.
            return
        first_missing = self._run.starting_step
        for row in read_history(run.path / HISTORY_NAME):
            if first_missing <= row["epoch"] <= run.progress.epochs:
                self._log(int(row["epoch"]), row, {})

    def _tile_pictures(self) -> dict[str, Picture]:
        shown = list(zip(self._data.val_tiles, self.maps, strict=True))[: self._config.image_tiles]
        return {
            f"truth and prediction/{tile}": draw_side_by_side(self._data.store.labels(tile), prediction)
            for tile, prediction in shown
        }

    def _confusion_picture(self) -> dict[str, Picture]:
        origin = describe_origin(self._name, "val", len(self._data.val_tiles))
        figure = draw_confusion_matrix(self._metrics.confusion_matrix, origin)
        return {"confusion matrix": to_pixels(figure)}


@contextmanager
def tracking(
    mode: Mode | None,
    run: RunFolder,
    config: ESDConfig,
    metrics: SegmentationMetrics,
    data: SubtileDataModule,
    on_note: NoteListener,
) -> Iterator[WandbTracker | None]:
    """Log to Weights & Biases while the block runs, and mark the run as failed where the block fails.

    Args:
        mode: Online or offline; ``None`` logs nothing.
        run: The run's folder.
        config: All settings.
        metrics: They hold the last validation's confusion matrix.
        data: The validation tiles.
        on_note: Gets the run's address, and what became of it.

    Raises:
        MissingResourceError: wandb cannot start.
    """
    if mode is None:
        yield None
        return
    tracker = WandbTracker(mode, run, config, metrics, data, on_note)
    exit_code, reason = 1, None
    try:
        yield tracker
        exit_code = 0
    except StoppedRunError:
        exit_code = 0
        raise
    except KeyboardInterrupt:
        exit_code = INTERRUPTED_EXIT_CODE
        reason = f"stopped after {tracker.epochs} of {config.trainer.epochs} epochs"
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise
    finally:
        if rank_zero_only.rank == 0:
            tracker.finish(exit_code, reason)
