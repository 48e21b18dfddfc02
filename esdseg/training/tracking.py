"""Monitoring with Weights & Biases: whether and how, each epoch's values, and pictures."""

import netrc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from esdseg.config.training import ESDConfig, TrackingConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import Batch
from esdseg.errors import MissingResourceError
from esdseg.metrics.scores import per_class_scores
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.report.look import Picture, to_pixels
from esdseg.report.score_pictures import describe_origin, draw_confusion_matrix
from esdseg.report.training_curves import draw_side_by_side
from esdseg.sensors.classes import CLASS_NAMES, GRID_SIZE
from esdseg.system.files import write_text
from esdseg.training.callbacks import EpochReport, StoppedRunError
from esdseg.training.run_folder import WANDB_ID_NAME, RunFolder

DEFAULT_HOST = "https://api.wandb.ai"
CREDENTIAL_VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")

Mode = Literal["online", "offline"]


def choose_mode(config: TrackingConfig, environment: Mapping[str, str]) -> Mode | None:
    """Decide whether and how to log.

    Args:
        config: The wish.
        environment: Environment variables; ``WANDB_MODE`` decides where the wish is ``auto``.

    Returns:
        The mode, or ``None`` to log nothing.

    Raises:
        MissingResourceError: ``online`` was asked for without a login.
    """
    wish = config.wandb
    if wish == "auto" and environment.get("WANDB_MODE") in ("online", "offline", "disabled"):
        wish = environment["WANDB_MODE"]  # type: ignore[assignment]
    if wish == "disabled":
        return None
    if wish == "offline" or (wish == "auto" and not has_login(environment)):
        return "offline"
    if not has_login(environment):
        raise MissingResourceError(
            "--wandb online needs a login to Weights & Biases; run `wandb login` or set WANDB_API_KEY, or "
            "use --wandb offline or --wandb disabled."
        )
    return "online"


def has_login(environment: Mapping[str, str]) -> bool:
    """Say whether wandb would find credentials: in its variables or in the netrc file. Asks no server."""
    if any(environment.get(name) for name in CREDENTIAL_VARIABLES):
        return True
    named = environment.get("NETRC")
    candidates = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    host = urlsplit(environment.get("WANDB_BASE_URL", DEFAULT_HOST)).netloc
    for path in candidates:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


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

    Attributes:
        maps: Class indices (tiles, 16, 16) that were predicted last.
        sync_command: Uploads an offline run later.

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
    ) -> None:
        self._config = config.tracking
        self._name = run.path.name
        self._metrics = metrics
        self._data = data
        self.maps: npt.NDArray[np.int64] = np.zeros((len(data.val_tiles), GRID_SIZE, GRID_SIZE), np.int64)
        self._gathered = torch.zeros(0)
        self._epoch_without_pictures: int | None = None
        self.sync_command: str | None = None
        if rank_zero_only.rank == 0:
            self._run = _start(mode, run, config, data.store.manifest_hash)
            if mode == "offline":
                self.sync_command = f"wandb sync {run.path}/wandb/offline-run-*-{self._run.id}"

    def log_epoch(self, report: EpochReport) -> None:
        """Log an epoch's values, and its pictures where they are due."""
        values = {
            f"val_{score}_{name}": float(value)
            for score, by_class in per_class_scores(self._metrics.confusion_matrix).items()
            for name, value in zip(CLASS_NAMES, by_class, strict=True)
        }
        every = self._config.image_every_epochs
        due = every > 0 and report.epoch % every == 0
        self._epoch_without_pictures = None if due else report.epoch
        pictures = {**self._tile_pictures(), **self._confusion_picture()} if due else {}
        self._log(report.epoch, {**values, **report.values()}, pictures)

    def finish(self, exit_code: int) -> None:
        """Log the last epoch's pictures where they are still missing, and close the run.

        Args:
            exit_code: Marks the run as failed where it is not 0.
        """
        if self._epoch_without_pictures is not None:
            tiles = self._tile_pictures() if self._config.image_every_epochs else {}
            self._log(self._epoch_without_pictures, {}, {**tiles, **self._confusion_picture()})
        self._run.finish(exit_code=exit_code)

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
        """Log values and RGB pictures; wandb joins what is logged twice for one epoch."""
        import wandb

        images = {name: wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **images}, step=epoch)

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
) -> Iterator[WandbTracker | None]:
    """Log to Weights & Biases while the block runs, and mark the run as failed where the block fails.

    Args:
        mode: Online or offline; ``None`` logs nothing.
        run: The run's folder.
        config: All settings.
        metrics: They hold the last validation's confusion matrix.
        data: The validation tiles.

    Raises:
        MissingResourceError: wandb cannot start.
    """
    if mode is None:
        yield None
        return
    tracker = WandbTracker(mode, run, config, metrics, data)
    exit_code = 1
    try:
        yield tracker
        exit_code = 0
    except StoppedRunError:
        exit_code = 0
        raise
    finally:
        if rank_zero_only.rank == 0:
            tracker.finish(exit_code)


def _start(mode: Mode, run: RunFolder, config: ESDConfig, manifest_hash: str) -> Any:
    """Start wandb's run, or go on with the one that the folder names."""
    import wandb

    identity_file = run.path / WANDB_ID_NAME
    identity = identity_file.read_text(encoding="utf-8").strip() if identity_file.is_file() else None
    try:
        started = wandb.init(
            project=config.tracking.project,
            entity=config.tracking.entity,
            group=config.tracking.group,
            dir=run.path,
            id=identity,
            name=run.path.name,
            config={**config.model_dump(mode="json"), "manifest_hash": manifest_hash},
            mode=mode,
            # Offline there is nobody to ask whether the run exists: the same identity joins the parts when
            # they are uploaded.
            resume="allow" if mode == "online" and identity is not None else None,
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, disable_job_creation=True
            ),
        )
    # wandb raises its own errors, those of its service process, and those of files.
    except Exception as error:
        raise MissingResourceError(
            f"Weights & Biases could not be started ({error}); train without it by --wandb disabled, or "
            "without the network by --wandb offline."
        ) from error
    write_text(identity_file, started.id + "\n")
    started.define_metric("epoch")
    started.define_metric("*", step_metric="epoch")
    return started
