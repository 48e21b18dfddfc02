"""Paired differences of two runs on the same tiles, with error bars.

A hard tile is hard for every network, so the runs are scored on the same resamples of the tiles: what the
tiles do to all of them cancels out, and a difference is known better than either score (the paired bootstrap;
Koehn, Statistical Significance Tests for Machine Translation Evaluation, EMNLP 2004).
"""

from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from esdseg.metrics.arrays import FloatArray, IntArray, json_number
from esdseg.metrics.confusion import headline_scores
from esdseg.prediction.cells import Cells
from esdseg.scoring.bootstrap import draw_resamples, percentile_interval

PAIRED_SCORES = ("contest_f1", "f1_macro", "jaccard_macro", "accuracy")
"""The headline scores that counts of each tile give."""

AREA_SCORE = "auc_macro"
"""The headline score that needs every cell's probabilities."""


@dataclass(frozen=True)
class Difference:
    """How much better a run is than another on the same tiles.

    Attributes:
        value: Its score less the other's, -1 to 1; ``None`` where either is undefined.
        interval: 95 % interval from resampled tiles; ``None`` where there is none.
        win_probability: Share of the resamples in which it scores higher, ties counting half, 0 to 1;
            ``None`` where no resample defines both scores.
    """

    value: float | None
    interval: tuple[float, float] | None
    win_probability: float | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the difference as plain JSON types."""
        return {
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
            "win_probability": self.win_probability,
        }


def paired_differences(
    confusions: IntArray, reference: IntArray, resamples: int, seed: int
) -> dict[str, Difference]:
    """Compare two runs tile by tile.

    Args:
        confusions: Counts of each tile, shape (tiles, 4, 4).
        reference: Those of the run to compare with, on the same tiles in the same order.
        resamples: How many resamples to draw.
        seed: Seed of the draw; the same one gives the same differences.

    Returns:
        By the names of :data:`PAIRED_SCORES`. One tile says nothing of how tiles differ, so it gives neither
        intervals nor win probabilities.
    """
    tiles = len(confusions)
    mine, theirs = headline_scores(confusions.sum(axis=0)), headline_scores(reference.sum(axis=0))
    if tiles < 2:
        return {
            name: Difference(json_number(mine[name] - theirs[name]), None, None) for name in PAIRED_SCORES
        }
    weights = draw_resamples(tiles, resamples, seed)
    my_scores = headline_scores(np.tensordot(weights, confusions, axes=1))
    their_scores = headline_scores(np.tensordot(weights, reference, axes=1))
    return {
        name: _difference(float(mine[name] - theirs[name]), my_scores[name] - their_scores[name], tiles)
        for name in PAIRED_SCORES
    }


def paired_area_difference(run: Cells, reference: Cells, resamples: int, seed: int) -> Difference:
    """Compare the macro AUC of two runs; on the same resamples as :func:`paired_differences`.

    Args:
        run: Truth and probabilities of each tile.
        reference: Those of the run to compare with, on the same tiles in the same order.
        resamples: How many resamples to draw.
        seed: Seed of the draw.
    """
    tiles = len(run.truths)
    value = run.macro_area() - reference.macro_area()
    if tiles < 2:
        return Difference(json_number(value), None, None)
    weights = draw_resamples(tiles, resamples, seed)
    resampled = run.resampled_macro_areas(weights) - reference.resampled_macro_areas(weights)
    return _difference(value, resampled, tiles)


def _difference(value: float, resampled: FloatArray, tiles: int) -> Difference:
    if np.isnan(value):
        return Difference(None, None, None)
    return Difference(value, percentile_interval(resampled, tiles), win_probability(resampled))


def win_probability(differences: FloatArray) -> float | None:
    """Return the share of positive differences, 0 counting half and NaN not at all.

    Args:
        differences: Any number of them, shape (resamples,).
    """
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return None
    return float(np.mean((np.sign(defined) + 1) / 2))
