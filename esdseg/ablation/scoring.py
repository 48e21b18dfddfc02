"""Scoring predictions that lack channels, beside those that have all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from esdseg.metrics.resampling import bootstrap_intervals, paired_differences
from esdseg.metrics.scorecard import Difference, Interval, Score
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles


@dataclass(frozen=True)
class Scores:
    """Headline scores of some tiles together.

    Attributes:
        values: By the names of ``metrics.json``'s intervals; ``None`` where undefined.
        intervals: Their 95 % intervals from resampled tiles, where there are any.
    """

    values: dict[str, Score]
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
        self._whole = scored_tiles(whole)
        self.whole = self.score(whole)

    def score(self, predictions: Sequence[TilePrediction]) -> Scores:
        """Score tiles together."""
        tiles = scored_tiles(predictions)
        return Scores(
            dict(tiles.scores().headline()), bootstrap_intervals(tiles, self._resamples, self._seed)
        )

    def compare(self, reduced: Sequence[TilePrediction]) -> dict[str, Difference]:
        """Return the scores of ``reduced``, on the same tiles in the same order, less those of the whole."""
        return paired_differences(scored_tiles(reduced), self._whole, self._resamples, self._seed)
