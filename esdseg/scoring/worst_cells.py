"""The cells that a map is most wrong about: sure of a class, and the truth is another."""

from collections import Counter
from collections.abc import Sequence
from math import ceil

from pydantic import JsonValue

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL

SHOWN_CELLS = 12
CELLS_A_TILE = 3
"""So that one bad tile does not take all the room; more where there are too few tiles to fill it."""


def find_worst_cells(predictions: Sequence[TilePrediction]) -> list[JsonValue]:
    """Find the wrong cells whose true class was given the least probability.

    Args:
        predictions: Labelled tiles, at least one.

    Returns:
        What ``metrics.json`` says under ``worst_cells``, the worst first: ``tile``, ``row`` and ``column``
        (from 0, the first row in the north), ``truth`` and ``prediction`` by class name, ``confidence`` (the
        predicted class' probability) and ``true_class_probability``.
    """
    wrong = [
        (float(one.probabilities[one.truth[row, column], row, column]), position, row, column)
        for position, one in enumerate(predictions)
        for row, column in zip(
            *((one.truth != UNKNOWN_LABEL) & (one.truth != one.classes)).nonzero(), strict=True
        )
    ]
    of_one_tile = max(CELLS_A_TILE, ceil(SHOWN_CELLS / len(predictions)))
    shown: list[JsonValue] = []
    taken: Counter[int] = Counter()
    for probability, position, row, column in sorted(wrong):
        if len(shown) == SHOWN_CELLS:
            break
        if taken[position] == of_one_tile:
            continue
        taken[position] += 1
        one = predictions[position]
        shown.append(
            {
                "tile": one.tile,
                "row": int(row),
                "column": int(column),
                "truth": CLASSES[one.truth[row, column]].name,
                "prediction": CLASSES[one.classes[row, column]].name,
                "confidence": float(one.probabilities[:, row, column].max()),
                "true_class_probability": probability,
            }
        )
    return shown
