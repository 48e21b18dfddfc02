"""Predicted maps as GeoTIFFs on the label grid."""

import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from esdseg.errors import InputDataError
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES, GRID_SIZE, NUM_CLASSES, UNKNOWN_LABEL
from esdseg.system.files import write_geotiff, write_text, write_whole
from esdseg.tiles.reading import Georeference

PREDICTION_NAME = "prediction.tif"
PROBABILITIES_NAME = "probabilities.tif"
TRUTH_NAME = "truth.tif"
UNKNOWN_CODE = 0
"""Of a cell without ground truth in ``truth.tif``, and without data in ``prediction.tif``."""

UNKNOWN_TITLE = "No data"

PALETTE = {UNKNOWN_CODE: (0, 0, 0, 0), **{label.code: (*label.rgb, 255) for label in CLASSES}}
"""Red, green, blue and opacity of each code."""

CLASS_TAGS = {f"class_{label_class.code}": label_class.title for label_class in CLASSES}
"""Tags of a map of codes that name the classes."""

_ATTRIBUTES = (
    ("Value", 0, 5),
    ("Class", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Alpha", 0, 9),
)
"""Columns of the raster attribute table: the name, and GDAL's numbers of the type and the usage."""


def write_prediction(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``prediction.tif``: class codes 1 to 4, (16, 16) uint8, with the class colours as its palette.

    The names of the classes lie beside it: see :func:`write_class_names`. A cell of code 0 has too few of the
    network's channels. The tags say what share of them the tile has.

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
    codes = to_codes(labels)

    def describe(file: Any) -> None:
        file.write_colormap(1, PALETTE)
        file.set_band_description(1, "class code")
        file.update_tags(**CLASS_TAGS, **tags)

    profile = _profile(georeference, UNKNOWN_CODE)
    write_whole(path, lambda part: write_geotiff(part, codes[None], profile, describe))
    write_class_names(path)
    return path


def to_codes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the codes 1 to 4 of label indices 0 to 3; 0 for any other."""
    return np.where(labels < NUM_CLASSES, labels + 1, UNKNOWN_CODE).astype(np.uint8)


def write_class_names(raster: Path) -> Path:
    """Write names and colours of the codes of a map to ``RASTER.aux.xml``, where GDAL and QGIS look for them.

    A TIFF itself holds a colour table but no names. They stand there as category names and as a raster
    attribute table.

    Args:
        raster: A map of codes.
    """
    dataset = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(dataset, "PAMRasterBand", band="1")
    titles = (UNKNOWN_TITLE, *(label_class.title for label_class in CLASSES))
    names = ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for position, (name, kind, usage) in enumerate(_ATTRIBUTES):
        definition = ElementTree.SubElement(table, "FieldDefn", index=str(position))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(definition, tag).text = str(text)
    for code, title in enumerate(titles):
        ElementTree.SubElement(names, "Category").text = title
        row = ElementTree.SubElement(table, "Row", index=str(code))
        for value in (code, title, *PALETTE[code]):
            ElementTree.SubElement(row, "F").text = str(value)
    ElementTree.indent(dataset)
    path = raster.with_name(f"{raster.name}.aux.xml")
    write_text(path, ElementTree.tostring(dataset, encoding="unicode") + "\n")
    return path


def write_probabilities(folder: Path, prediction: TilePrediction, georeference: Georeference | None) -> Path:
    """Write ``probabilities.tif``: (4, 16, 16) float32, a band a class, NaN where the map has no data.

    Arguments and tags are those of :func:`write_prediction`.
    """

    def describe(file: Any) -> None:
        for label_class in CLASSES:
            file.set_band_description(label_class.code, label_class.title)
        file.update_tags(**_share_tags(prediction))

    path, profile = folder / PROBABILITIES_NAME, _profile(georeference, np.nan)
    return write_whole(path, lambda part: write_geotiff(part, prediction.probabilities, profile, describe))


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


def _profile(georeference: Georeference | None, no_data: float) -> dict[str, Any]:
    profile = {"nodata": no_data, "compress": "deflate"}
    if georeference is None:
        return profile
    of_cells = Affine(*georeference.transform) @ Affine.scale(CELL_SIZE_PX)
    return {**profile, "crs": georeference.crs_wkt, "transform": of_cells}
