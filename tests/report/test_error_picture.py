from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.error_picture import (
    FALSE_ALARM,
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

    assert cell_outcomes(truth, prediction).tolist() == [FOUND, MISSED, FALSE_ALARM, MIXED_UP, RIGHT, UNKNOWN]


def test_the_worst_tile_comes_first_and_every_tile_once() -> None:
    tiles = made_tiles(9)

    figure = draw_error_picture(tiles, made_card(tiles))

    titles = [axes.get_title().split(":")[0] for axes in figure.axes if axes.axison]
    assert titles == list(rank_tiles(tiles)[::-1])


@pytest.mark.parametrize(
    ("tiles", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (6, 1, 6), (7, 2, 4), (13, 3, 5)]
)
def test_the_tiles_fill_the_frame(tiles: int, rows: int, columns: int) -> None:
    made = made_tiles(tiles)

    figure = draw_error_picture(made, made_card(made))

    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert len(boxes) == rows * columns
    assert sum(box.width for box in boxes[:columns]) > 0.9 * figure.bbox.width - 20 * columns
    (legend,) = figure.legends
    title = figure.texts[0].get_window_extent()
    for box in (legend.get_window_extent(), title):
        assert not any(box.overlaps(other) for other in boxes)
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_the_picture_says_whose_mistakes_and_explains_the_colours_that_are_there() -> None:
    made = made_tiles(2)
    figure = draw_error_picture(made, made_card(made))
    assert figure.get_suptitle().startswith("Mistakes of made-up on 2 tiles of the val split\n")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Settlement without electricity: false alarm" in legend
    assert "Unknown" not in legend

    made[0].truth[0, 0] = UNKNOWN_LABEL
    figure = draw_error_picture(made, made_card(made))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*legend, "Unknown"]


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    (tile,) = made_tiles(1)
    strange = TilePrediction("$x_1$", tile.truth, tile.probabilities)

    path = write_error_picture(tmp_path, [strange], made_card([strange]))

    assert draw_error_picture([strange], made_card([strange])).axes[0].get_title().startswith("$x_1$: ")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
