"""What was missed: tiles from best to worst, mistakes about class 1 by distance, and the worst cells."""

from collections import Counter
from collections.abc import Sequence
from math import ceil

from esdseg.metrics.scorecard import ErrorSummary, WorstCell
from esdseg.metrics.scores import confusion_matrix, tile_scores
from esdseg.metrics.spatial_errors import add_up, class_errors
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, UNKNOWN_LABEL

RANKED_BY = "contest_f1"
"""The score that orders the tiles; the accuracy decides between equals."""

SHOWN_TILES = 3
"""Best and worst tiles that are named."""

SHOWN_CELLS = 12
CELLS_A_TILE = 3
"""So that one bad tile does not take all the room; more where there are too few tiles to fill it."""


def summarize_errors(predictions: Sequence[TilePrediction]) -> ErrorSummary:
    """Rank labelled tiles, and count the mistakes about class 1 in all of them and in each."""
    mistakes = {
        prediction.tile: class_errors(prediction.scored_truth, prediction.classes, CONTEST_CLASS.index)
        for prediction in predictions
    }
    ranking = rank_tiles(predictions)
    shown = min(SHOWN_TILES, len(ranking) // 2)
    return ErrorSummary(
        ranked_by=RANKED_BY,
        ranking=ranking,
        unranked=tuple(tile for tile in mistakes if tile not in ranking),
        best=ranking[:shown],
        worst=ranking[::-1][:shown],
        class_1=add_up(list(mistakes.values())),
        tiles=mistakes,
    )


def rank_tiles(predictions: Sequence[TilePrediction]) -> tuple[str, ...]:
    """Return the tiles whose score is defined, from best to worst; equals stay in their order."""
    scores = []
    for prediction in predictions:
        tile = tile_scores(confusion_matrix(prediction.scored_truth, prediction.classes))
        if tile.contest_f1 is not None and tile.accuracy is not None:
            scores.append((-tile.contest_f1, -tile.accuracy, prediction.tile))
    return tuple(tile for *_, tile in sorted(scores, key=lambda entry: entry[:2]))


def find_worst_cells(predictions: Sequence[TilePrediction]) -> tuple[WorstCell, ...]:
    """Find the wrong cells whose true class was given the least probability, the worst first.

    Args:
        predictions: Labelled tiles, at least one.
    """
    wrong = sorted(
        (
            float(prediction.probabilities[prediction.scored_truth[row, column], row, column]),
            position,
            row,
            column,
        )
        for position, prediction in enumerate(predictions)
        for row, column in zip(
            *(
                (prediction.scored_truth != UNKNOWN_LABEL) & (prediction.scored_truth != prediction.classes)
            ).nonzero(),
            strict=True,
        )
    )
    of_one_tile = max(CELLS_A_TILE, ceil(SHOWN_CELLS / len(predictions)))
    shown: list[WorstCell] = []
    shown_of_tile: Counter[int] = Counter()
    for probability, position, row, column in wrong:
        if len(shown) == SHOWN_CELLS:
            break
        if shown_of_tile[position] == of_one_tile:
            continue
        shown_of_tile[position] += 1
        prediction = predictions[position]
        shown.append(
            WorstCell(
                tile=prediction.tile,
                row=int(row),
                column=int(column),
                truth=CLASSES[prediction.scored_truth[row, column]].name,
                prediction=CLASSES[prediction.classes[row, column]].name,
                confidence=float(prediction.probabilities[:, row, column].max()),
                true_class_probability=probability,
            )
        )
    return tuple(shown)
