from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from esdseg.metrics.scores import confusion_matrix, tile_scores
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.satellite import SatellitePicture
from esdseg.report.tile_picture import describe_origin, draw_comparison, write_comparison
from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL, UNKNOWN_RGB, label_grid_to_rgb
from tests.scoring.predictions import make_prediction

PREDICTION = make_prediction("Tile7", 3)
SATELLITE = SatellitePicture(np.full((800, 800, 3), 90, dtype=np.uint8), "Sentinel-2, 2020-08-16")
ORIGIN = "val split, mapped by first"
SCORES = tile_scores(confusion_matrix(PREDICTION.truth, PREDICTION.classes))


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def drawn_cells(figure: Figure, axes: Axes) -> npt.NDArray[np.uint8]:
    """Return the colours of the rendered picture at the centre of each cell, (16, 16, 3)."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    centres_km = np.arange(16) * 0.5 + 0.25
    grid = np.array([[(x, y) for x in centres_km] for y in centres_km]).reshape(-1, 2)
    columns, rows = np.rint(axes.transData.transform(grid)).astype(int).T
    return pixels[pixels.shape[0] - rows, columns, :3].reshape(16, 16, 3)


def texts(figure: Figure) -> Iterator[str]:
    for axes in figure.axes:
        yield from (axes.get_title(), axes.get_xlabel())
    for legend in figure.legends:
        yield from (text.get_text() for text in legend.get_texts())


def test_maps_are_drawn_in_exactly_the_class_colours_each_cell_in_its_place() -> None:
    figure = draw_comparison(PREDICTION, SATELLITE, SCORES, ORIGIN)
    drawn = panels(figure)

    for title, labels in (("Ground truth", PREDICTION.truth), ("Prediction", PREDICTION.classes)):
        expected = label_grid_to_rgb(labels)
        np.testing.assert_array_equal(drawn_cells(figure, drawn[title]), expected)


def test_the_four_panels_have_titles_scores_and_a_legend() -> None:
    figure = draw_comparison(PREDICTION, SATELLITE, SCORES, ORIGIN)

    assert list(panels(figure)) == ["Satellite image", "Ground truth", "Prediction", "Confidence"]
    written = list(texts(figure))
    accuracy = (PREDICTION.truth == PREDICTION.classes).mean()
    assert any(f"accuracy {accuracy:.3f}" in text for text in written)
    assert [text for text in written if text[:1].isdigit()] == [one.title_with_code for one in CLASSES]


@pytest.mark.parametrize(
    ("runs", "words"),
    [(["first"], "first"), (["a", "b"], "the mean of 2 runs"), (["r" * 99], f"{'r' * 31}…")],
)
def test_the_picture_names_tile_split_and_runs_however_long_their_names(runs: list[str], words: str) -> None:
    tile = TilePrediction("x" * 80, PREDICTION.truth, PREDICTION.probabilities)

    figure = draw_comparison(tile, None, None, describe_origin("test", runs))

    assert figure.get_suptitle() == f"{'x' * 23}…: test split, mapped by {words}"
    figure.draw_without_rendering()
    assert figure.bbox.width > figure.texts[0].get_window_extent().width


def test_without_ground_truth_and_satellite_image_the_other_panels_are_drawn() -> None:
    unknown = np.full_like(PREDICTION.truth, UNKNOWN_LABEL)

    figure = draw_comparison(TilePrediction("Tile7", unknown, PREDICTION.probabilities), None, None, ORIGIN)

    assert list(panels(figure)) == ["Prediction", "Confidence"]


def test_unknown_cells_are_grey_and_in_the_legend() -> None:
    truth = PREDICTION.truth.copy()
    truth[0, 0] = UNKNOWN_LABEL

    figure = draw_comparison(
        TilePrediction("Tile7", truth, PREDICTION.probabilities), SATELLITE, SCORES, ORIGIN
    )

    assert tuple(drawn_cells(figure, panels(figure)["Ground truth"])[0, 0]) == UNKNOWN_RGB
    assert "Unknown or no data" in list(texts(figure))


@pytest.mark.parametrize("tile", ["Tile7", "a $ sign and $\\frac$", "Tile_{7}^2"])
def test_a_tile_may_be_called_anything(tile: str, tmp_path: Path) -> None:
    strange = TilePrediction(tile, PREDICTION.truth, PREDICTION.probabilities)
    path = write_comparison(tmp_path, strange, SATELLITE, None, ORIGIN)

    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * picture.height


def test_a_tile_is_painted_as_in_a_picture_of_its_own_whatever_was_painted_before(tmp_path: Path) -> None:
    write_comparison(tmp_path, make_prediction("another, longer name", 4), SATELLITE, SCORES, ORIGIN)
    bright = SatellitePicture(np.full((800, 800, 3), 200, dtype=np.uint8), "Landsat-8, 2020-08-14")
    path = write_comparison(tmp_path, PREDICTION, bright, None, ORIGIN)

    canvas = draw_comparison(PREDICTION, bright, None, ORIGIN).canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(canvas.buffer_rgba())[..., :3])
