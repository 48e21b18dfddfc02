"""The map of an area as a STAC item, so that catalogues find it: see stacspec.org, version 1.1."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import JsonValue
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from esdseg.mapping.area_map import AreaMap
from esdseg.prediction.maps import UNKNOWN_CODE, UNKNOWN_TITLE
from esdseg.sensors.classes import CLASSES
from esdseg.system.files import write_text
from esdseg.tiles.area import CELL_SIZE_M, WGS84, CellGrid, reproject

ITEM_NAME = "item.json"
STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)

GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA_TYPES = {
    ".tif": GEOTIFF,
    ".gpkg": "application/geopackage+sqlite3",
    ".csv": "text/csv",
    ".html": "text/html",
    ".yml": "application/yaml",
    ".qml": "application/xml",
    ".xml": "application/xml",
}
ROLES = {".tif": "data", ".gpkg": "data", ".csv": "data", ".html": "overview"}
"""Role of an asset by its ending; any other is metadata."""

DECIMALS = 7
"""Of degrees: about a centimetre."""

SIDE_POINTS = 5
"""Points along each side of the outline, whose sides are not straight in longitude and latitude."""


def write_item(
    folder: Path,
    area: AreaMap,
    title: str,
    made_at: datetime,
    checkpoints: Sequence[str],
    files: Sequence[Path],
) -> Path:
    """Write ``item.json``: where and of when the map is, and a link to each of its files beside the item.

    Args:
        folder: Where the item goes.
        area: The map.
        title: The area's name.
        made_at: When the map was made, with a time zone.
        checkpoints: Paths of the checkpoints that predicted.
        files: The map's other files, in the same folder.

    Raises:
        InputDataError: The file cannot be written.
        MissingResourceError: There is no space left.
    """
    item: dict[str, JsonValue] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": _identifier(title, made_at),
        "geometry": {"type": "Polygon", "coordinates": [_outline(area.grid)]},
        "bbox": list(transform_bounds(area.grid.crs_wkt, WGS84, *area.grid.bounds)),
        "properties": {
            "title": title,
            "description": "Settlements without electricity in cells of 500 m, mapped by esdseg.",
            **period({day for dates in area.dates.values() for day in dates}, made_at),
            "created": moment(made_at),
            "gsd": CELL_SIZE_M,
            "esdseg:checkpoints": list(checkpoints),
            **_projection(area.grid),
        },
        "links": [],
        "assets": {path.name: _asset(path) for path in files},
    }
    write_text(folder / ITEM_NAME, json.dumps(item, indent=2, ensure_ascii=False) + "\n")
    return folder / ITEM_NAME


def _identifier(title: str, made_at: datetime) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() or "area"
    return f"esdseg-{name}-{made_at.astimezone(UTC):%Y%m%dT%H%M%S}"


def moment(at: datetime) -> str:
    """Return a moment as STAC writes it, in UTC and whole seconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def period(days: Collection[date], made_at: datetime) -> dict[str, JsonValue]:
    """Return the fields of an item's time: from the first day to the last; without days when it was made."""
    if not days:
        return {"datetime": moment(made_at)}
    start, end = datetime.combine(min(days), time.min, UTC), datetime.combine(max(days), time.max, UTC)
    return {"datetime": None, "start_datetime": moment(start), "end_datetime": moment(end)}


def _outline(grid: CellGrid) -> list[JsonValue]:
    """Return the outline of a grid in longitude and latitude, counterclockwise from the lower left corner."""
    left, bottom, right, top = grid.bounds
    along = np.linspace(0, 1, SIDE_POINTS, endpoint=False)
    corners = np.array([(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)])
    points = [start + (end - start) * share for start, end in pairwise(corners) for share in along]
    x, y = np.array([*points, corners[0]]).T
    longitude, latitude = reproject(grid.crs_wkt, WGS84, x, y)
    outline: list[JsonValue] = np.round(np.stack([longitude, latitude], axis=-1), DECIMALS).tolist()
    return outline


def _projection(grid: CellGrid) -> Mapping[str, JsonValue]:
    crs = CRS.from_user_input(grid.crs_wkt)
    code = crs.to_authority()
    return {
        "proj:code": ":".join(code) if code else None,
        "proj:wkt2": crs.to_wkt(version="WKT2_2019"),
        "proj:shape": [grid.rows, grid.columns],
        "proj:transform": list(grid.cell_transform)[:6],
        "proj:bbox": list(grid.bounds),
    }


def _asset(path: Path) -> dict[str, JsonValue]:
    asset: dict[str, JsonValue] = {
        "href": f"./{path.name}",
        "type": MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        "roles": [ROLES.get(path.suffix, "metadata")],
    }
    match path.name:
        case "map.tif":
            no_data = {**_entry(UNKNOWN_CODE, "no_data", UNKNOWN_TITLE), "nodata": True}
            classes: list[JsonValue] = [no_data]
            classes += class_entries()
            asset |= {
                "title": "Class of each cell",
                "data_type": "uint8",
                "nodata": UNKNOWN_CODE,
                "classification:classes": classes,
            }
        case "probabilities.tif":
            asset |= {
                "title": "Probability of each class",
                "data_type": "float32",
                "nodata": "nan",
                "bands": [{"name": kind.name, "description": kind.title} for kind in CLASSES],
            }
        case "settlements.gpkg":
            asset["title"] = "Settlements and their cells"
        case "settlements.csv":
            asset["title"] = "Settlements by rank, with OnSSET's columns"
        case "map.html":
            asset["title"] = "The map on one page"
    return asset


def class_entries() -> list[JsonValue]:
    """Return the classes as the extension ``classification`` describes them."""
    return [
        {**_entry(kind.code, kind.name, kind.title), "color_hint": kind.color[1:].upper()} for kind in CLASSES
    ]


def _entry(value: int, name: str, title: str) -> dict[str, JsonValue]:
    return {"value": value, "name": name, "title": title, "description": title}
