"""Scores with and without a group of channels, and their paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from esdseg.metrics.arrays import IntArray
from esdseg.metrics.confusion import confusion_matrix
from esdseg.prediction.cells import Cells
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.bootstrap import bootstrap_intervals
from esdseg.scoring.paired import AREA_SCORE, Difference, paired_area_difference, paired_differences
from esdseg.scoring.selection import headline_scores_of

Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """Headline scores of some tiles together.

    Attributes:
        values: By the names of ``metrics.json``'s intervals; ``None`` where undefined.
        intervals: Their 95 % intervals from resampled tiles, where there are any.
    """

    values: dict[str, float | None]
    intervals: dict[str, Interval | None]


class Scorer:
    """Scores predictions and compares them with those that have all channels, on the same resamples.

    Args:
        whole: Predictions with all channels of labelled tiles.
        resamples: Resamples of the tiles behind each interval.
        seed: Seed of the resamples.
    """

    def __init__(self, whole: Sequence[TilePrediction], resamples: int, seed: int) -> None:
        self._resamples, self._seed = resamples, seed
        self._confusions, self._cells = _confusions(whole), _cells(whole)
        self.whole = self.score(whole)

    def score(self, predictions: Sequence[TilePrediction]) -> Scores:
        """Score tiles together."""
        cells = _cells(predictions)
        intervals = bootstrap_intervals(
            _confusions(predictions), cells.truths, cells.probabilities, self._resamples, self._seed
        )
        return Scores(
            headline_scores_of(predictions), {name: _interval(one) for name, one in intervals.items()}
        )

    def compare(self, reduced: Sequence[TilePrediction]) -> dict[str, Difference]:
        """Return the scores of ``reduced``, on the same tiles in the same order, less those of the whole."""
        differences = paired_differences(_confusions(reduced), self._confusions, self._resamples, self._seed)
        area = paired_area_difference(_cells(reduced), self._cells, self._resamples, self._seed)
        return {**differences, AREA_SCORE: area}


def _confusions(predictions: Sequence[TilePrediction]) -> IntArray:
    return np.stack([confusion_matrix(one.truth, one.classes) for one in predictions])


def _cells(predictions: Sequence[TilePrediction]) -> Cells:
    truths, probabilities = zip(*(one.known_cells() for one in predictions), strict=True)
    return Cells(truths, probabilities)


def _interval(bounds: object) -> Interval | None:
    match bounds:
        case [float() as low, float() as high]:
            return low, high
        case _:
            return None
