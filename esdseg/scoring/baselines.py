"""The trivial answers that every score is shown beside: one class for every cell."""

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import IntArray, json_rows
from esdseg.metrics.confusion import scores_from_confusion
from esdseg.metrics.ranking import auc_scores
from esdseg.sensors.classes import CLASS_NAMES, CONTEST_CLASS

BASELINE_TITLES = {
    "majority": "Most frequent class",
    "all_class_1": "All class 1",
    "cell_logistic": "Cell logistic",
    "cell_boosting": "Cell boosting",
}
"""Wording for people of each baseline's name; the simple models among them are not always there."""


def baseline_scores(confusion: npt.NDArray[np.integer], training_counts: IntArray) -> dict[str, JsonValue]:
    """Score the trivial answers on the cells that a confusion matrix counts.

    Args:
        confusion: Counts of the scored cells, rows truth, shape (4, 4).
        training_counts: Cells of each class in the training tiles, shape (4,); what is most frequent there
            is ``majority``.

    Returns:
        For ``majority`` and ``all_class_1`` the same scores as for a model, and ``predicted_class``.
    """
    in_truth = np.asarray(confusion).sum(axis=-1)
    return {
        "majority": constant_scores(in_truth, int(np.argmax(training_counts))),
        "all_class_1": constant_scores(in_truth, CONTEST_CLASS.index),
    }


def constant_scores(in_truth: npt.NDArray[np.integer], class_index: int) -> dict[str, JsonValue]:
    """Score one class for every cell.

    Args:
        in_truth: Cells of each class, shape (4,).
        class_index: Label index of the answer.
    """
    confusion = np.zeros((len(in_truth), len(in_truth)), dtype=np.int64)
    confusion[:, class_index] = in_truth
    # The same score for every cell ranks nothing: every pair of cells is a tie.
    is_ranked = (in_truth > 0) & (in_truth < in_truth.sum())
    return {
        "predicted_class": CLASS_NAMES[class_index],
        **scores_from_confusion(confusion),
        "auc": auc_scores(np.where(is_ranked, 0.5, np.nan)),
        "confusion_matrix": json_rows(confusion),
    }
