import numpy as np
from sklearn.metrics import f1_score

from esdseg.metrics.scorecard import WorstCell
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.error_analysis import (
    CELLS_A_TILE,
    SHOWN_CELLS,
    find_worst_cells,
    rank_tiles,
    summarize_errors,
)
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.predictions import make_prediction
from tests.scoring.scored_runs import made_tiles


def without_class_1(tile: str) -> TilePrediction:
    """A tile that is of class 2 everywhere, and predicted so."""
    probabilities = np.zeros((4, 16, 16), dtype=np.float32)
    probabilities[1] = 1
    return TilePrediction(tile, np.ones((16, 16), dtype=np.uint8), probabilities)


def test_tiles_are_ranked_by_the_contests_score() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(6)]

    ranking = rank_tiles(tiles)

    scores = {
        one.tile: (
            round(f1_score(one.truth.ravel() == 0, one.classes.ravel() == 0), 9),
            (one.truth == one.classes).mean(),
        )
        for one in tiles
    }
    assert list(ranking) == sorted(scores, key=lambda tile: scores[tile], reverse=True)


def test_an_undefined_score_is_not_ranked_but_described() -> None:
    errors = summarize_errors([without_class_1("Empty"), *made_tiles(3)])

    assert errors.unranked == ("Empty",)
    assert set(errors.ranking) == {"Tile1", "Tile2", "Tile3"}
    assert set(errors.tiles) == {"Empty", "Tile1", "Tile2", "Tile3"}


def test_no_tile_is_both_among_the_best_and_the_worst() -> None:
    for number in range(1, 9):
        errors = summarize_errors(made_tiles(number))
        best, worst, ranking = errors.best, errors.worst, errors.ranking
        assert not set(best) & set(worst)
        assert len(best) == len(worst) == min(3, number // 2)
        assert best == ranking[: len(best)]
        assert worst == ranking[::-1][: len(worst)]


def test_mistakes_of_the_tiles_add_up_to_those_of_all() -> None:
    tiles = made_tiles(4)
    errors = summarize_errors(tiles)

    missed = sum(int(((one.truth == 0) & (one.classes != 0)).sum()) for one in tiles)
    false = sum(int(((one.truth != 0) & (one.classes == 0)).sum()) for one in tiles)
    for mistakes, expected in ((errors.class_1.missed, missed), (errors.class_1.false, false)):
        assert mistakes.cells == sum(mistakes.by_distance.values()) == expected
        assert list(mistakes.by_distance) == ["1", "2", "3", "4_or_more", "none_in_tile"]


def right_tile(name: str) -> TilePrediction:
    """A tile whose cells are all rightly taken for class 2, with 0.7."""
    probabilities = np.full((4, 16, 16), 0.1, dtype=np.float32)
    probabilities[1] = 0.7
    return TilePrediction(name, np.full((16, 16), 1, dtype=np.uint8), probabilities)


def test_a_wrong_cell_is_told_with_its_place_classes_and_probabilities() -> None:
    tile = right_tile("Tile1")
    tile.truth[3, 5] = 0
    tile.probabilities[:, 3, 5] = [0.05, 0.9, 0.03, 0.02]
    tile.truth[4, 4] = UNKNOWN_LABEL

    assert find_worst_cells([tile]) == (
        WorstCell(
            tile="Tile1",
            row=3,
            column=5,
            truth="settlement_dark",
            prediction="empty_dark",
            confidence=float(np.float32(0.9)),
            true_class_probability=float(np.float32(0.05)),
        ),
    )


def test_the_worst_come_first_and_no_tile_takes_all_the_room() -> None:
    tiles = [make_prediction(f"Tile{number}", number) for number in range(1, 7)]

    cells = find_worst_cells(tiles)

    assert len(cells) == SHOWN_CELLS
    assert max(sum(cell.tile == tile.tile for cell in cells) for tile in tiles) == CELLS_A_TILE
    probabilities = [cell.true_class_probability for cell in cells]
    assert probabilities == sorted(probabilities)
    lowest = min(
        float(tile.probabilities[tile.truth[place], *place])
        for tile in tiles
        for place in np.ndindex(16, 16)
        if tile.truth[place] != UNKNOWN_LABEL and tile.truth[place] != tile.classes[place]
    )
    assert probabilities[0] == lowest


def test_few_tiles_fill_the_room() -> None:
    assert len(find_worst_cells([make_prediction("Tile1", 1)])) == SHOWN_CELLS


def test_a_map_without_a_mistake_has_none() -> None:
    assert find_worst_cells([right_tile("Tile1")]) == ()
