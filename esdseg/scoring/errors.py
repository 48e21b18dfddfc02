"""What was missed: tiles from best to worst, and mistakes about the contest's class by distance."""

from collections.abc import Sequence

from pydantic import JsonValue

from esdseg.metrics.arrays import json_number
from esdseg.metrics.confusion import confusion_matrix, headline_scores
from esdseg.metrics.spatial_errors import DISTANCE_NAMES, SpatialErrors, add_up, spatial_errors
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CONTEST_CLASS

RANKED_BY = "contest_f1"
"""The score that orders the tiles; the accuracy decides between equals."""

SHOWN_TILES = 3
"""Best and worst tiles that are named."""


def describe_errors(predictions: Sequence[TilePrediction]) -> dict[str, JsonValue]:
    """Return what ``metrics.json`` says of mistakes under ``errors``.

    Args:
        predictions: Labelled tiles.

    Returns:
        ``ranked_by``; ``ranking``, the tiles from best to worst; ``unranked``, those without any cell of the
        contest's class in truth and prediction, whose score is undefined; ``best`` and ``worst``, of which no
        tile is both; ``class_1``, the mistakes about that class; and ``tiles``, the same of each tile.
    """
    mistakes = {one.tile: spatial_errors(one.truth, one.classes, CONTEST_CLASS.index) for one in predictions}
    ranking = rank_tiles(predictions)
    shown = min(SHOWN_TILES, len(ranking) // 2)
    return {
        "ranked_by": RANKED_BY,
        "ranking": list(ranking),
        "unranked": [one.tile for one in predictions if one.tile not in ranking],
        "best": list(ranking[:shown]),
        "worst": list(ranking[::-1][:shown]),
        "class_1": _as_json(add_up(list(mistakes.values()))),
        "tiles": {tile: _as_json(errors) for tile, errors in mistakes.items()},
    }


def rank_tiles(predictions: Sequence[TilePrediction]) -> tuple[str, ...]:
    """Return the tiles whose score is defined, from best to worst; equals stay in their order."""
    scores = []
    for one in predictions:
        headline = headline_scores(confusion_matrix(one.truth, one.classes))
        score, accuracy = json_number(headline[RANKED_BY]), json_number(headline["accuracy"])
        if score is not None and accuracy is not None:
            scores.append((-score, -accuracy, one.tile))
    return tuple(tile for *_, tile in sorted(scores, key=lambda entry: entry[:2]))


def _as_json(errors: SpatialErrors) -> dict[str, JsonValue]:
    return {
        "missed": _by_distance(errors.missed.tolist()),
        "false": _by_distance(errors.false.tolist()),
        "settlements": {
            "true": errors.patches,
            "wholly_missed": errors.patches_missed,
            "predicted": errors.predicted_patches,
            "wholly_false": errors.predicted_patches_false,
        },
    }


def _by_distance(counts: Sequence[int]) -> dict[str, JsonValue]:
    by_distance: dict[str, JsonValue] = dict(zip(DISTANCE_NAMES, counts, strict=True))
    return {"cells": sum(counts), "by_distance": by_distance}
