"""The map of an area as cloud-optimised GeoTIFFs: its classes and their probabilities."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from rasterio import MemoryFile
from rasterio.shutil import copy as copy_raster

from esdseg.mapping.area_map import AreaMap
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE
from esdseg.prediction.maps import CLASS_TAGS, PALETTE, UNKNOWN_CODE, to_codes, write_class_names
from esdseg.sensors.classes import CLASSES
from esdseg.system.files import write_text, write_whole
from esdseg.tiles.area import CellGrid

MAP_NAME = "map.tif"
PROBABILITIES_NAME = "probabilities.tif"
STYLE_NAME = "map.qml"

BLOCK_SIZE = 256
"""Side in cells of the blocks of a raster, and size from which it has overviews."""


def write_map(folder: Path, area: AreaMap) -> tuple[Path, ...]:
    """Write ``map.tif``: class codes 1 to 4 of the cells, uint8; 0 is no data.

    Overviews show the most frequent class. The colours are the raster's colour table. Names stand beside it
    in ``map.tif.aux.xml``, for GDAL, and with the colours in ``map.qml``, for QGIS.

    Args:
        folder: Where the files go.
        area: The map.

    Returns:
        ``map.tif``, ``map.tif.aux.xml`` and ``map.qml``.

    Raises:
        InputDataError: A file cannot be written.
        MissingResourceError: There is no space left.
    """
    path = folder / MAP_NAME
    _write_cloud_optimised(
        path, area.grid, to_codes(area.classes)[None], ("class code",), CLASS_TAGS | _tags(area), "MODE"
    )
    return path, write_class_names(path), _write_style(folder / STYLE_NAME)


def write_probability_map(folder: Path, area: AreaMap) -> Path:
    """Write ``probabilities.tif``: a band a class, float32, 0 to 1; NaN is no data. Overviews are averages.

    Arguments and errors are those of :func:`write_map`.
    """
    path = folder / PROBABILITIES_NAME
    titles = tuple(label_class.title for label_class in CLASSES)
    _write_cloud_optimised(path, area.grid, area.probabilities, titles, _tags(area), "AVERAGE")
    return path


def _tags(area: AreaMap) -> dict[str, str]:
    days = {f"dates_{sensor}": ", ".join(map(str, dates)) for sensor, dates in area.dates.items()}
    return {
        "min_channel_share": f"{MIN_CHANNEL_SHARE:g}",
        "cells_without_data": str(int((~area.is_mapped).sum())),
        **days,
    }


def _write_cloud_optimised(
    path: Path,
    grid: CellGrid,
    values: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    titles: tuple[str, ...],
    tags: Mapping[str, str],
    overviews: str,
) -> None:
    bands, height, width = values.shape
    is_codes = values.dtype == np.uint8
    # GDAL makes a cloud-optimised file by copying another. In memory, since on a full disk it leaves a broken
    # file and says nothing; Python does not.
    with MemoryFile() as plain, MemoryFile() as optimised:
        with plain.open(
            driver="GTiff",
            count=bands,
            height=height,
            width=width,
            dtype=values.dtype,
            nodata=UNKNOWN_CODE if is_codes else np.nan,
            crs=grid.crs_wkt,
            transform=grid.cell_transform,
        ) as file:
            file.write(values)
            if is_codes:
                file.write_colormap(1, PALETTE)
            for band, title in enumerate(titles, start=1):
                file.set_band_description(band, title)
            file.update_tags(**tags)
        with plain.open() as file:
            copy_raster(
                file,
                optimised.name,
                driver="COG",
                compress="deflate",
                blocksize=BLOCK_SIZE,
                overview_resampling=overviews,
            )
        write_whole(path, lambda part: part.write_bytes(optimised.getbuffer()))


def _write_style(path: Path) -> Path:
    """Write the style that QGIS gives the raster of the same name."""
    style = ElementTree.Element("qgis", styleCategories="Symbology", version="3.22")
    renderer = ElementTree.SubElement(
        ElementTree.SubElement(style, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for label_class in CLASSES:
        ElementTree.SubElement(
            palette,
            "paletteEntry",
            value=str(label_class.code),
            color=label_class.color,
            alpha="255",
            label=label_class.title_with_code,
        )
    ElementTree.indent(style)
    declaration = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    write_text(path, declaration + ElementTree.tostring(style, encoding="unicode") + "\n")
    return path
