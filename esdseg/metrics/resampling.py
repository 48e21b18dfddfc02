"""Error bars from resampling parent tiles: 95 % intervals of scores, and of differences between two runs.

Cells of a tile are strongly alike, so the tile is what is drawn (the cluster bootstrap; Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8). Each resample is scored from the pooled counts of
its tiles, as the split itself is. Two runs are compared on the same resamples: a hard tile is hard for every
network, so what the tiles do to both cancels out (the paired bootstrap; Koehn, Statistical Significance Tests
for Machine Translation Evaluation, EMNLP 2004).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from esdseg.metrics.ranking import ScoredCells
from esdseg.metrics.scorecard import ClassificationScores, Difference, HeadlineScores, Interval
from esdseg.metrics.scores import (
    FloatArray,
    IntArray,
    classification_scores,
    headline_scores,
    mean_of_defined,
    per_class_scores,
    score_or_none,
)
from esdseg.sensors.classes import CLASS_NAMES, NUM_CLASSES

INTERVAL_SCORES = tuple(HeadlineScores.model_fields)
"""The scores that carry an interval."""

LEVEL = 0.95
FEW_TILES = 8
"""Below so many tiles an interval is known to be too narrow, which is then said, and no share of wins is
given."""


@dataclass(frozen=True)
class ScoredTiles:
    """Tiles of one run, as far as scores of resamples need them.

    Attributes:
        confusions: Counts of each tile, shape (tiles, 4, 4).
        cells: The tiles' known cells, for the AUC; ``None`` where only the counts are known.
    """

    confusions: IntArray
    cells: ScoredCells | None

    def headline(self) -> dict[str, float]:
        """Return the scores of all tiles together, by name; NaN where one is undefined."""
        scores = {name: float(value) for name, value in headline_scores(self.confusions.sum(axis=0)).items()}
        if self.cells is not None:
            scores["auc_macro"] = float(mean_of_defined(self.cells.areas()))
        return scores

    def scores(self) -> ClassificationScores:
        """Score all tiles together; the AUC is undefined where only counts are known."""
        areas = np.full(NUM_CLASSES, np.nan) if self.cells is None else self.cells.areas()
        return classification_scores(self.confusions.sum(axis=0), areas)

    def resampled_headline(self, weights: IntArray) -> dict[str, FloatArray]:
        """Score resamples of the tiles.

        Args:
            weights: How often each resample holds each tile, shape (resamples, tiles).

        Returns:
            Scores by name, each of shape (resamples,); NaN where a resample leaves a score undefined.
        """
        scores = headline_scores(np.tensordot(weights, self.confusions, axes=1))
        if self.cells is not None:
            scores["auc_macro"] = mean_of_defined(self.cells.resampled_areas(weights))
        return scores


def draw_resamples(tiles: int, resamples: int, seed: int) -> IntArray:
    """Draw tiles with replacement, each resample as many as there are.

    Returns:
        How often each resample holds each tile, shape (resamples, tiles).
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(tiles, np.full(tiles, 1 / tiles), size=resamples)


def tail_share(tiles: int) -> float:
    """Return the share of resamples to cut off at each end for a 95 % interval.

    Cutting off 2.5 % is right only for very many tiles. The expanded percentile interval reaches as far as
    Student's t does (Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69,
    2015).

    Args:
        tiles: How many were resampled, at least 2.

    Returns:
        From 0 to 0.025.
    """
    reach = np.sqrt(tiles / (tiles - 1)) * stdtrit(tiles - 1, (1 + LEVEL) / 2)
    return float(ndtr(-reach))


def percentile_interval(values: FloatArray, tiles: int) -> Interval | None:
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


