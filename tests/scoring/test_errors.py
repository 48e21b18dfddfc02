import json

import numpy as np
from sklearn.metrics import f1_score

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.errors import describe_errors, rank_tiles
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
    errors = describe_errors([without_class_1("Empty"), *made_tiles(3)])

    assert errors["unranked"] == ["Empty"]
    assert set(errors["ranking"]) == {"Tile1", "Tile2", "Tile3"}  # type: ignore[arg-type]
    assert set(errors["tiles"]) == {"Empty", "Tile1", "Tile2", "Tile3"}  # type: ignore[arg-type]
    assert json.loads(json.dumps(errors, allow_nan=False)) == errors


def test_no_tile_is_both_among_the_best_and_the_worst() -> None:
    for number in range(1, 9):
        errors = describe_errors(made_tiles(number))
        best, worst, ranking = errors["best"], errors["worst"], errors["ranking"]
        assert isinstance(best, list)
        assert isinstance(worst, list)
        assert isinstance(ranking, list)
        assert not set(map(str, best)) & set(map(str, worst))
        assert len(best) == len(worst) == min(3, number // 2)
        assert best == ranking[: len(best)]
        assert worst == ranking[::-1][: len(worst)]


def test_mistakes_of_the_tiles_add_up_to_those_of_all() -> None:
    tiles = made_tiles(4)
    errors = describe_errors(tiles)

    missed = sum(int(((one.truth == 0) & (one.classes != 0)).sum()) for one in tiles)
    false = sum(int(((one.truth != 0) & (one.classes == 0)).sum()) for one in tiles)
    class_1 = errors["class_1"]
    assert isinstance(class_1, dict)
    for name, expected in (("missed", missed), ("false", false)):
        entry = class_1[name]
        assert isinstance(entry, dict)
        by_distance = entry["by_distance"]
        assert isinstance(by_distance, dict)
        assert entry["cells"] == expected
        assert sum(int(str(count)) for count in by_distance.values()) == expected
        assert list(by_distance) == ["1", "2", "3", "4_or_more", "none_in_tile"]
