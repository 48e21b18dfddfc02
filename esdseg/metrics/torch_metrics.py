"""The stateful shell around the scores, for training and validation loops."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from esdseg.metrics.ranking import area_under_roc
from esdseg.metrics.scores import (
    IntArray,
    confusion_matrix,
    headline_scores,
    mean_of_defined,
    per_class_scores,
)
from esdseg.sensors.classes import CLASS_NAMES, NUM_CLASSES

_VALUES_A_CELL = NUM_CLASSES + 1


class SegmentationMetrics(Metric):
    """Scores over all label cells seen since the last reset, pooled over batches and processes.

    Every cell's probabilities and label are kept until :meth:`compute` (20 bytes a cell, 5 kB a tile), so
    neither the batch size nor the number of processes can move a score, and an update is one copy on the
    device that waits for nothing.
    """

    full_state_update = False
    cells: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        # Flat, because a process that has seen no batch contributes an empty vector.
        self.add_state("cells", default=[], dist_reduce_fx="cat")
        self._confusion: IntArray | None = None

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch.

        Args:
            logits: Class scores before the softmax, shape (N, 4, k, k).
            labels: Label indices 0 to 3, 255 where unknown, shape (N, k, k).
        """
        probabilities = torch.softmax(logits.detach().float(), dim=1)
        cells = torch.cat((probabilities, labels.unsqueeze(1).float()), dim=1)
        self.cells.append(cells.movedim(1, -1).reshape(-1))

    def compute(self) -> dict[str, float]:
        """Score all cells of all processes.

        Returns:
            ``accuracy``, ``f1_macro``, ``jaccard_macro``, ``auc_macro``, ``contest_f1``, and for each class
            ``f1_CLASS``, ``jaccard_CLASS``, ``precision_CLASS``, ``recall_CLASS`` and ``auc_CLASS``; NaN
            where a score is undefined.
        """
        truth, probabilities = self._known_cells()
        confusion = confusion_matrix(truth, probabilities.argmax(axis=1))
        self._confusion = confusion
        headline = headline_scores(confusion)
        areas = area_under_roc(truth, probabilities)
        per_class = {**per_class_scores(confusion), "auc": areas}
        return {
            "accuracy": float(headline["accuracy"]),
            "f1_macro": float(headline["f1_macro"]),
            "jaccard_macro": float(headline["jaccard_macro"]),
            "auc_macro": float(mean_of_defined(areas)),
            "contest_f1": float(headline["contest_f1"]),
            **{
                f"{score}_{name}": float(values[index])
                for score, values in per_class.items()
                for index, name in enumerate(CLASS_NAMES)
            },
        }

    @property
    def confusion_matrix(self) -> IntArray:
        """Counts over all cells of all processes, rows truth, columns prediction, shape (4, 4).

        Computes the scores if :meth:`compute` has not; with several processes all of them must ask.
        """
        self.compute()
        assert self._confusion is not None
        return self._confusion

    def _known_cells(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        if isinstance(self.cells, list) and not self.cells:
            return np.empty(0, dtype=np.int64), np.empty((0, NUM_CLASSES), dtype=np.float32)
        cells = dim_zero_cat(self.cells).reshape(-1, _VALUES_A_CELL).cpu().numpy()
        cells = cells[cells[:, -1] < NUM_CLASSES]
        return cells[:, -1].astype(np.int64), cells[:, :-1]
