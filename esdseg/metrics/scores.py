"""Scores from a confusion matrix of label cells: rows are the truth, columns the prediction.

All functions take any leading axes before the last two, so that one call scores a tile, a split or thousands
of bootstrap resamples. Definitions follow scikit-learn, except where a score is undefined: that is NaN here
and ``None`` on the scorecard, never 0 or 1. A class that is in neither truth nor prediction is left out of
the macro means.
"""

import numpy as np
import numpy.typing as npt

from esdseg.metrics.scorecard import (
    AucScores,
    BaselineScores,
    ClassificationScores,
    ClassScores,
    ConfusionMatrix,
    F1Scores,
    JaccardScores,
    Score,
    TileScores,
)
from esdseg.sensors.classes import CLASS_NAMES, CONTEST_CLASS, NUM_CLASSES, UNKNOWN_LABEL

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide elementwise; NaN where the denominator is 0."""
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Return the mean over the last axis of the values that are not NaN; NaN where all of them are."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def score_or_none(value: float | FloatArray) -> Score:
    """Return a single value as a score, ``None`` where it is NaN."""
    number = float(value)
    return number if np.isfinite(number) else None


def scores_by_class(values: FloatArray) -> dict[str, Score]:
    """Return values of shape (4,) by class name."""
    return {name: score_or_none(value) for name, value in zip(CLASS_NAMES, values, strict=True)}


def confusion_matrix(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> IntArray:
    """Count the cells of each true and predicted class.

    Args:
        truth: Label indices 0 to 3, any shape; cells of 255 (unknown) are left out.
        prediction: Predicted label indices 0 to 3, same shape; cells of 255 (no data) are left out.

    Returns:
        Counts, shape (4, 4).
    """
    true_index = np.asarray(truth, dtype=np.int64).ravel()
    predicted_index = np.asarray(prediction, dtype=np.int64).ravel()
    known = (true_index != UNKNOWN_LABEL) & (predicted_index != UNKNOWN_LABEL)
    pairs = true_index[known] * NUM_CLASSES + predicted_index[known]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES).astype(np.int64)


def accuracy(confusion: npt.ArrayLike) -> FloatArray:
    """Return the share of cells whose class is right, shape (...)."""
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


def classification_scores(confusion: npt.ArrayLike, areas: FloatArray) -> ClassificationScores:
    """Compute all scores of one confusion matrix.

    Args:
        confusion: Counts, shape (4, 4).
        areas: Area under the ROC curve of each class, shape (4,); NaN where it is undefined.
    """
    counts = np.asarray(confusion)
    classes = per_class_scores(counts)
    headline = {name: score_or_none(value) for name, value in headline_scores(counts).items()}
    total, right = counts.sum(), np.trace(counts)
    # A class that is not in the truth weighs nothing, so its undefined F1 must not spread.
    weighted_f1 = divide(np.nansum(classes["f1"] * counts.sum(axis=-1)), total)
    jaccard = JaccardScores(
        macro=headline["jaccard_macro"],
        micro=score_or_none(divide(right, 2 * total - right)),
        per_class=scores_by_class(classes["jaccard"]),
    )
    return ClassificationScores(
        accuracy=headline["accuracy"],
        balanced_accuracy=score_or_none(mean_of_defined(classes["recall"])),
        contest_f1=headline["contest_f1"],
        jaccard=jaccard,
        iou=jaccard,
        f1=F1Scores(
            macro=headline["f1_macro"],
            micro=headline["accuracy"],
            weighted=score_or_none(weighted_f1),
            per_class=scores_by_class(classes["f1"]),
        ),
        precision=ClassScores(per_class=scores_by_class(classes["precision"])),
        recall=ClassScores(per_class=scores_by_class(classes["recall"])),
        auc=AucScores(macro=score_or_none(mean_of_defined(areas)), per_class=scores_by_class(areas)),
        confusion_matrix=_as_rows(counts),
    )


def constant_scores(in_truth: IntArray, class_index: int) -> BaselineScores:
    """Score the answer that gives one class to every cell.

    Args:
        in_truth: Cells of each class, shape (4,).
        class_index: Label index of the answer.
    """
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    confusion[:, class_index] = in_truth
    # The same score for every cell ranks nothing: every pair of cells is a tie.
    is_ranked = (in_truth > 0) & (in_truth < in_truth.sum())
    scores = classification_scores(confusion, np.where(is_ranked, 0.5, np.nan))
    return BaselineScores(**dict(scores), predicted_class=CLASS_NAMES[class_index])


def tile_scores(confusion: IntArray) -> TileScores:
    """Score one tile by its counts, shape (4, 4)."""
    headline = {name: score_or_none(value) for name, value in headline_scores(confusion).items()}
    return TileScores(
        cells=int(confusion.sum()),
        accuracy=headline["accuracy"],
        f1_macro=headline["f1_macro"],
        contest_f1=headline["contest_f1"],
        confusion_matrix=_as_rows(confusion),
    )


def _as_rows(counts: npt.NDArray[np.integer]) -> ConfusionMatrix:
    return tuple(tuple(int(count) for count in row) for row in counts)
