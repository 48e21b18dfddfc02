"""The frame of models that judge each label cell by its statistics, and the cells they are fitted to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from esdseg.baselines.cell_statistics import CellStatistics

LOWEST_LOG_PROBABILITY = -30.0
"""Of any class, and of those that training did not hold: a probability of about 1e-13."""


@dataclass(frozen=True)
class LabelledCells:
    """Training cells of a model that is fitted in one go.

    Attributes:
        features: What :class:`CellStatistics` says of each cell, (cells, 3C) float32; NaN is no data.
        labels: Class indices (cells,), 0 to 3; all known.
        weights: Weight of each cell (cells,).
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """The class indices that occur, rising."""
        return np.unique(self.labels)


class CellClassifier(nn.Module):
    """Statistics of each label cell, and a head that classifies them.

    Args:
        head: Maps features (cells, 3C) to raw scores (cells, 4), whose softmax are the probabilities; minus
            infinity is a class that training did not hold.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.statistics = CellStatistics()
        self.head = head

    def classify_cells(self, features: Tensor) -> Tensor:
        """Map features (cells, 3C) to logits (cells, 4), which are limited logarithms of probabilities."""
        scores: Tensor = self.head(features)
        return scores.log_softmax(dim=-1).clamp(min=LOWEST_LOG_PROBABILITY)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, C, 50k, 50k), NaN where there is no data, to logits (N, 4, k, k)."""
        features: Tensor = self.statistics(image)
        logits = self.classify_cells(features.flatten(0, 2))
        return logits.reshape(*features.shape[:3], -1).movedim(-1, 1)
