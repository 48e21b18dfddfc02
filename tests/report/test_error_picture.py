from pathlib import Path

import numpy as np
from PIL import Image

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.error_picture import (
    FALSE,
    FOUND,
    MISSED,
    MIXED_UP,
    RIGHT,
    UNKNOWN,
    cell_outcomes,
    draw_error_picture,
    write_error_picture,
)
from esdseg.scoring.error_analysis import rank_tiles
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.scored_runs import made_card, made_tiles


def test_every_cell_has_its_outcome() -> None:
    truth = np.array([0, 0, 1, 1, 1, UNKNOWN_LABEL])
    prediction = np.array([0, 2, 0, 2, 1, 0])

    assert cell_outcomes(truth, prediction).tolist() == [FOUND, MISSED, FALSE, MIXED_UP, RIGHT, UNKNOWN]


def test_the_worst_tile_comes_first_and_every_tile_once() -> None:
    tiles = made_tiles(9)

    figure = draw_error_picture(tiles, made_card(tiles))

    titles = [axes.get_title().split(":")[0] for axes in figure.axes if axes.axison]
    assert titles == list(rank_tiles(tiles)[::-1])


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    (tile,) = made_tiles(1)
    strange = TilePrediction("$x_1$", tile.truth, tile.probabilities)

    path = write_error_picture(tmp_path, [strange], made_card([strange]))

    assert draw_error_picture([strange], made_card([strange])).axes[0].get_title().startswith("$x_1$: ")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
