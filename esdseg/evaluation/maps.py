"""Predicted maps as GeoTIFFs on the label grid."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from esdseg.classes import CLASS_NAMES, CLASSES
from esdseg.evaluation.files import write_whole
from esdseg.evaluation.prediction import TilePrediction
from esdseg.grid import CELL_SIZE_PX
from esdseg.tiles import Georeference

PREDICTION_NAME = "prediction.tif"
PROBABILITIES_NAME = "probabilities.tif"


def write_prediction(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``prediction.tif``: class codes 1 to 4, (16, 16) uint8, with the class colours as its palette.

    Args:
        folder: The tile's folder.
        prediction: What to write.
        georeference: Where the tile lies, at 10 m pixels; without one the file has neither CRS nor transform.
    """
    codes = np.array([label_class.code for label_class in CLASSES], dtype=np.uint8)[prediction.classes]
    palette = {label_class.code: (*label_class.rgb, 255) for label_class in CLASSES}

    def write(path: Path) -> None:
        with _create(path, codes[None], georeference) as file:
            file.write(codes, 1)
            file.write_colormap(1, palette)
            file.set_band_description(1, "class code")
            file.update_tags(**{f"class_{one.code}": one.name for one in CLASSES})

    return write_whole(folder / PREDICTION_NAME, write)


def write_probabilities(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``probabilities.tif``: (4, 16, 16) float32, a band a class; see :func:`write_prediction`."""

    def write(path: Path) -> None:
        with _create(path, prediction.probabilities, georeference) as file:
            file.write(prediction.probabilities)
            for band, name in enumerate(CLASS_NAMES, start=1):
                file.set_band_description(band, name)

    return write_whole(folder / PROBABILITIES_NAME, write)


def cell_transform(georeference: Georeference) -> Affine:
    """Return the transform from (column, row) of label cells to coordinates."""
    return Affine(*georeference.transform) @ Affine.scale(CELL_SIZE_PX)


@contextmanager
def _create(
    path: Path, values: npt.NDArray[np.generic], georeference: Georeference | None
) -> Iterator[rasterio.io.DatasetWriter]:
    bands, height, width = values.shape
    with warnings.catch_warnings():
        # The contest's tiles have no place, so their maps have none either: nothing to warn of.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=bands,
            height=height,
            width=width,
            dtype=values.dtype,
            compress="deflate",
            crs=georeference.crs_wkt if georeference else None,
            transform=cell_transform(georeference) if georeference else None,
        ) as file:
            yield file
