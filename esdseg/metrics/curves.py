"""ROC and precision-recall curves of each class against the rest, thin enough to be stored and drawn."""

import heapq

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import FloatArray, IntArray, divide
from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL

MAX_CURVE_POINTS = 100
"""Points kept of a curve: those without which it would bend furthest from its course."""

STORED_DECIMALS = 5
"""Finer than a curve of :data:`MAX_CURVE_POINTS` points can be read."""


def curve_scores(truth: npt.ArrayLike, probabilities: npt.NDArray[np.floating]) -> dict[str, JsonValue]:
    """Compute what ``metrics.json`` says under ``roc`` and ``precision_recall``.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        probabilities: Of each class, shape (cells, 4).

    Returns:
        ``roc`` with ``false_positive_rate`` and ``true_positive_rate``, and ``precision_recall`` with
        ``recall``, ``precision`` and ``average_precision``, of each class by its name; ``None`` for a class
        that is in no cell or in every cell.
    """
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    labels, scores = labels[known], np.asarray(probabilities)[known]
    roc: dict[str, JsonValue] = {}
    precision_recall: dict[str, JsonValue] = {}
    for one in CLASSES:
        positive, score = labels == one.index, scores[:, one.index]
        if positive.all() or not positive.any():
            roc[one.name] = precision_recall[one.name] = None
            continue
        false_rate, true_rate = roc_curve(positive, score)
        kept = thin(false_rate, true_rate)
        roc[one.name] = {
            "false_positive_rate": _stored(false_rate[kept]),
            "true_positive_rate": _stored(true_rate[kept]),
        }
        recall, precision = precision_recall_curve(positive, score)
        kept = thin(recall, precision)
        precision_recall[one.name] = {
            "recall": _stored(recall[kept]),
            "precision": _stored(precision[kept]),
            "average_precision": average_precision(recall, precision),
        }
    return {"roc": roc, "precision_recall": precision_recall}


def roc_curve(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rate at every distinct threshold, from none positive to all.

    Args:
        positive: Which cells are of the class, shape (cells,); some are, some are not.
        score: The higher, the more likely of the class, shape (cells,).

    Returns:
        Both of shape (thresholds + 1,), rising from 0 to 1.
    """
    hits, false_alarms = _counts_above(positive, score)
    return (
        np.concatenate([[0.0], divide(false_alarms, false_alarms[-1])]),
        np.concatenate([[0.0], divide(hits, hits[-1])]),
    )


def precision_recall_curve(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Return recall and precision at every distinct threshold, from the highest to the lowest.

    Args:
        positive: Which cells are of the class, shape (cells,); at least one is.
        score: The higher, the more likely of the class, shape (cells,).

    Returns:
        Both of shape (points,); recall rises from 0 to 1, where the curve ends. Without any cell above the
        threshold the precision is taken to be 1, as scikit-learn does.
    """
    hits, false_alarms = _counts_above(positive, score)
    end = int(np.argmax(hits == hits[-1])) + 1
    hits, false_alarms = hits[:end], false_alarms[:end]
    return (
        np.concatenate([[0.0], divide(hits, hits[-1])]),
        np.concatenate([[1.0], divide(hits, hits + false_alarms)]),
    )


def average_precision(recall: FloatArray, precision: FloatArray) -> float:
    """Return the area under the steps of a whole precision-recall curve, recall rising."""
    return float(np.sum(np.diff(recall) * precision[1:]))


def thin(x: FloatArray, y: FloatArray, points: int = MAX_CURVE_POINTS) -> IntArray:
    """Choose the points of a curve that keep its shape.

    Starting from both ends, the point furthest from the line between its kept neighbours is kept next
    (Ramer 1972; Douglas and Peucker 1973).

    Args:
        x: Shape (n,).
        y: Shape (n,).
        points: How many to keep at most, 2 or more.

    Returns:
        Positions of the kept points, rising; fewer where the others lie on the lines between them.
    """
    kept = {0, x.size - 1}
    waiting: list[tuple[float, int, int, int]] = []

    def consider(first: int, last: int) -> None:
        if last - first < 2:
            return
        between = slice(first + 1, last)
        along = np.array([x[last] - x[first], y[last] - y[first]])
        length = float(np.hypot(*along))
        across, up = x[between] - x[first], y[between] - y[first]
        distance = np.abs(along[0] * up - along[1] * across) / length if length else np.hypot(across, up)
        furthest = int(distance.argmax())
        if distance[furthest] > 1e-9:
            heapq.heappush(waiting, (-float(distance[furthest]), first, first + 1 + furthest, last))

    consider(0, x.size - 1)
    while waiting and len(kept) < points:
        _, first, middle, last = heapq.heappop(waiting)
        kept.add(middle)
        consider(first, middle)
        consider(middle, last)
    return np.array(sorted(kept), dtype=np.int64)


def _counts_above(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.floating]
) -> tuple[IntArray, IntArray]:
    """Count the cells of the class, and the others, at or above each distinct score, the highest first."""
    distinct, bins = np.unique(score, return_inverse=True)
    counts = np.zeros((2, distinct.size), dtype=np.int64)
    np.add.at(counts, (positive.astype(np.int64), bins), 1)
    false_alarms, hits = counts[:, ::-1].cumsum(axis=1)
    return hits, false_alarms


def _stored(values: FloatArray) -> JsonValue:
    return [round(float(value), STORED_DECIMALS) for value in values]
