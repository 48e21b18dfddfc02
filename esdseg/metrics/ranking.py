"""Area under the ROC curve of each class against the rest, over all cells at once.

The area is the share of pairs of a positive and a negative cell that the scores put in the right order, ties
counting half (Hanley and McNeil, Radiology 143, 1982). Counting the pairs tile by tile makes the area of any
resample of tiles exact and nearly free.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import FloatArray, IntArray, divide, json_number, keyed_by_class, mean_of_defined
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL

MAX_SCORE_BINS = 8192
"""Distinct scores kept apart; beyond them the histograms have bins of equal mass. Bounds their memory."""


def score_histograms(
    truths: Sequence[npt.NDArray[np.integer]], scores: Sequence[npt.NDArray[np.floating]], class_index: int
) -> tuple[FloatArray, FloatArray]:
    """Count each tile's scores of one class over bins that all tiles share.

    Args:
        truths: For each tile its label indices, shape (cells,), all known.
        scores: For each tile the scores of the class, shape (cells,).
        class_index: Label index of the class that counts as positive.

    Returns:
        Counts of positive and of negative cells, each of shape (tiles, bins), bins by rising score. Every
        distinct score is a bin of its own up to :data:`MAX_SCORE_BINS` of them.
    """
    truth, score = np.concatenate(truths), np.concatenate(scores)
    tile = np.repeat(np.arange(len(truths)), [part.size for part in truths])
    distinct, bins = np.unique(score, return_inverse=True)
    number_of_bins = distinct.size
    if number_of_bins > MAX_SCORE_BINS:
        ranks = np.linspace(0, score.size, MAX_SCORE_BINS, endpoint=False).astype(np.intp)[1:]
        edges = np.unique(np.sort(score)[ranks])
        bins = np.searchsorted(edges, score, side="right")
        number_of_bins = edges.size + 1
    positive = truth == class_index
    histograms = np.zeros((2, len(truths), number_of_bins))
    np.add.at(histograms, (positive.astype(np.int64), tile, bins), 1.0)
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


def area_under_roc(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> FloatArray:
    """Compute the area under the ROC curve of each class against the rest, exactly.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Scores of the classes, shape (cells, 4).

    Returns:
        Areas, shape (4,); NaN for a class that is in no cell or in every cell.
    """
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    labels, scores = labels[known], np.asarray(probabilities)[known]
    return np.array([_area(labels == index, scores[:, index]) for index in range(NUM_CLASSES)])


def _area(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.floating]) -> float:
    _, bins = np.unique(score, return_inverse=True)
    size = int(bins.max()) + 1 if bins.size else 0
    won = np.bincount(bins[positive], minlength=size)[None].astype(np.float64)
    lost = np.bincount(bins[~positive], minlength=size)[None].astype(np.float64)
    return float(divide(pairwise_wins(won, lost)[0, 0], won.sum() * lost.sum()))


def resampled_areas(
    truths: Sequence[npt.NDArray[np.integer]],
    probabilities: Sequence[npt.NDArray[np.floating]],
    weights: IntArray,
) -> FloatArray:
    """Compute the pooled area of each class for resamples of the tiles.

    Args:
        truths: For each tile its label indices 0 to 3, shape (cells,), all known.
        probabilities: For each tile its scores, shape (cells, 4).
        weights: How often each resample holds each tile, shape (resamples, tiles).

    Returns:
        Areas, shape (resamples, 4); NaN where a resample has no positive or no negative cell of a class.
    """
    areas = np.empty((len(weights), NUM_CLASSES))
    counts = weights.astype(np.float64)
    for index in range(NUM_CLASSES):
        scores = [np.asarray(part)[:, index] for part in probabilities]
        positives, negatives = score_histograms(truths, scores, index)
        wins = np.einsum("rt,rt->r", counts @ pairwise_wins(positives, negatives), counts)
        pairs = (counts @ positives.sum(axis=1)) * (counts @ negatives.sum(axis=1))
        areas[:, index] = divide(wins, pairs)
    return areas


def auc_scores(areas: FloatArray) -> dict[str, JsonValue]:
    """Name areas of shape (4,) as in ``metrics.json``: ``macro`` over the defined ones, and ``per_class``."""
    return {"macro": json_number(mean_of_defined(areas)), "per_class": keyed_by_class(areas)}
