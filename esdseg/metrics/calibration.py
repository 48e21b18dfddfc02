"""How far probabilities can be believed: calibration errors, and scores of the cells that a map is sure of.

A cell's confidence is the probability of its predicted class.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import FloatArray, IntArray, divide, json_number
from esdseg.metrics.confusion import confusion_matrix, headline_scores
from esdseg.sensors.classes import CONTEST_CLASS, NUM_CLASSES, UNKNOWN_LABEL

RELIABILITY_BINS = 15
"""Bins of equal width from 0 to 1 (Guo et al., On Calibration of Modern Neural Networks, ICML 2017)."""

COVERAGE_STEPS = 20
"""Shares of the cells at which a coverage-risk curve is read: every 5 %."""

SumsToOne = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Reliability:
    """Cells by confidence.

    Attributes:
        edges: Bounds of the bins, shape (bins + 1,), 0 to 1; a bin holds its upper bound.
        cells: Cells in each bin, shape (bins,).
        confidence: Their mean confidence, shape (bins,); NaN where there are none.
        accuracy: Share of them whose class is right, shape (bins,); NaN where there are none.
    """

    edges: FloatArray
    cells: IntArray
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def expected_calibration_error(self) -> float:
        """Mean gap between confidence and accuracy, bins weighted by cells; NaN without any cell."""
        gaps = np.abs(self.confidence - self.accuracy) * self.cells
        return float(divide(np.nansum(gaps), self.cells.sum()))


@dataclass(frozen=True)
class CoverageCurve:
    """Scores of the most confident cells, from few to all.

    Attributes:
        cells: How many they are, shape (points,).
        share: The same as a share of all cells, shape (points,).
        confidence: The least confident of them, shape (points,).
        scores: Headline scores of these cells alone by name, each of shape (points,).
    """

    cells: IntArray
    share: FloatArray
    confidence: FloatArray
    scores: dict[str, FloatArray]


def reliability(truth: npt.ArrayLike, probabilities: SumsToOne, bins: int = RELIABILITY_BINS) -> Reliability:
    """Sort cells into bins by their confidence.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
        bins: How many bins of equal width.
    """
    labels, known = _known(truth, probabilities)
    confidence, right = known.max(axis=1), known.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    position = np.searchsorted(edges[1:-1], confidence, side="left")
    cells = np.bincount(position, minlength=bins)
    return Reliability(
        edges=edges,
        cells=cells.astype(np.int64),
        confidence=divide(np.bincount(position, confidence, minlength=bins), cells),
        accuracy=divide(np.bincount(position, right, minlength=bins), cells),
    )


def brier_score(truth: npt.ArrayLike, probabilities: SumsToOne) -> float:
    """Mean squared distance of the probabilities from the truth (Brier, Monthly Weather Review 78, 1950).

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).

    Returns:
        The sum over classes, from 0 (sure and right) to 2 (sure and wrong); NaN without any cell.
    """
    labels, known = _known(truth, probabilities)
    return float(divide(((known - np.eye(NUM_CLASSES)[labels]) ** 2).sum(), labels.size))


def brier_score_of_class(truth: npt.ArrayLike, probabilities: SumsToOne, class_index: int) -> float:
    """Mean squared distance of one class' probability from the truth, class against the rest.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
        class_index: Label index of the class.

    Returns:
        From 0 (sure and right) to 1 (sure and wrong); NaN without any cell.
    """
    labels, known = _known(truth, probabilities)
    return float(divide(((known[:, class_index] - (labels == class_index)) ** 2).sum(), labels.size))


def coverage_curve(
    truth: npt.ArrayLike, probabilities: SumsToOne, steps: int = COVERAGE_STEPS
) -> CoverageCurve:
    """Score the most confident cells alone (selective classification; El-Yaniv and Wiener, JMLR 11, 2010).

    Cells of equal confidence are taken together, so that their order cannot move a score; a share may thus be
    larger than asked for, and there are fewer points where two of them meet.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
        steps: How many shares to read, evenly spaced up to all cells.
    """
    labels, known = _known(truth, probabilities)
    confidence, predicted = known.max(axis=1), known.argmax(axis=1)
    rising = np.sort(confidence)
    total = confidence.size
    wanted = np.unique(np.ceil(total * np.arange(1, steps + 1) / steps).astype(np.int64))
    thresholds = np.unique(rising[total - wanted[wanted > 0]])[::-1]
    confusions = np.zeros((thresholds.size, NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    for index, threshold in enumerate(thresholds):
        taken = confidence >= threshold
        confusions[index] = confusion_matrix(labels[taken], predicted[taken])
    cells = confusions.sum(axis=(1, 2))
    return CoverageCurve(cells, divide(cells, total), thresholds, headline_scores(confusions))


def calibration_scores(truth: npt.ArrayLike, probabilities: SumsToOne) -> dict[str, JsonValue]:
    """Compute all that ``metrics.json`` says of the probabilities under ``calibration``.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).

    Returns:
        ``expected_calibration_error``, ``brier``, ``brier_contest`` (class 1 against the rest),
        ``mean_confidence``, ``reliability`` (an entry a bin) and ``coverage`` (an entry a point);
        ``None`` where a value is undefined.
    """
    bins, curve = reliability(truth, probabilities), coverage_curve(truth, probabilities)
    mean_confidence = divide(np.nansum(bins.confidence * bins.cells), bins.cells.sum())
    contest = brier_score_of_class(truth, probabilities, CONTEST_CLASS.index)
    return {
        "expected_calibration_error": json_number(bins.expected_calibration_error),
        "brier": json_number(brier_score(truth, probabilities)),
        "brier_contest": json_number(contest),
        "mean_confidence": json_number(mean_confidence),
        "reliability": [
            {
                "low": float(bins.edges[index]),
                "high": float(bins.edges[index + 1]),
                "cells": int(bins.cells[index]),
                "confidence": json_number(bins.confidence[index]),
                "accuracy": json_number(bins.accuracy[index]),
            }
            for index in range(bins.cells.size)
        ],
        "coverage": [
            {
                "share": float(curve.share[index]),
                "cells": int(curve.cells[index]),
                "confidence": float(curve.confidence[index]),
                **{name: json_number(values[index]) for name, values in curve.scores.items()},
            }
            for index in range(curve.cells.size)
        ],
    }


def _known(truth: npt.ArrayLike, probabilities: SumsToOne) -> tuple[npt.NDArray[np.integer], FloatArray]:
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    return labels[known], np.asarray(probabilities, dtype=np.float64)[known]
