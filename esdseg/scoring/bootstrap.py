"""Error bars: 95 % intervals from resampling parent tiles.

Cells of a tile are strongly alike, so the tile is what is drawn (the cluster bootstrap; Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8). Each resample is scored from the pooled counts of
its tiles, as the split itself is.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue
from scipy.special import ndtr, stdtrit

from esdseg.metrics.arrays import FloatArray, IntArray, mean_of_defined
from esdseg.metrics.confusion import headline_scores
from esdseg.metrics.ranking import resampled_areas

INTERVAL_SCORES = ("accuracy", "jaccard_macro", "f1_macro", "auc_macro", "contest_f1")
"""The headline scores: those that carry an interval."""

LEVEL = 0.95
FEW_TILES = 8
"""Below so many tiles an interval is known to be too narrow, which is then said."""


def draw_resamples(tiles: int, resamples: int, seed: int) -> IntArray:
    """Draw tiles with replacement, each resample as many as there are.

    Returns:
        How often each resample holds each tile, shape (resamples, tiles).
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(tiles, np.full(tiles, 1 / tiles), size=resamples)


def resampled_scores(
    confusions: IntArray,
    truths: Sequence[npt.NDArray[np.integer]],
    probabilities: Sequence[npt.NDArray[np.floating]],
    weights: IntArray,
) -> dict[str, FloatArray]:
    """Score every resample.

    Args:
        confusions: Counts of each tile, shape (tiles, 4, 4).
        truths: For each tile the label indices of its known cells, shape (cells,).
        probabilities: For each tile the class probabilities of these cells, shape (cells, 4).
        weights: How often each resample holds each tile, shape (resamples, tiles).

    Returns:
        The scores of :data:`INTERVAL_SCORES`, each of shape (resamples,); NaN where a resample leaves a score
        undefined.
    """
    pooled = np.tensordot(weights, confusions, axes=1)
    areas = resampled_areas(truths, probabilities, weights)
    return {**headline_scores(pooled), "auc_macro": mean_of_defined(areas)}


def tail_share(tiles: int) -> float:
    """Return the share of resamples to cut off at each end for a 95 % interval.

    Cutting off 2.5 % is right for very many tiles alone. The expanded percentile interval reaches as far as
    Student's t does (Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69,
    2015).

    Args:
        tiles: How many were resampled, at least 2.

    Returns:
        From 0 to 0.025.
    """
    reach = np.sqrt(tiles / (tiles - 1)) * stdtrit(tiles - 1, (1 + LEVEL) / 2)
    return float(ndtr(-reach))


def percentile_interval(values: FloatArray, tiles: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a score from its resamples.

    Args:
        values: The score of each resample, shape (resamples,); NaN where it is undefined.
        tiles: How many tiles were resampled, at least 2.

    Returns:
        The interval, ``None`` where no value is defined.
    """
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [tail_share(tiles), 1 - tail_share(tiles)])
    return float(low), float(high)


def bootstrap_intervals(
    confusions: IntArray,
    truths: Sequence[npt.NDArray[np.integer]],
    probabilities: Sequence[npt.NDArray[np.floating]],
    resamples: int,
    seed: int,
) -> dict[str, JsonValue]:
    """Compute the 95 % interval of each headline score.

    Args:
        confusions: Counts of each tile, shape (tiles, 4, 4).
        truths: For each tile the label indices of its known cells, shape (cells,).
        probabilities: For each tile the class probabilities of these cells, shape (cells, 4).
        resamples: How many resamples to draw.
        seed: Seed of the draw; the same one gives the same intervals.

    Returns:
        ``[low, high]`` by the names of :data:`INTERVAL_SCORES`; ``None`` for an undefined score, and for all
        where there is one tile alone, since it says nothing of how tiles differ.
    """
    if len(confusions) < 2:
        return dict.fromkeys(INTERVAL_SCORES)
    weights = draw_resamples(len(confusions), resamples, seed)
    scores = resampled_scores(confusions, truths, probabilities, weights)
    intervals = {name: percentile_interval(scores[name], len(confusions)) for name in INTERVAL_SCORES}
    return {name: None if interval is None else list(interval) for name, interval in intervals.items()}
