"""Scores over label cells: pure functions on pooled counts, and a stateful shell for training loops."""

from esdseg.metrics.confusion import (
    balanced_accuracy,
    confusion_matrix,
    headline_scores,
    per_class_scores,
    scores_from_confusion,
)
from esdseg.metrics.ranking import area_under_roc, auc_scores
from esdseg.metrics.segmentation import SegmentationMetrics

__all__ = [
    "SegmentationMetrics",
    "area_under_roc",
    "auc_scores",
    "balanced_accuracy",
    "confusion_matrix",
    "headline_scores",
    "per_class_scores",
    "scores_from_confusion",
]
