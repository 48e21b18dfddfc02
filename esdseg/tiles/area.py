"""The area that a user asks for: bounds in degrees or metres, or polygons of a GeoJSON or GeoPackage file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esdseg.errors import InputDataError, UsageError

if TYPE_CHECKING:
    import shapely

WGS84 = "EPSG:4326"
"""Longitude and latitude in degrees, in that order here."""

MOST_DEGREES = 360.0
"""Bounds with a larger number are metres."""

STRAIGHT_SHARE = 1 / 64
"""Longest piece of an edge, as a share of the area's extent, that is taken to stay straight in another
reference system."""

BOUNDS_FORM = "WEST,SOUTH,EAST,NORTH in degrees, such as 34.1,-14.2,34.6,-13.8"
"""How bounds are written."""


Bounds = tuple[float, float, float, float]
"""Left, bottom, right and top."""


@dataclass(frozen=True)
class Area:
    """An area of the ground.

    Attributes:
        text: What the user wrote.
        crs: Reference system of the geometry, as WKT or a code.
        geometry: One or several polygons.
    """

    text: str
    crs: str
    geometry: "shapely.Geometry"

    def in_crs(self, crs_wkt: str) -> "shapely.Geometry":
        """Return the geometry in another reference system."""
        return project(self.geometry, self.crs, crs_wkt)

    @property
    def center(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the area's bounds, in degrees."""
        from rasterio.warp import transform

        left, bottom, right, top = self.geometry.bounds
        x, y = transform(self.crs, WGS84, [(left + right) / 2], [(bottom + top) / 2])
        return x[0], y[0]


def project(geometry: "shapely.Geometry", source: str, target: str) -> "shapely.Geometry":
    """Return a geometry in another reference system, its long edges cut so that they can bend."""
    import numpy as np
    import shapely
    from rasterio.warp import transform

    left, bottom, right, top = geometry.bounds
    longest = max(right - left, top - bottom) * STRAIGHT_SHARE
    pieces = shapely.segmentize(geometry, longest) if longest > 0 else geometry
    return shapely.transform(
        pieces, lambda xy: np.column_stack(transform(source, target, xy[:, 0], xy[:, 1]))
    )


def read_area(text: str, crs: str | None = None) -> Area:
    """Read an area as a user names it.

    Args:
        text: Bounds ``WEST,SOUTH,EAST,NORTH`` in degrees, or in metres of ``crs``; or the path of a file of
            polygons that GDAL reads, such as GeoJSON or a GeoPackage.
        crs: The reference system of bounds in metres.

    Raises:
        UsageError: The bounds are no four numbers, are empty or in the wrong order, or are metres of no
            known reference system.
        InputDataError: The file is not there, cannot be read, has no reference system or no polygon.
    """
    import shapely

    if re.fullmatch(r"[\s\d.,+\-eE]+", text) and "," in text:
        bounds = _read_bounds(text)
        in_metres = max(map(abs, bounds)) > MOST_DEGREES
        if in_metres and crs is None:
            raise UsageError(f"The area {text} is not in degrees; write {BOUNDS_FORM}, or give --crs too.")
        return Area(text, crs if in_metres and crs is not None else WGS84, shapely.box(*bounds))
    return _read_polygons(Path(text))


def _read_bounds(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(number) for number in text.split(","))
    except ValueError:
        raise UsageError(f"The area {text} is not four numbers; write {BOUNDS_FORM}.") from None
    if west >= east or south >= north:
        raise UsageError(f"The area {text} is empty: west and south come first; write {BOUNDS_FORM}.")
    if max(map(abs, (west, east))) <= MOST_DEGREES and max(map(abs, (south, north))) > 90:
        raise UsageError(f"The area {text} has a latitude beyond 90 degrees; write {BOUNDS_FORM}.")
    return west, south, east, north


def _read_polygons(path: Path) -> Area:
    import shapely
    from pyogrio.errors import DataSourceError
    from pyogrio.raw import read

    if not path.exists():
        raise InputDataError(
            f"The area {path} is no file; name a GeoJSON or GeoPackage file, or {BOUNDS_FORM}."
        )
    try:
        meta, _, geometries, _ = read(path, columns=[], force_2d=True)
    except (DataSourceError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputDataError(
            f"The area {path} cannot be read ({reason}); give a GeoJSON or GeoPackage file."
        ) from None
    shapes = shapely.from_wkb([] if geometries is None else geometries)
    polygons = [shape for shape in shapes if shape is not None and shape.area > 0]
    if not polygons:
        raise InputDataError(f"{path} holds no polygon; draw the area as a polygon, or write {BOUNDS_FORM}.")
    if not meta["crs"]:
        raise InputDataError(f"{path} does not say its reference system; save it as GeoJSON or a GeoPackage.")
    return Area(str(path), str(meta["crs"]), shapely.union_all(polygons))


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Return whether two bounds share an area."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
