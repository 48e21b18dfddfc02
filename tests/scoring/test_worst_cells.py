from typing import Any

import numpy as np

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.worst_cells import CELLS_A_TILE, SHOWN_CELLS, find_worst_cells
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.predictions import make_prediction


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

    assert find_worst_cells([tile]) == [
        {
            "tile": "Tile1",
            "row": 3,
            "column": 5,
            "truth": "settlement_dark",
            "prediction": "empty_dark",
            "confidence": float(np.float32(0.9)),
            "true_class_probability": float(np.float32(0.05)),
        }
    ]


def test_the_worst_come_first_and_no_tile_takes_all_the_room() -> None:
    tiles = [make_prediction(f"Tile{number}", number) for number in range(1, 7)]

    cells: list[Any] = find_worst_cells(tiles)

    assert len(cells) == SHOWN_CELLS
    assert max(sum(cell["tile"] == tile.tile for cell in cells) for tile in tiles) == CELLS_A_TILE
    probabilities = [cell["true_class_probability"] for cell in cells]
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
    assert find_worst_cells([right_tile("Tile1")]) == []
