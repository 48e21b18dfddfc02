"""What of each epoch goes to the monitoring."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from esdseg.config.training import TrackingConfig
from esdseg.metrics.confusion import per_class_scores
from esdseg.report.tracking_pictures import Picture, draw_confusion, side_by_side
from esdseg.sensors.classes import CLASS_NAMES, CLASSES
from esdseg.training.predicted_maps import PredictedMaps
from esdseg.training.reports import EpochReport
from esdseg.training.task import SegmentationTask
from esdseg.training.tracking import Tracker


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
            f"truth and prediction/{tile}": side_by_side(truth, prediction)
            for (tile, truth), prediction in shown
        }

    def _confusion_picture(self) -> dict[str, Picture]:
        titles = [label_class.title for label_class in CLASSES]
        return {"confusion matrix": draw_confusion(self._task.metrics.confusion_matrix, titles)}
