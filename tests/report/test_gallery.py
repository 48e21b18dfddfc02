import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.maps import read_codes
from esdseg.report.gallery import confidence_levels, outlines, read_gallery
from tests.report.made_folder import TILE_WITHOUT_CLASS_1, TILE_WITHOUT_PICTURE, TILES, read_json


def paint(shapes: dict[int, str], side: int) -> npt.NDArray[np.int64]:
    """Fill a grid with outlines, counting how often a cell is covered; each must be covered once."""
    grid, covered = np.zeros((side, side), np.int64), np.zeros((side, side), np.int64)
    for value, outline in shapes.items():
        for start, row, width in re.findall(r"M(\d+) (\d+)h(\d+)v1H\1z", outline):
            cells = (int(row), slice(int(start), int(start) + int(width)))
            grid[cells] = value
            covered[cells] += 1
    assert (covered == 1).all()
    return grid


@given(hnp.arrays(np.uint8, (16, 16), elements=st.sampled_from([0, 1, 2, 3, 255])))
def test_outlines_cover_each_cell_once_with_its_value(values: npt.NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(paint(outlines(values), 16), values)


def test_confidence_has_ten_levels_from_a_quarter_to_one() -> None:
    probabilities = np.full((4, 1, 3), 0.25)
    probabilities[:, 0, 1] = [0.63, 0.37, 0, 0]
    probabilities[:, 0, 2] = [0, 0, 0, 1]

    assert confidence_levels(probabilities).tolist() == [[0, 5, 9]]


def picture(address: str) -> npt.NDArray[np.uint8]:
    kind, _, content = address.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_a_gallery_shows_every_tile_as_its_files_say(folder: Path) -> None:
    metrics = Scorecard.model_validate(read_json(folder))

    gallery = read_gallery(folder, metrics)

    assert tuple(tile.name for tile in gallery.tiles) == TILES
    assert [tile.fold for tile in gallery.tiles] == ["1/2", "2/2", "2/2", "1/2"]
    for tile in gallery.tiles:
        truth = read_codes(folder / tile.name / "truth.tif")
        shapes = {
            255 if style == "unknown" else int(style.removeprefix("class-")) - 1: outline
            for style, outline in tile.layers[0].shapes.items()
        }
        np.testing.assert_array_equal(paint(shapes, 16), truth)
        assert tile.settlements == (truth == 0).sum()
        assert (tile.picture is None) == (tile.name == TILE_WITHOUT_PICTURE)
        assert (tile.scores.contest_f1 is None) == (tile.name == TILE_WITHOUT_CLASS_1)
    assert gallery.tiles[0].picture is not None
    assert picture(gallery.tiles[0].picture).shape == (400, 400, 3)


def test_a_chip_shows_its_cell_in_the_middle(folder: Path) -> None:
    metrics = Scorecard.model_validate(read_json(folder))

    chips = read_gallery(folder, metrics).worst

    assert [chip.cell for chip in chips] == list(metrics.worst_cells)
    shown = [chip for chip in chips if chip.picture]
    assert shown
    for chip in shown:
        assert chip.picture is not None
        pixels = picture(chip.picture)
        assert pixels.shape == (150, 150, 3)
        satellite = np.asarray(Image.open(folder / chip.cell.tile / "satellite.jpg")).astype(float)
        own = satellite[chip.cell.row * 50 :, chip.cell.column * 50 :][10:40, 10:40].mean(axis=(0, 1))
        np.testing.assert_allclose(pixels[60:90, 60:90].mean(axis=(0, 1)), own, atol=12)


def test_maps_that_are_not_those_that_were_scored_are_refused(own_folder: Path) -> None:
    metrics = Scorecard.model_validate(read_json(own_folder))
    shutil.copy(own_folder / "Tile2/prediction.tif", own_folder / "Tile1/prediction.tif")

    with pytest.raises(
        InputDataError, match=r"maps in .*Tile1 are not those that were scored.*esdseg evaluate"
    ):
        read_gallery(own_folder, metrics)
