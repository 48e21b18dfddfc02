"""Scores from a confusion matrix of label cells: rows are the truth, columns the prediction.

All functions take any leading axes before the last two, so that one call scores a tile, a split or thousands
of bootstrap resamples. Definitions follow scikit-learn, except where a score is undefined: that is NaN here,
never 0 or 1. A class that is in neither truth nor prediction is left out of the macro means.
"""

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import (
    FloatArray,
    IntArray,
    divide,
    json_number,
    keyed_by_class,
    mean_of_defined,
)
from esdseg.sensors.classes import CONTEST_CLASS, NUM_CLASSES, UNKNOWN_LABEL


def confusion_matrix(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> IntArray:
    """Count the cells of each true and predicted class.

    Args:
        truth: Label indices 0 to 3, any shape; cells of 255 (unknown) are left out.
        prediction: Predicted label indices 0 to 3, same shape.

    Returns:
        Counts, shape (4, 4).
    """
    true_index = np.asarray(truth, dtype=np.int64).ravel()
    predicted_index = np.asarray(prediction, dtype=np.int64).ravel()
    known = true_index != UNKNOWN_LABEL
    pairs = true_index[known] * NUM_CLASSES + predicted_index[known]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES).astype(np.int64)


def accuracy(confusion: npt.ArrayLike) -> FloatArray:
    """Share of cells whose class is right, shape (...)."""
    counts = np.asarray(confusion)
    return divide(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def per_class_scores(confusion: npt.ArrayLike) -> dict[str, FloatArray]:
    """Score each class against the rest.

    Args:
        confusion: Counts, shape (..., C, C).

    Returns:
        ``recall`` (NaN where the class is not in the truth), ``precision`` (NaN where it is never predicted),
        ``f1`` and ``jaccard`` (NaN where it is in neither), each of shape (..., C).
    """
    counts = np.asarray(confusion)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    in_truth = counts.sum(axis=-1)
    predicted = counts.sum(axis=-2)
    return {
        "recall": divide(right, in_truth),
        "precision": divide(right, predicted),
        "f1": divide(2 * right, in_truth + predicted),
        "jaccard": divide(right, in_truth + predicted - right),
    }


def balanced_accuracy(confusion: npt.ArrayLike) -> FloatArray:
    """Mean recall of the classes that are in the truth, shape (...)."""
    return mean_of_defined(per_class_scores(confusion)["recall"])


def headline_scores(confusion: npt.ArrayLike) -> dict[str, FloatArray]:
    """Compute the scores that carry intervals, as far as a confusion matrix gives them.

    Args:
        confusion: Counts, shape (..., 4, 4).

    Returns:
        ``accuracy``, ``jaccard_macro``, ``f1_macro`` and ``contest_f1`` (the contest's score: F1 of class 1
        against the rest), each of shape (...).
    """
    classes = per_class_scores(confusion)
    return {
        "accuracy": accuracy(confusion),
        "jaccard_macro": mean_of_defined(classes["jaccard"]),
        "f1_macro": mean_of_defined(classes["f1"]),
        "contest_f1": classes["f1"][..., CONTEST_CLASS.index],
    }


def scores_from_confusion(confusion: npt.ArrayLike) -> dict[str, JsonValue]:
    """Compute all scores of one confusion matrix, named and nested as in ``metrics.json``.

    Args:
        confusion: Counts, shape (4, 4).

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``contest_f1``, ``jaccard`` and ``iou`` (the same values),
        ``f1``, ``precision`` and ``recall``; ``None`` where a score is undefined.
    """
    counts = np.asarray(confusion)
    classes = per_class_scores(counts)
    headline = headline_scores(counts)
    total, right = counts.sum(), np.trace(counts)
    # A class that is not in the truth weighs nothing, so its undefined F1 must not spread.
    weighted_f1 = divide(np.nansum(classes["f1"] * counts.sum(axis=-1)), total)
    jaccard: dict[str, JsonValue] = {
        "macro": json_number(headline["jaccard_macro"]),
        "micro": json_number(divide(right, 2 * total - right)),
        "per_class": keyed_by_class(classes["jaccard"]),
    }
    return {
        "accuracy": json_number(headline["accuracy"]),
        "balanced_accuracy": json_number(balanced_accuracy(counts)),
        "contest_f1": json_number(headline["contest_f1"]),
        "jaccard": jaccard,
        "iou": jaccard,
        "f1": {
            "macro": json_number(headline["f1_macro"]),
            "micro": json_number(headline["accuracy"]),
            "weighted": json_number(weighted_f1),
            "per_class": keyed_by_class(classes["f1"]),
        },
        "precision": {"per_class": keyed_by_class(classes["precision"])},
        "recall": {"per_class": keyed_by_class(classes["recall"])},
    }
