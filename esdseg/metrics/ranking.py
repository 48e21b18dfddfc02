"""How well scores rank the cells of a class above the others: ROC and precision-recall curves, and areas.

The area is the share of pairs of a positive and a negative cell that the scores put in the right order, ties
counting half (Hanley and McNeil, Radiology 143, 1982). Where several networks score different tiles, as the
folds of a run do, only pairs that one network scored count, since scores of different networks share no scale
(the covariate-adjusted area of Janes and Pepe, Biometrika 96, 2009, each network weighing as many pairs as it
scored). Counting the pairs tile by tile makes the area of any resample of tiles nearly free.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esdseg.metrics.scorecard import PrecisionRecallCurve, RocCurve
from esdseg.metrics.scores import FloatArray, IntArray, divide
from esdseg.sensors.classes import CLASSES, NUM_CLASSES, UNKNOWN_LABEL

MAX_SCORE_BINS = 8192
"""Distinct scores kept apart; beyond them the histograms have bins of equal mass. Bounds their memory."""

MAX_CURVE_POINTS = 100
"""Points kept of a curve."""

STORED_DECIMALS = 5
"""Finer than a curve of :data:`MAX_CURVE_POINTS` points can be read."""


@dataclass(frozen=True)
class ScoredCells:
    """The cells of several tiles whose class is known, with what a network says of them.

    Attributes:
        truths: Label indices of each tile's cells, 0 to 3, shape (cells,).
        probabilities: Their class probabilities, shape (cells, 4).
        networks: For each tile a number that tells the networks apart which predicted the tiles.
    """

    truths: Sequence[npt.NDArray[np.integer]]
    probabilities: Sequence[npt.NDArray[np.floating]]
    networks: Sequence[int]

    @property
    def truth(self) -> npt.NDArray[np.integer]:
        """Label indices of all cells, tile after tile, shape (cells,)."""
        return np.concatenate(self.truths)

    @property
    def all_probabilities(self) -> npt.NDArray[np.floating]:
        """Class probabilities of all cells, tile after tile, shape (cells, 4)."""
        return np.concatenate(self.probabilities)

    def areas(self) -> FloatArray:
        """Compute the area under the ROC curve of each class, exactly: see :func:`area_under_roc`."""
        networks = np.repeat(self.networks, [truth.size for truth in self.truths])
        return area_under_roc(self.truth, self.all_probabilities, networks)

    def resampled_areas(self, weights: IntArray) -> FloatArray:
        """Compute the area of each class for resamples of the tiles.

        Args:
            weights: How often each resample holds each tile, shape (resamples, tiles).

        Returns:
            Areas, shape (resamples, 4); NaN where no network of a resample has both positive and negative
            cells of a class.
        """
        networks = np.asarray(self.networks)
        counts = weights.astype(np.float64)
        areas = np.empty((len(weights), NUM_CLASSES))
        for index in range(NUM_CLASSES):
            positives, negatives = self._score_histograms(index)
            wins, pairs = np.zeros((2, len(weights)))
            for network in np.unique(networks):
                mine = networks == network
                drawn = counts[:, mine]
                won = pairwise_wins(positives[mine], negatives[mine])
                wins += np.einsum("rt,rt->r", drawn @ won, drawn)
                pairs += (drawn @ positives[mine].sum(axis=1)) * (drawn @ negatives[mine].sum(axis=1))
            areas[:, index] = divide(wins, pairs)
        return areas

    def _score_histograms(self, class_index: int) -> tuple[FloatArray, FloatArray]:
        """Count the scores of a class over bins that all tiles share, the bins by rising score.

        Returns:
            Counts of positive and of negative cells, each of shape (tiles, bins). Every distinct score is a
            bin of its own up to :data:`MAX_SCORE_BINS` of them.
        """
        truth, score = self.truth, self.all_probabilities[:, class_index]
        tile = np.repeat(np.arange(len(self.truths)), [truth.size for truth in self.truths])
        distinct, bins = np.unique(score, return_inverse=True)
        number_of_bins = distinct.size
        if number_of_bins > MAX_SCORE_BINS:
            ranks = np.linspace(0, score.size, MAX_SCORE_BINS, endpoint=False).astype(np.intp)[1:]
            edges = np.unique(np.sort(score)[ranks])
            bins = np.searchsorted(edges, score, side="right")
            number_of_bins = edges.size + 1
        histograms = np.zeros((2, len(self.truths), number_of_bins))
        np.add.at(histograms, ((truth == class_index).astype(np.int64), tile, bins), 1.0)
        return histograms[1], histograms[0]


def pairwise_wins(positives: FloatArray, negatives: FloatArray) -> FloatArray:
    """Count, for each pair of tiles, how often a positive cell outranks a negative one; ties count half.

    Args:
        positives: Histograms of the positive cells' scores, shape (tiles, bins).
        negatives: Histograms of the negative cells' scores, shape (tiles, bins).

    Returns:
        Wins of the positives of tile i over the negatives of tile j, shape (tiles, tiles).
    """
    below = np.cumsum(negatives, axis=1) - negatives
    return positives @ (below + 0.5 * negatives).T


def area_under_roc(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, networks: npt.ArrayLike = 0
) -> FloatArray:
    """Compute the area under the ROC curve of each class against the rest, exactly.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Scores of the classes, shape (cells, 4).
        networks: Which network scored each cell, shape (cells,); one for all unless given. Pairs of cells
            that different networks scored do not count.

    Returns:
        Areas, shape (4,); NaN for a class that is, for every network, in no cell or in every cell.
    """
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    scored_by = np.broadcast_to(networks, labels.shape)[known]
    labels, scores = labels[known], np.asarray(probabilities)[known]
    wins, pairs = np.zeros((2, NUM_CLASSES))
    for network in np.unique(scored_by):
        mine = scored_by == network
        for index in range(NUM_CLASSES):
            won, count = _wins_and_pairs(labels[mine] == index, scores[mine, index])
            wins[index] += won
            pairs[index] += count
    return divide(wins, pairs)


def _wins_and_pairs(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.floating]) -> tuple[float, float]:
    _, bins = np.unique(score, return_inverse=True)
    size = int(bins.max()) + 1 if bins.size else 0
    positives = np.bincount(bins[positive], minlength=size)[None].astype(np.float64)
    negatives = np.bincount(bins[~positive], minlength=size)[None].astype(np.float64)
    return float(pairwise_wins(positives, negatives)[0, 0]), float(positives.sum() * negatives.sum())


def roc_curves(
    truth: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> dict[str, RocCurve | None]:
    """Compute the ROC curve of each class against the rest, over one threshold for all cells.

    Args:
        truth: Label indices 0 to 3, shape (cells,), all known.
        probabilities: Of each class, shape (cells, 4).

    Returns:
        Thinned curves by class name; ``None`` for a class that is in no cell or in every cell.
    """
    from sklearn.metrics import roc_curve

    curves: dict[str, RocCurve | None] = {}
    for label_class in CLASSES:
        positive = truth == label_class.index
        if positive.all() or not positive.any():
            curves[label_class.name] = None
            continue
        false_rate, true_rate, _ = roc_curve(
            positive, probabilities[:, label_class.index], drop_intermediate=False
        )
        false_rate, true_rate = thin(false_rate, true_rate)
        curves[label_class.name] = RocCurve(
            false_positive_rate=_stored(false_rate), true_positive_rate=_stored(true_rate)
        )
    return curves


def precision_recall_curves(
    truth: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> dict[str, PrecisionRecallCurve | None]:
    """Compute the precision-recall curve of each class; as :func:`roc_curves`, recall rising from 0 to 1."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves: dict[str, PrecisionRecallCurve | None] = {}
    for label_class in CLASSES:
        positive, score = truth == label_class.index, probabilities[:, label_class.index]
        if positive.all() or not positive.any():
            curves[label_class.name] = None
            continue
        precision, recall, _ = precision_recall_curve(positive, score)
        # Thresholds below the one that finds all cells add nothing.
        end = int(np.argmax(recall[::-1] == 1)) + 1
        kept_recall, kept_precision = thin(recall[::-1][:end], precision[::-1][:end])
        curves[label_class.name] = PrecisionRecallCurve(
            recall=_stored(kept_recall),
            precision=_stored(kept_precision),
            average_precision=float(average_precision_score(positive, score)),
        )
    return curves


def thin(x: FloatArray, y: FloatArray, points: int = MAX_CURVE_POINTS) -> tuple[FloatArray, FloatArray]:
    """Keep points of a curve at even distances along it, and both its ends.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        points: How many to keep at most, 2 or more.
    """
    along = np.concatenate([[0.0], np.hypot(np.diff(x), np.diff(y)).cumsum()])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], points)).clip(max=x.size - 1))
    return x[kept], y[kept]


def _stored(values: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(value), STORED_DECIMALS) for value in values)
