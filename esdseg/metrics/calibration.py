"""How far probabilities can be believed, and the temperature and threshold that make more of them.

A cell's confidence is the probability of its predicted class.
"""

import numpy as np
import numpy.typing as npt

from esdseg.metrics.scorecard import Calibration, ConfidenceScores, CoveragePoint, ReliabilityBin
from esdseg.metrics.scores import (
    FloatArray,
    IntArray,
    confusion_matrix,
    divide,
    headline_scores,
    score_or_none,
)
from esdseg.sensors.classes import CONTEST_CLASS, NUM_CLASSES, UNKNOWN_LABEL

RELIABILITY_BINS = 15
"""Bins of equal width from 0 to 1 (Guo et al., On Calibration of Modern Neural Networks, ICML 2017)."""

COVERAGE_STEPS = 20
"""Shares of the cells at which a coverage-risk curve is read: every 5 %."""

TEMPERATURE_LIMITS = (0.05, 20.0)
"""Cells that a network tells apart without a mistake would call for a temperature of 0."""

_LOG_TEMPERATURE_PRECISION = 1e-7


def calibration_scores(truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]) -> Calibration:
    """Say how far probabilities can be believed.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
    """
    return Calibration(
        **dict(confidence_scores(truth, probabilities)),
        reliability=reliability_bins(truth, probabilities),
        coverage=coverage_curve(truth, probabilities),
    )


def confidence_scores(truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]) -> ConfidenceScores:
    """Compute calibration error, Brier scores and mean confidence; arguments as of :func:`brier_score`."""
    _, known = _known_cells(truth, probabilities)
    return ConfidenceScores(
        expected_calibration_error=expected_calibration_error(reliability_bins(truth, probabilities)),
        brier=score_or_none(brier_score(truth, probabilities)),
        brier_contest=score_or_none(brier_score_of_class(truth, probabilities, CONTEST_CLASS.index)),
        mean_confidence=score_or_none(divide(known.max(axis=1).sum(), len(known))),
    )


def reliability_bins(
    truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating], bins: int = RELIABILITY_BINS
) -> tuple[ReliabilityBin, ...]:
    """Sort cells into bins by their confidence; a bin holds its upper bound.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
        bins: How many bins of equal width.
    """
    labels, known = _known_cells(truth, probabilities)
    confidence, right = known.max(axis=1), known.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    position = np.searchsorted(edges[1:-1], confidence, side="left")
    cells = np.bincount(position, minlength=bins)
    mean_confidence = divide(np.bincount(position, confidence, minlength=bins), cells)
    accuracy = divide(np.bincount(position, right, minlength=bins), cells)
    return tuple(
        ReliabilityBin(
            low=edges[index],
            high=edges[index + 1],
            cells=int(cells[index]),
            confidence=score_or_none(mean_confidence[index]),
            accuracy=score_or_none(accuracy[index]),
        )
        for index in range(bins)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float | None:
    """Return the mean gap between confidence and accuracy, bins weighted by cells; ``None`` without cells."""
    gaps = [
        reliability_bin.cells * abs((reliability_bin.confidence or 0.0) - (reliability_bin.accuracy or 0.0))
        for reliability_bin in bins
    ]
    return score_or_none(divide(sum(gaps), sum(reliability_bin.cells for reliability_bin in bins)))


def brier_score(truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]) -> float:
    """Return the mean squared distance of the probabilities from the truth (Brier, Mon. Wea. Rev. 78, 1950).

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).

    Returns:
        The sum over classes, from 0 (sure and right) to 2 (sure and wrong); NaN without any cell.
    """
    labels, known = _known_cells(truth, probabilities)
    return float(divide(((known - np.eye(NUM_CLASSES)[labels]) ** 2).sum(), labels.size))


def brier_score_of_class(
    truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating], class_index: int
) -> float:
    """Return the mean squared distance of one class' probability from the truth, class against the rest.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
        class_index: Label index of the class.

    Returns:
        From 0 (sure and right) to 1 (sure and wrong); NaN without any cell.
    """
    labels, known = _known_cells(truth, probabilities)
    return float(divide(((known[:, class_index] - (labels == class_index)) ** 2).sum(), labels.size))


