import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from esdseg.errors import InputDataError
from esdseg.prediction.maps import (
    read_codes,
    read_probabilities,
    write_prediction,
    write_probabilities,
    write_truth,
)
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL
from esdseg.tiles.reading import Georeference
from tests.scoring.predictions import make_prediction

GEOREFERENCE = Georeference(crs_wkt="EPSG:32630", transform=(10, 0, 500_000, 0, -10, 1_200_000))
PREDICTION = make_prediction("Tile1", 0)


def test_predictions_are_codes_in_class_colours_at_cell_size(tmp_path: Path) -> None:
    with rasterio.open(write_prediction(tmp_path, PREDICTION, GEOREFERENCE)) as file:
        codes = file.read()
        assert codes.shape == (1, 16, 16)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes[0], PREDICTION.probabilities.argmax(axis=0) + 1)
        assert file.tags()["class_1"] == "Settlement without electricity"
        palette = file.colormap(1)
        assert [palette[one.code] for one in CLASSES] == [(*one.rgb, 255) for one in CLASSES]
        assert file.crs.to_epsg() == 32630
        assert file.res == (500, 500)
        assert tuple(file.bounds) == (500_000, 1_192_000, 508_000, 1_200_000)


def test_probabilities_are_a_band_a_class(tmp_path: Path) -> None:
    with rasterio.open(write_probabilities(tmp_path, PREDICTION, GEOREFERENCE)) as file:
        assert file.dtypes == ("float32",) * 4
        assert file.descriptions == tuple(label_class.title for label_class in CLASSES)
        np.testing.assert_array_equal(file.read(), PREDICTION.probabilities)
        assert file.res == (500, 500)


@pytest.mark.parametrize("write", [write_prediction, write_probabilities])
def test_maps_of_tiles_without_place_have_none(write: object, tmp_path: Path) -> None:
    assert callable(write)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write(tmp_path, PREDICTION, None)
    with pytest.warns(NotGeoreferencedWarning):
        file = rasterio.open(path)
    with file:
        assert file.crs is None
        assert file.transform.is_identity


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    write_prediction(tmp_path, PREDICTION, None)
    write_probabilities(tmp_path, PREDICTION, GEOREFERENCE)

    names = ["prediction.tif", "prediction.tif.aux.xml", "probabilities.tif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's gdalinfo is not installed")
def test_gdal_shows_names_and_colours_of_the_classes(tmp_path: Path) -> None:
    path = write_prediction(tmp_path, PREDICTION, GEOREFERENCE)
    told = json.loads(subprocess.check_output(["gdalinfo", "-json", path], text=True))

    assert told["bands"][0]["noDataValue"] == 0
    assert told["bands"][0]["colorTable"]["entries"][:5] == [
        [0, 0, 0, 0],
        *([*one.rgb, 255] for one in CLASSES),
    ]
    rows = told["rat"]["row"]
    assert [row["f"] for row in rows][1:] == [[one.code, one.title, *one.rgb, 255] for one in CLASSES]
    shown = subprocess.check_output(["gdalinfo", path], text=True)
    assert "Categories:" in shown
    assert all(f"{one.code}: {one.title}" in shown for one in CLASSES)


def test_maps_are_read_as_they_were_written(tmp_path: Path) -> None:
    truth = PREDICTION.truth.copy()
    truth[0, :3] = UNKNOWN_LABEL
    prediction = TilePrediction("Tile1", truth, PREDICTION.probabilities)

    with rasterio.open(write_truth(tmp_path, prediction, GEOREFERENCE)) as file:
        assert set(np.unique(file.read())) <= {0, 1, 2, 3, 4}
        assert file.read(1)[0, :3].tolist() == [0, 0, 0]
        assert file.res == (500, 500)
    np.testing.assert_array_equal(read_codes(tmp_path / "truth.tif"), truth)
    classes = read_codes(write_prediction(tmp_path, prediction, None))
    np.testing.assert_array_equal(classes, prediction.classes)
    probabilities = read_probabilities(write_probabilities(tmp_path, prediction, None))
    np.testing.assert_array_equal(probabilities, prediction.probabilities)


def test_a_map_that_is_missing_or_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"truth\.tif cannot be read .*esdseg evaluate"):
        read_codes(tmp_path / "truth.tif")
    path = write_prediction(tmp_path, PREDICTION, None)
    with pytest.raises(InputDataError, match=r"prediction\.tif is of shape \(1, 16, 16\), not \(4, 16, 16\)"):
        read_probabilities(path)
