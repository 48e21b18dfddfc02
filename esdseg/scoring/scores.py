"""All that ``metrics.json`` says of a split: pooled scores, baselines, intervals, tiles and notes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.metrics.arrays import IntArray, json_number, json_rows
from esdseg.metrics.calibration import calibration_scores
from esdseg.metrics.confusion import confusion_matrix, headline_scores, scores_from_confusion
from esdseg.metrics.curves import curve_scores
from esdseg.metrics.ranking import area_under_roc, auc_scores
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.baselines import baseline_scores
from esdseg.scoring.bootstrap import FEW_TILES, INTERVAL_SCORES, LEVEL, bootstrap_intervals
from esdseg.scoring.errors import describe_errors
from esdseg.sensors.classes import CLASSES


def score_predictions(
    predictions: Sequence[TilePrediction], training_counts: IntArray, resamples: int, seed: int
) -> dict[str, JsonValue]:
    """Score labelled tiles together.

    Args:
        predictions: The tiles; cells of unknown class are left out.
        training_counts: Cells of each class in the training tiles, shape (4,), for the majority baseline;
            all 0 where there are none, then the scored cells stand in.
        resamples: Resamples of the tiles behind each interval.
        seed: Seed of the resamples.

    Returns:
        From ``tiles`` to ``notes`` the keys of ``metrics.json``; every number is finite or ``None``.
    """
    confusions = np.stack([confusion_matrix(one.truth, one.classes) for one in predictions])
    cells = [one.known_cells() for one in predictions]
    truths, probabilities = [truth for truth, _ in cells], [scores for _, scores in cells]
    pooled = confusions.sum(axis=0)
    all_truths, all_probabilities = np.concatenate(truths), np.concatenate(probabilities)
    areas = area_under_roc(all_truths, all_probabilities)
    in_training = training_counts if training_counts.any() else pooled.sum(axis=1)
    return {
        "tiles": [one.tile for one in predictions],
        "cells": int(pooled.sum()),
        **scores_from_confusion(pooled),
        "auc": auc_scores(areas),
        "confusion_matrix": json_rows(pooled),
        "baselines": baseline_scores(pooled, in_training),
        "intervals": bootstrap_intervals(confusions, truths, probabilities, resamples, seed),
        "bootstrap": {
            "unit": "tile",
            "level": LEVEL,
            "resamples": resamples,
            "seed": seed,
        },
        "tiles_detail": {
            one.tile: score_tile(confusion) for one, confusion in zip(predictions, confusions, strict=True)
        },
        **curve_scores(all_truths, all_probabilities),
        "calibration": calibration_scores(all_truths, all_probabilities),
        "errors": describe_errors(predictions),
        "notes": [
            *_class_notes(pooled, np.isnan(areas)),
            *interval_notes(len(predictions)),
            *([] if training_counts.any() else [_NO_TRAINING_TILES]),
        ],
    }


def score_tile(confusion: IntArray) -> dict[str, JsonValue]:
    """Return the scores of one tile, and the counts they are made of."""
    headline = headline_scores(confusion)
    return {
        "cells": int(confusion.sum()),
        **{name: json_number(headline[name]) for name in ("accuracy", "f1_macro", "contest_f1")},
        "confusion_matrix": json_rows(confusion),
    }


_NO_TRAINING_TILES = (
    "The store has no training tiles, so the majority baseline predicts the most frequent class of the "
    "scored cells themselves."
)


def _class_notes(pooled: IntArray, has_no_area: npt.NDArray[np.bool_]) -> list[str]:
    in_truth, predicted = pooled.sum(axis=1), pooled.sum(axis=0)
    notes = []
    for label_class in CLASSES:
        index, name = label_class.index, label_class.name
        if not in_truth[index] and not predicted[index]:
            notes.append(
                f"{name} is neither in the truth nor predicted: its scores are null and left out of every "
                "macro mean."
            )
        elif not in_truth[index]:
            notes.append(f"{name} is not in the truth: its recall and AUC are null, and its F1 is 0.")
        elif not predicted[index]:
            notes.append(f"{name} is never predicted: its precision is null, and its F1 is 0.")
        if in_truth[index] and has_no_area[index]:
            notes.append(f"{name} is the only class of the truth: its AUC is null.")
    return notes


def interval_notes(tiles: int) -> list[str]:
    """Say where tiles are too few for sound intervals."""
    if tiles < 2:
        return ["One tile says nothing of how tiles differ: the intervals are null."]
    if tiles < FEW_TILES:
        return [
            f"The intervals come from {tiles} tiles alone; below {FEW_TILES} they are rough, and rather too "
            "narrow."
        ]
    return []


def headline_values(metrics: dict[str, JsonValue]) -> dict[str, float | None]:
    """Return the scores that carry an interval, from ``metrics.json`` or one of its baselines."""
    return {name: number_at(metrics, *_PLACES[name]) for name in INTERVAL_SCORES}


def number_at(tree: JsonValue, *keys: str) -> float | None:
    """Return the number below nested keys, ``None`` where there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return float(tree) if isinstance(tree, (int, float)) else None


_PLACES = {
    "accuracy": ("accuracy",),
    "jaccard_macro": ("jaccard", "macro"),
    "f1_macro": ("f1", "macro"),
    "auc_macro": ("auc", "macro"),
    "contest_f1": ("contest_f1",),
}