def coverage_curve(
    truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]
) -> tuple[CoveragePoint, ...]:
    """Score the most confident cells alone (selective classification; El-Yaniv and Wiener, JMLR 11, 2010).

    Cells of equal confidence are taken together, so that their order cannot move a score; a share may thus be
    larger than asked for, and there are fewer points where two of them meet.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).
    """
    labels, known = _known_cells(truth, probabilities)
    confidence, predicted = known.max(axis=1), known.argmax(axis=1)
    rising = np.sort(confidence)
    total = confidence.size
    wanted = np.unique(np.ceil(total * np.arange(1, COVERAGE_STEPS + 1) / COVERAGE_STEPS).astype(np.int64))
    points = []
    for threshold in np.unique(rising[total - wanted[wanted > 0]])[::-1]:
        taken = confidence >= threshold
        scores = headline_scores(confusion_matrix(labels[taken], predicted[taken]))
        points.append(
            CoveragePoint(
                share=taken.mean(),
                cells=int(taken.sum()),
                confidence=threshold,
                **{name: score_or_none(value) for name, value in scores.items()},
            )
        )
    return tuple(points)


def negative_log_likelihood(
    truth: npt.ArrayLike, logits: npt.NDArray[np.floating], temperature: float = 1.0
) -> float:
    """Compute the mean negative logarithm of the true class' probability.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        logits: Class scores before the softmax, shape (cells, 4).
        temperature: What they are divided by.

    Returns:
        From 0 up; NaN without any cell.
    """
    labels, known = _known_cells(truth, logits)
    if not labels.size:
        return float("nan")
    scaled = known / temperature
    highest = scaled.max(axis=1)
    log_sums = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
    return float(np.mean(log_sums - scaled[np.arange(labels.size), labels]))


def fit_temperature(truth: npt.ArrayLike, logits: npt.NDArray[np.floating]) -> float:
    """Find the temperature at which the true classes are most likely.

    Logits are divided by the temperature before the softmax (Guo et al., ICML 2017); which class is the most
    probable does not change. The likelihood has one peak, since its negative logarithm is convex in the
    inverse of the temperature.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        logits: Class scores before the softmax, shape (cells, 4).

    Returns:
        A temperature within :data:`TEMPERATURE_LIMITS`: above 1 the network was too sure; 1 without any cell.
    """
    # SciPy's optimisers take a moment to import, and only fits need them.
    from scipy.optimize import minimize_scalar

    labels, known = _known_cells(truth, logits)
    if not labels.size:
        return 1.0
    low, high = np.log(TEMPERATURE_LIMITS)
    found = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(labels, known, float(np.exp(log_temperature))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": _LOG_TEMPERATURE_PRECISION},
    )
    return float(np.exp(found.x))


def threshold_counts(
    truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating], threshold: float
) -> IntArray:
    """Count cells of class 1 against the rest.

    Args:
        truth: Label indices 0 to 3, any shape; cells of 255 (unknown) are left out.
        probabilities: Of class 1, same shape.
        threshold: A cell is predicted to be class 1 from this probability on.

    Returns:
        True positives, false positives and false negatives, shape (3,).
    """
    labels, scores = _known_cells(truth, probabilities)
    is_true, is_found = labels == CONTEST_CLASS.index, scores >= threshold
    return np.array(
        [(is_true & is_found).sum(), (~is_true & is_found).sum(), (is_true & ~is_found).sum()], dtype=np.int64
    )


def f1_from_counts(counts: IntArray) -> FloatArray:
    """Return the F1 of counts (..., 3) as :func:`threshold_counts` gives them; NaN where all are 0."""
    right, false, missed = np.moveaxis(counts, -1, 0)
    return divide(2 * right, 2 * right + false + missed)


def best_threshold(truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]) -> float | None:
    """Find the threshold on the probability of class 1 that gives the highest F1.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of class 1, shape (cells,), 0 to 1.

    Returns:
        The middle between the lowest probability that is class 1 and the next one below; of several equally
        good ones that which calls the fewest cells class 1. ``None`` without cells of class 1.
    """
    labels, scores = _known_cells(truth, probabilities)
    is_true = labels == CONTEST_CLASS.index
    if not is_true.any():
        return None
    falling = np.argsort(-scores, kind="stable")
    scores = scores[falling]
    right = np.cumsum(is_true[falling])
    found = np.arange(1, scores.size + 1)
    f1 = 2 * right / (found + is_true.sum())
    # Cells of one probability are class 1 together, so a cut lies after the last of them.
    following = np.append(scores[1:], 0.0)
    is_cut = scores != np.append(scores[1:], -1.0)
    best = int(np.argmax(np.where(is_cut, f1, -1.0)))
    return float((scores[best] + following[best]) / 2)


def _known_cells(
    truth: npt.ArrayLike, values: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.integer], FloatArray]:
    """Return labels and values of the cells whose class is known."""
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    return labels[known], np.asarray(values, dtype=np.float64)[known]
