"""Monitoring with Weights & Biases: the mode, the run, and what is logged."""

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from esdseg.config.training import ESDConfig, TrackingConfig
from esdseg.errors import MissingResourceError
from esdseg.metrics.confusion import per_class_scores
from esdseg.report.look import Picture, to_pixels
from esdseg.report.score_pictures import draw_confusion_matrix
from esdseg.report.training_curves import draw_side_by_side
from esdseg.sensors.classes import CLASS_NAMES
from esdseg.system.files import write_text
from esdseg.training.callbacks import EpochReport, PredictedMaps
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask

RUN_ID_NAME = "wandb-run-id.txt"
"""Keeps the run's identity for resumptions."""

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


class Tracker:
    """A run at Weights & Biases.

    Args:
        run: Its folder; wandb's files go there too.
        config: The resolved settings, logged with the run.
        manifest_hash: Of the store.
        mode: Online or offline.

    Raises:
        MissingResourceError: wandb cannot start.
    """

    def __init__(self, run: RunFolder, config: ESDConfig, manifest_hash: str, mode: Mode) -> None:
        import wandb

        identity_file = run.path / RUN_ID_NAME
        identity = identity_file.read_text(encoding="utf-8").strip() if identity_file.is_file() else None
        try:
            self._run: Any = wandb.init(
                project=config.tracking.project,
                entity=config.tracking.entity,
                group=config.tracking.group,
                dir=run.path,
                id=identity,
                name=run.path.name,
                config={**config.model_dump(mode="json"), "manifest_hash": manifest_hash},
                mode=mode,
                # Offline there is nobody to ask whether the run exists: the same identity joins the parts
                # when they are uploaded.
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
        write_text(identity_file, self._run.id + "\n")
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        self.sync_command = (
            f"wandb sync {run.path}/wandb/offline-run-*-{self._run.id}" if mode == "offline" else None
        )

    def log(self, epoch: int, values: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Log values and RGB pictures of an epoch; what is logged twice for one epoch is joined."""
        import wandb

        images = {name: wandb.Image(picture) for name, picture in pictures.items()}
        self._run.log({**values, **images}, step=epoch)

    def finish(self, exit_code: int) -> None:
        """Close the run, marking it as failed where ``exit_code`` is not 0."""
        self._run.finish(exit_code=exit_code)


class TrackedEpochs:
    """Passes each epoch's values, and every few epochs pictures, to the monitoring.

    Args:
        tracker: Where they go.
        config: How often pictures are made, and of how many tiles.
        task: Its metrics hold the last validation's confusion matrix.
        maps: The last validation's predictions.
        truths: Class indices (16, 16) of the validation tiles by name; the first few are shown.
    """

    def __init__(
        self,
        tracker: Tracker,
        config: TrackingConfig,
        task: SegmentationTask,
        maps: PredictedMaps,
        truths: Mapping[str, npt.NDArray[np.uint8]],
    ) -> None:
        self._tracker = tracker
        self._config = config
        self._task = task
        self._maps = maps
        self._truths = truths
        self._epoch_without_pictures: int | None = None

    def __call__(self, report: EpochReport) -> None:
        """Log an epoch."""
        values = {
            f"val_{score}_{name}": float(value)
            for score, by_class in per_class_scores(self._task.metrics.confusion_matrix).items()
            for name, value in zip(CLASS_NAMES, by_class, strict=True)
        }
        every = self._config.image_every_epochs
        due = every > 0 and report.epoch % every == 0
        self._epoch_without_pictures = None if due else report.epoch
        pictures = {**self._tile_pictures(), **self._confusion_picture()} if due else {}
        self._tracker.log(report.epoch, {**values, **report.values()}, pictures)

    def finish(self, exit_code: int) -> None:
        """Log the last epoch's pictures where they are still missing, and close the run."""
        if self._epoch_without_pictures is not None:
            tiles = self._tile_pictures() if self._config.image_every_epochs else {}
            self._tracker.log(self._epoch_without_pictures, {}, {**tiles, **self._confusion_picture()})
        self._tracker.finish(exit_code)

    def _tile_pictures(self) -> dict[str, Picture]:
        shown = list(zip(self._truths.items(), self._maps.maps, strict=True))[: self._config.image_tiles]
        return {
            f"truth and prediction/{tile}": draw_side_by_side(truth, prediction)
            for (tile, truth), prediction in shown
        }

    def _confusion_picture(self) -> dict[str, Picture]:
        return {"confusion matrix": to_pixels(draw_confusion_matrix(self._task.metrics.confusion_matrix))}
