"""Predicted maps as GeoTIFFs on the label grid."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from esdseg.errors import InputDataError
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES, GRID_SIZE, NUM_CLASSES, UNKNOWN_LABEL
from esdseg.system.files import write_whole
from esdseg.tiles.reading import Georeference

PREDICTION_NAME = "prediction.tif"
PROBABILITIES_NAME = "probabilities.tif"
TRUTH_NAME = "truth.tif"
UNKNOWN_CODE = 0
"""Of a cell without ground truth in ``truth.tif``, and without data in ``prediction.tif``."""


def write_prediction(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``prediction.tif``: class codes 1 to 4, (16, 16) uint8, with the class colours as its palette.

    A cell of code 0 has too few of the network's channels. The tags say what share of them the tile has.

    Args:
        folder: The tile's folder.
        prediction: What to write.
        georeference: Where the tile lies, at 10 m pixels; without one the file has neither CRS nor transform.
    """
    return _write_codes(folder / PREDICTION_NAME, prediction.classes, georeference, _share_tags(prediction))


def write_truth(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``truth.tif``: as ``prediction.tif``, with 0 where the class is unknown."""
    return _write_codes(folder / TRUTH_NAME, prediction.truth, georeference, {})


def _share_tags(prediction: TilePrediction) -> dict[str, str]:
    return {
        "channel_share": f"{prediction.channel_share:.4f}",
        "min_channel_share": f"{MIN_CHANNEL_SHARE:g}",
        "cells_without_data": str(int((~prediction.is_mapped).sum())),
    }


def _write_codes(
    path: Path, labels: npt.NDArray[np.uint8], georeference: Georeference | None, tags: dict[str, str]
) -> Path:
    codes = np.where(labels < NUM_CLASSES, labels + 1, UNKNOWN_CODE).astype(np.uint8)
    palette = {label_class.code: (*label_class.rgb, 255) for label_class in CLASSES}

    def write(part: Path) -> None:
        with _create(part, codes[None], georeference) as file:
            file.write(codes, 1)
            file.write_colormap(1, palette)
            file.set_band_description(1, "class code")
            file.update_tags(**{f"class_{label_class.code}": label_class.title for label_class in CLASSES})
            file.update_tags(**tags)

    return write_whole(path, write)


def write_probabilities(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``probabilities.tif``: (4, 16, 16) float32, a band a class, NaN where the map has no data.

    Arguments and tags are those of :func:`write_prediction`.
    """

    def write(path: Path) -> None:
        with _create(path, prediction.probabilities, georeference) as file:
            file.write(prediction.probabilities)
            for label_class in CLASSES:
                file.set_band_description(label_class.code, label_class.title)
            file.update_tags(**_share_tags(prediction))

    return write_whole(folder / PROBABILITIES_NAME, write)


def read_codes(path: Path) -> npt.NDArray[np.uint8]:
    """Read the label indices (16, 16) of a ``prediction.tif`` or ``truth.tif``; 255 is unknown.

    Raises:
        InputDataError: The file is missing or not such a map.
    """
    codes = _read_bands(path, 1)[0]
    known = (codes > UNKNOWN_CODE) & (codes <= NUM_CLASSES)
    return np.where(known, codes - 1, UNKNOWN_LABEL).astype(np.uint8)


def read_probabilities(path: Path) -> npt.NDArray[np.float32]:
    """Read the probabilities (4, 16, 16) of a ``probabilities.tif``.

    Raises:
        InputDataError: The file is missing or not such a map.
    """
    return _read_bands(path, NUM_CLASSES).astype(np.float32)


def _read_bands(path: Path, bands: int) -> npt.NDArray[np.generic]:
    mend = "make it anew with `esdseg evaluate`"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                values: npt.NDArray[np.generic] = file.read()
    except RasterioIOError as error:
        raise InputDataError(f"{path} cannot be read ({error}); {mend}.") from None
    if values.shape != (bands, GRID_SIZE, GRID_SIZE):
        raise InputDataError(
            f"{path} is of shape {values.shape}, not {(bands, GRID_SIZE, GRID_SIZE)}; {mend}."
        )
    return values


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
        # On a full disk GDAL leaves a broken file and says nothing; Python does not.
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                count=bands,
                height=height,
                width=width,
                dtype=values.dtype,
                nodata=np.nan if values.dtype.kind == "f" else UNKNOWN_CODE,
                compress="deflate",
                crs=georeference.crs_wkt if georeference else None,
                transform=cell_transform(georeference) if georeference else None,
            ) as file:
                yield file
            path.write_bytes(memory.getbuffer())
