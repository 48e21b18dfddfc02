"""Scores over label cells, as pure functions on pooled counts; their shell, ``segmentation``, needs torch."""

from esdseg.metrics.confusion import (
    balanced_accuracy,
    confusion_matrix,
    headline_scores,
    per_class_scores,
    scores_from_confusion,
)
from esdseg.metrics.ranking import area_under_roc, auc_scores

__all__ = [
    "area_under_roc",
    "auc_scores",
    "balanced_accuracy",
    "confusion_matrix",
    "headline_scores",
    "per_class_scores",
    "scores_from_confusion",
]
