"""Settlements as files: a GeoPackage that QGIS opens coloured, and a table that OnSSET reads."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import shapely
from pyogrio.errors import DataSourceError
from pyogrio.raw import write as write_vectors

from esdseg.mapping.settlements import (
    CELL_AREA_KM2,
    LIT_SETTLEMENT,
    Attributes,
    Settlements,
    Shapes,
    VectorCrs,
)
from esdseg.sensors.classes import CONTEST_CLASS
from esdseg.system.files import naming_write_faults, write_text
from esdseg.tiles.area import WGS84, reproject

GEOPACKAGE_NAME = "settlements.gpkg"
TABLE_NAME = "settlements.csv"

SETTLEMENT_LAYER = "settlements"
CELL_LAYER = "cells"
STYLE_LAYER = "layer_styles"
"""Table in which QGIS looks for the styles of the layers beside it."""

GEOMETRY_COLUMN = "geom"

VERSION = "1.3"
"""Of the GeoPackage format: programs of 2021 know it."""

Columns = Mapping[str, npt.NDArray[Any]]


def write_geopackage(
    folder: Path, settlements: Settlements, vector_crs: VectorCrs, made_at: datetime
) -> Path:
    """Write ``settlements.gpkg`` with the layers ``settlements`` and ``cells``, and their styles for QGIS.

    Columns are those of :class:`~esdseg.mapping.settlements.Settlements`, with their units in their names.
    Areas and distances are measured in the map's reference system whatever that of the file. A value that is
    not known is null.

    Args:
        folder: Where the file goes.
        settlements: The settlements; there may be none.
        vector_crs: Reference system of the file: the map's, or longitude and latitude.
        made_at: When the map was made, with a time zone.

    Raises:
        InputDataError: The file cannot be written.
        MissingResourceError: There is no space left.
    """
    path = folder / GEOPACKAGE_NAME
    # GDAL asks for the ending of the format.
    part = path.with_name(f".part.{path.name}")
    part.unlink(missing_ok=True)
    crs = settlements.grid.crs_wkt if vector_crs == "map" else WGS84
    size = {"cells": settlements.cells, "area_km2": settlements.area_km2}
    least = {"probability_least": settlements.probability_least}
    of_cells = settlements.known_of_cells
    with naming_write_faults(path, part):
        try:
            _write_layer(
                part,
                SETTLEMENT_LAYER,
                _moved(settlements.outlines(), settlements.grid.crs_wkt, crs),
                "MultiPolygon",
                _columns(settlements.known, size, least),
                crs,
            )
            area_km2 = {"area_km2": np.full(len(of_cells.code), CELL_AREA_KM2)}
            _write_layer(
                part,
                CELL_LAYER,
                _moved(settlements.squares(), settlements.grid.crs_wkt, crs),
                "Polygon",
                _columns(of_cells, area_km2, {}),
                crs,
            )
            _write_styles(part, made_at)
        except DataSourceError as error:
            raise OSError(str(error)) from None
        part.replace(path)
    return path


def _columns(known: Attributes, size: Columns, least: Columns) -> Columns:
    columns: dict[str, npt.NDArray[Any]] = {
        "settlement": known.settlement,
        "class_code": known.code.astype(np.int32),
        **size,
        "probability": known.probability,
        **least,
        "light": known.light,
        "distance_to_light_km": known.distance_to_light_km,
    }
    if known.population is not None:
        columns["population"] = known.population
    if known.distance_to_grid_km is not None:
        columns["distance_to_grid_km"] = known.distance_to_grid_km
    return columns


def _moved(shapes: Shapes, source: str, target: str) -> Shapes:
    if source == target:
        return shapes
    moved = shapely.transform(shapes, partial(reproject, source, target), interleaved=False)
    return np.asarray(moved, dtype=object)


def _write_layer(path: Path, name: str, shapes: Shapes, kind: str, columns: Columns, crs: str) -> None:
    write_vectors(
        path,
        geometry=shapely.to_wkb(shapes),
        field_data=list(columns.values()),
        fields=list(columns),
        geometry_type=kind,
        crs=crs,
        layer=name,
        driver="GPKG",
        append=path.exists(),
        layer_options={"GEOMETRY_NAME": GEOMETRY_COLUMN},
        dataset_options={"VERSION": VERSION},
    )


def _write_styles(path: Path, made_at: datetime) -> None:
    """Write the table of styles, one for each layer, which QGIS takes by itself."""
    opacities = {SETTLEMENT_LAYER: 0.35, CELL_LAYER: 0.7}
    layers = list(opacities)
    texts = {
        "f_table_catalog": [""] * len(layers),
        "f_table_schema": [""] * len(layers),
        "f_table_name": layers,
        "f_geometry_column": [GEOMETRY_COLUMN] * len(layers),
        "styleName": layers,
        "styleQML": [_style(opacity) for opacity in opacities.values()],
        "styleSLD": [""] * len(layers),
        "description": ["Classes in their colours"] * len(layers),
        "owner": [""] * len(layers),
        "ui": [""] * len(layers),
    }
    columns = {name: np.array(values, dtype=object) for name, values in texts.items()}
    columns["useAsDefault"] = np.ones(len(layers), dtype=bool)
    # QGIS takes no style from a table without it.
    in_utc = made_at.astimezone(UTC).replace(tzinfo=None)
    columns["update_time"] = np.full(len(layers), np.datetime64(in_utc, "ms"))
    write_vectors(
        path,
        geometry=None,
        field_data=list(columns.values()),
        fields=list(columns),
        layer=STYLE_LAYER,
        driver="GPKG",
        append=True,
    )


def _style(opacity: float) -> str:
    """Return a style of QGIS that fills polygons with the colours of their classes."""
    style = ElementTree.Element("qgis", styleCategories="Symbology", version="3.22")
    renderer = ElementTree.SubElement(style, "renderer-v2", type="categorizedSymbol", attr="class_code")
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    for position, label_class in enumerate((CONTEST_CLASS, LIT_SETTLEMENT)):
        ElementTree.SubElement(
            categories,
            "category",
            value=str(label_class.code),
            symbol=str(position),
            label=label_class.title_with_code,
            render="true",
        )
        symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name=str(position), alpha="1")
        layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
        red, green, blue = label_class.rgb
        options = {
            "color": f"{red},{green},{blue},{round(255 * opacity)}",
            "outline_color": f"{red // 2},{green // 2},{blue // 2},255",
            "outline_width": "0.2",
            "style": "solid",
        }
        for name, value in options.items():
            ElementTree.SubElement(layer, "prop", k=name, v=value)
    declaration = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return declaration + ElementTree.tostring(style, encoding="unicode")


def write_table(folder: Path, settlements: Settlements) -> Path:
    """Write ``settlements.csv``: a row a settlement in the order of ranks, under OnSSET's names of columns.

    ``X_deg`` and ``Y_deg`` are longitude and latitude of a cell in its middle, ``Pop`` people,
    ``GridDistCurrent`` km to the electricity grid, ``NightLights`` the brightest clean night light in the
    sensor's numbers, ``ElecStart`` 1 where it has electricity, ``GridCellArea`` km2. What is not known is
    empty. Source: the OnSSET model's settlement file, github.com/OnSSET/onsset.

    Args:
        folder: Where the file goes.
        settlements: The settlements; there may be none.

    Raises:
        InputDataError: The file cannot be written.
        MissingResourceError: There is no space left.
    """
    known = settlements.known
    longitude, latitude = settlements.places()
    unknown = np.full(len(settlements.cells), np.nan)
    columns = {
        "Rank": _shown(known.settlement, 0),
        "X_deg": _shown(longitude, 6),
        "Y_deg": _shown(latitude, 6),
        "Pop": _shown(unknown if known.population is None else known.population, 1),
        "GridDistCurrent": _shown(
            unknown if known.distance_to_grid_km is None else known.distance_to_grid_km, 3
        ),
        "NightLights": _shown(known.light, 3),
        "ElecStart": _shown((known.code != CONTEST_CLASS.code).astype(np.int64), 0),
        "GridCellArea": _shown(settlements.area_km2, 2),
        "Cells": _shown(settlements.cells, 0),
        "Probability": _shown(known.probability, 4),
        "ProbabilityLeast": _shown(settlements.probability_least, 4),
        "LightDist": _shown(known.distance_to_light_km, 3),
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text(folder / TABLE_NAME, text.getvalue())
    return folder / TABLE_NAME


def _shown(values: npt.NDArray[np.generic], decimals: int) -> Sequence[str]:
    return [f"{value:.{decimals}f}" if value == value else "" for value in values.tolist()]