def bootstrap_intervals(tiles: ScoredTiles, resamples: int, seed: int) -> dict[str, Interval | None]:
    """Compute the 95 % interval of each headline score.

    Args:
        tiles: What is resampled.
        resamples: How many resamples to draw.
        seed: Seed of the draw; the same one gives the same intervals.

    Returns:
        Intervals by score; ``None`` for an undefined score, and for all where there is one tile alone, since
        it says nothing of how tiles differ.
    """
    count = len(tiles.confusions)
    if count < 2:
        return dict.fromkeys(INTERVAL_SCORES)
    scores = tiles.resampled_headline(draw_resamples(count, resamples, seed))
    return {name: percentile_interval(scores[name], count) for name in INTERVAL_SCORES}


def class_f1_intervals(confusions: IntArray, resamples: int, seed: int) -> dict[str, Interval | None]:
    """Compute the 95 % interval of the F1 of each class against the rest.

    Args:
        confusions: Counts of each tile, shape (tiles, 4, 4).
        resamples: How many resamples to draw.
        seed: Seed of the draw; with that of :func:`bootstrap_intervals` the contest's class has the interval
            of the contest's F1.

    Returns:
        Intervals by class name; ``None`` where the F1 is undefined, and for all where there is one tile.
    """
    count = len(confusions)
    if count < 2:
        return dict.fromkeys(CLASS_NAMES)
    weights = draw_resamples(count, resamples, seed)
    scores = per_class_scores(np.tensordot(weights, confusions, axes=1))["f1"]
    return {name: percentile_interval(scores[:, index], count) for index, name in enumerate(CLASS_NAMES)}


def paired_differences(
    run: ScoredTiles, reference: ScoredTiles, resamples: int, seed: int
) -> dict[str, Difference]:
    """Compare two runs on the same tiles.

    Args:
        run: Scored tiles of the run.
        reference: The same tiles, in the same order, of the run to compare with.
        resamples: How many resamples to draw.
        seed: Seed of the draw; the same one gives the same differences.

    Returns:
        The run's scores less the reference's, by score; without ``auc_macro`` where the cells of either are
        not known. One tile gives no intervals.
    """
    mine, theirs = run.headline(), reference.headline()
    shared = [name for name in INTERVAL_SCORES if name in mine and name in theirs]
    values = {name: mine[name] - theirs[name] for name in shared}
    count = len(run.confusions)
    if count < 2:
        return {
            name: Difference(value=score_or_none(value), interval=None, win_probability=None)
            for name, value in values.items()
        }
    weights = draw_resamples(count, resamples, seed)
    my_scores, their_scores = run.resampled_headline(weights), reference.resampled_headline(weights)
    return {
        name: _difference(value, my_scores[name] - their_scores[name], count)
        for name, value in values.items()
    }


def _difference(value: float, resampled: FloatArray, tiles: int) -> Difference:
    if np.isnan(value):
        return Difference(value=None, interval=None, win_probability=None)
    return Difference(
        value=value,
        interval=percentile_interval(resampled, tiles),
        win_probability=win_probability(resampled) if tiles >= FEW_TILES else None,
    )


def win_probability(differences: FloatArray) -> float | None:
    """Return the share of positive differences, 0 counting half and NaN not at all.

    One win and one loss are counted beside the resamples, as a Monte Carlo test counts what was observed
    (Davison and Hinkley, 1997, equation 4.11): no number of resamples shows that a run always wins.

    Args:
        differences: Any number of them, shape (resamples,).

    Returns:
        Above 0 and below 1; ``None`` where no difference is defined.
    """
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return None
    wins = float(np.sum((np.sign(defined) + 1) / 2))
    return (wins + 1) / (defined.size + 2)


def few_tiles_notes(tiles: int) -> tuple[str, ...]:
    """Return a warning where tiles are too few for sound intervals."""
    if tiles < 2:
        return ("One tile says nothing of how tiles differ: there are no intervals.",)
    if tiles < FEW_TILES:
        return (
            f"The intervals come from {tiles} tiles alone; below {FEW_TILES} they are rough, and rather too "
            "narrow.",
        )
    return ()
