"""The contest's F1 where a cell is class 1 from some probability on, not where class 1 is the likeliest."""

import numpy as np
import numpy.typing as npt

from esdseg.metrics.arrays import FloatArray, IntArray, divide
from esdseg.sensors.classes import CONTEST_CLASS, UNKNOWN_LABEL


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
    labels, scores = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    known = labels != UNKNOWN_LABEL
    is_true, is_found = labels[known] == CONTEST_CLASS.index, scores[known] >= threshold
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
    labels, scores = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    known = labels != UNKNOWN_LABEL
    is_true, scores = labels[known] == CONTEST_CLASS.index, scores[known]
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
