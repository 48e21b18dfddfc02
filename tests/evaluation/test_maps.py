import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from esdseg.classes import CLASS_NAMES, CLASSES
from esdseg.evaluation.maps import write_prediction, write_probabilities
from esdseg.tiles import Georeference
from tests.evaluation.predictions import make_prediction

GEOREFERENCE = Georeference(crs_wkt="EPSG:32630", transform=(10, 0, 500_000, 0, -10, 1_200_000))
PREDICTION = make_prediction("Tile1", 0)


def test_predictions_are_codes_in_class_colours_at_cell_size(tmp_path: Path) -> None:
    with rasterio.open(write_prediction(tmp_path, PREDICTION, GEOREFERENCE)) as file:
        codes = file.read()
        assert codes.shape == (1, 16, 16)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes[0], PREDICTION.probabilities.argmax(axis=0) + 1)
        palette = file.colormap(1)
        assert [palette[one.code] for one in CLASSES] == [(*one.rgb, 255) for one in CLASSES]
        assert file.crs.to_epsg() == 32630
        assert file.res == (500, 500)
        assert tuple(file.bounds) == (500_000, 1_192_000, 508_000, 1_200_000)


def test_probabilities_are_a_band_a_class(tmp_path: Path) -> None:
    with rasterio.open(write_probabilities(tmp_path, PREDICTION, GEOREFERENCE)) as file:
        assert file.dtypes == ("float32",) * 4
        assert file.descriptions == CLASS_NAMES
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

    assert sorted(path.name for path in tmp_path.iterdir()) == ["prediction.tif", "probabilities.tif"]
