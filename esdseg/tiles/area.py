"""An area of the ground: as a user names it, as label cells, and in one reference system or another."""

import re
from dataclasses import dataclass
from functools import partial
from math import ceil, floor, hypot, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from esdseg.errors import InputDataError, UsageError
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M, TILE_SIZE_PX
from esdseg.tiles.reading import (
    Georeference,
    has_place,
    naming_read_faults,
    no_place,
    open_tiff,
    without_side_files,
)
from esdseg.tiles.tile_grid import pixel_size_m, utm_zone

if TYPE_CHECKING:
    import shapely

    from esdseg.tiles.scenes import Scenes

WGS84 = "EPSG:4326"
"""Longitude and latitude in degrees, in that order here."""

MOST_DEGREES = 360.0
"""Bounds with a larger number are metres."""

STRAIGHT_SHARE = 1 / 64
"""Longest piece of an edge, as a share of the area's extent, that is taken to stay straight in another
reference system."""

BOUNDS_FORM = "WEST,SOUTH,EAST,NORTH in degrees, such as 34.1,-14.2,34.6,-13.8"
"""How bounds are written."""


Floats = npt.NDArray[np.float64]

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
        """Return the geometry in another reference system, its long edges cut so that they can bend."""
        import shapely

        left, bottom, right, top = self.geometry.bounds
        longest = max(right - left, top - bottom) * STRAIGHT_SHARE
        pieces = shapely.segmentize(self.geometry, longest) if longest > 0 else self.geometry
        return shapely.transform(pieces, partial(reproject, self.crs, crs_wkt), interleaved=False)

    @property
    def center(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the area's bounds, in degrees."""
        from rasterio.warp import transform

        left, bottom, right, top = self.geometry.bounds
        x, y = transform(self.crs, WGS84, [(left + right) / 2], [(bottom + top) / 2])
        return x[0], y[0]


def reproject(source: Any, target: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Move points from one reference system to another, each as WKT, EPSG code or rasterio's CRS.

    Args:
        source: The system of the points.
        target: The system of the result. In degrees, x is longitude and y latitude.
        x: X coordinate of each point, (N,).
        y: Y coordinate, (N,).

    Returns:
        Coordinates, (N,) each; infinite where the target has no such point.
    """
    from rasterio.crs import CRS
    from rasterio.warp import transform

    if CRS.from_user_input(source) == CRS.from_user_input(target):
        return x, y
    moved_x, moved_y = transform(source, target, x, y)
    return np.asarray(moved_x, np.float64), np.asarray(moved_y, np.float64)


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


CELL_SIZE_M = CELL_SIZE_PX * PIXEL_SIZE_M
"""Side of a label cell."""


@dataclass(frozen=True)
class CellGrid:
    """A rectangle of label cells in a projected reference system whose unit is the metre.

    Rows run from north to south, columns from west to east.

    Attributes:
        crs_wkt: The reference system as WKT.
        left_m: X coordinate of the western edge.
        top_m: Y coordinate of the northern edge.
        rows: Cells from north to south, 1 or more.
        columns: Cells from west to east, 1 or more.
    """

    crs_wkt: str
    left_m: float
    top_m: float
    rows: int
    columns: int

    @property
    def cell_transform(self) -> Affine:
        """The transform from (column, row) of cells to coordinates."""
        return Affine(CELL_SIZE_M, 0.0, self.left_m, 0.0, -CELL_SIZE_M, self.top_m)

    @property
    def georeference(self) -> Georeference:
        """Where the area lies, at pixels of 10 m, as a tile's rasters say it."""
        transform = (PIXEL_SIZE_M, 0.0, self.left_m, 0.0, -PIXEL_SIZE_M, self.top_m)
        return Georeference(self.crs_wkt, transform)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in metres."""
        right = self.left_m + self.columns * CELL_SIZE_M
        return self.left_m, self.top_m - self.rows * CELL_SIZE_M, right, self.top_m

    def part(self, row: int, column: int, rows: int, columns: int) -> "CellGrid":
        """Return a rectangle of the same lattice; it may reach beyond this one.

        Args:
            row: Its first row, counted from this grid's.
            column: Its first column.
            rows: How many rows it has.
            columns: How many columns it has.
        """
        left, top = self.left_m + column * CELL_SIZE_M, self.top_m - row * CELL_SIZE_M
        return CellGrid(self.crs_wkt, left, top, rows, columns)


SNAP_TOLERANCE = 1e-4
"""How far an edge may be from the lattice of cells, as a fraction of a cell, and yet lie on it."""

MOST_DISTORTION = 0.02
"""How far 10 m of ``--crs`` may be from 10 m on the ground; UTM is within 0.1 % in its zone."""

MOST_COARSER = 1.25
"""How much coarser than the finest pixels those of rasters may be that decide what area is covered."""

METRES_PER_DEGREE = 40_000_000 / 360
"""On a great circle, about."""

MOST_CELLS = 16_000_000
"""Largest area: 4000 x 4000 cells, 2000 x 2000 km."""


def choose_grid(scenes: "Scenes", crs: str | None = None, area: str | None = None) -> CellGrid:
    """Choose the cells that scenes are cut to: whole cells of 500 m that cover the area.

    Edges are multiples of 500 m in the reference system, so that neighbouring areas share one lattice. Where
    all rasters are tiles of 800 x 800 px of 10 m, the lattice is that of their label cells.

    Args:
        scenes: The rasters.
        crs: A projected reference system whose unit is the metre, such as ``EPSG:32736``; the UTM zone of the
            area's middle unless given.
        area: Bounds or a file of polygons, see :func:`esdseg.tiles.area.read_area`; what the rasters of the
            finest pixels cover together unless given.

    Raises:
        UsageError: The reference system is unknown, not in metres or off by more than 2 % there, or the area
            cannot be read or is too large.
        InputDataError: A raster cannot be read or does not say where it lies, or the area is outside of all.
    """
    from rasterio.crs import CRS

    chosen = None if crs is None else _read_crs(crs)
    asked = None if area is None else read_area(area, crs)
    footprints = _footprints(scenes)
    if chosen is None:
        chosen = CRS.from_epsg(utm_zone(*(_center(footprints) if asked is None else asked.center)))
    extents = _bounds_in(footprints, chosen)
    covered = _union(extents)
    if not all(map(isfinite, covered)):
        raise UsageError(
            f"The scenes cannot be shown in {crs or chosen}; give the --crs of a zone near them."
        )
    wkt = chosen.to_wkt()
    wanted = covered if asked is None else tuple(asked.in_crs(wkt).bounds)
    if not all(map(isfinite, wanted)) or not any(overlap(wanted, extent) for extent in extents):
        degrees = ",".join(f"{edge:.4f}" for edge in _union(_bounds_in(footprints, WGS84)))
        raise InputDataError(
            f"The area {area} lies outside of the scenes in {scenes.folder}, which cover {degrees}. Give an "
            f"area in it: {BOUNDS_FORM}, or a file of polygons."
        )
    grid = _snap(wkt, wanted, _phase(footprints, chosen))
    _require_size(grid, crs)
    return grid


def extents(scenes: "Scenes", crs_wkt: str) -> list[Bounds]:
    """Return the bounds of the rasters of the finest pixels, each place once.

    Raises:
        TileFileError: A raster cannot be read or does not say where it lies.
    """
    return _bounds_in(_footprints(scenes), crs_wkt)


@dataclass(frozen=True)
class _Footprint:
    """Where a file lies.

    Attributes:
        crs_wkt: Its reference system.
        bounds: Its bounds in that.
        sides: Width and height of a pixel in that.
        shape: Rows and columns.
        pixel_size_m: About the width of a pixel in metres.
    """

    crs_wkt: str
    bounds: Bounds
    sides: tuple[float, float]
    shape: tuple[int, int]
    pixel_size_m: float


def _footprints(scenes: "Scenes") -> tuple[_Footprint, ...]:
    """Return where the rasters of the finest pixels lie, each place once.

    Night lights and other coarse rasters reach far beyond what the fine ones show.
    """
    paths = scenes.files
    prints: dict[_Footprint, None] = {}
    silent = []
    for path in paths:
        with naming_read_faults(path), without_side_files(), open_tiff(path) as source:
            if not has_place(source):
                silent.append(path)
                continue
            place = source.crs.to_wkt(), tuple(source.bounds), source.res, source.shape
            prints[_Footprint(*place, pixel_size_m=pixel_width_m(source))] = None
    if silent:
        raise no_place(silent[0], f" ({len(silent)} of {len(paths)} rasters in {scenes.folder} do not)")
    finest = min(footprint.pixel_size_m for footprint in prints)
    return tuple(footprint for footprint in prints if footprint.pixel_size_m <= MOST_COARSER * finest)


def pixel_width_m(source: Any) -> float:
    """Return about the width of a pixel of an open raster, in metres."""
    metres = METRES_PER_DEGREE if source.crs.is_geographic else source.crs.linear_units_factor[1]
    return hypot(source.transform.a, source.transform.d) * float(metres)


def _bounds_in(footprints: tuple[_Footprint, ...], crs: Any) -> list[Bounds]:
    from rasterio.warp import transform_bounds

    return [transform_bounds(footprint.crs_wkt, crs, *footprint.bounds) for footprint in footprints]


def _read_crs(text: str) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    fix = "give a zone in metres, such as --crs EPSG:32736 (UTM zone 36 south), or leave --crs away"
    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        raise UsageError(f"--crs {text} is no reference system that PROJ knows; {fix}.") from None
    if not crs.is_projected:
        raise UsageError(f"--crs {text} is in degrees; cells of 500 m need metres: {fix}.")
    unit, metres = crs.linear_units_factor
    if metres != 1:
        raise UsageError(f"--crs {text} is in units of {unit}; cells of 500 m need metres: {fix}.")
    return crs


def _center(footprints: tuple[_Footprint, ...]) -> tuple[float, float]:
    """Return longitude and latitude of the middle of all; longitudes may cross 180 degrees."""
    from rasterio.warp import transform

    longitudes, latitudes = [], []
    for footprint in footprints:
        left, bottom, right, top = footprint.bounds
        x, y = transform(footprint.crs_wkt, WGS84, [left, left, right, right], [bottom, top, bottom, top])
        longitudes += x
        latitudes += y
    first = longitudes[0]
    turned = [(longitude - first + 180) % 360 - 180 + first for longitude in longitudes]
    return (min(turned) + max(turned)) / 2, (min(latitudes) + max(latitudes)) / 2


def _union(bounds: list[Bounds]) -> Bounds:
    lefts, bottoms, rights, tops = zip(*bounds, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _phase(footprints: tuple[_Footprint, ...], crs: Any) -> tuple[float, float]:
    """Return where the lattice of cells begins: at 0, 0 unless the rasters are tiles of another lattice."""
    from rasterio.crs import CRS

    first = footprints[0]
    phase = first.bounds[0] % CELL_SIZE_M, first.bounds[3] % CELL_SIZE_M
    for footprint in footprints:
        apart = (footprint.bounds[0] - first.bounds[0], footprint.bounds[3] - first.bounds[3])
        if (
            footprint.shape != (TILE_SIZE_PX, TILE_SIZE_PX)
            or any(abs(side - PIXEL_SIZE_M) > SNAP_TOLERANCE for side in footprint.sides)
            or any(abs(gap / CELL_SIZE_M - round(gap / CELL_SIZE_M)) > SNAP_TOLERANCE for gap in apart)
        ):
            return 0.0, 0.0
    return phase if CRS.from_wkt(first.crs_wkt) == crs else (0.0, 0.0)


def _snap(crs_wkt: str, bounds: tuple[float, ...], phase: tuple[float, float]) -> CellGrid:
    left, bottom, right, top = ((edge - phase[place % 2]) / CELL_SIZE_M for place, edge in enumerate(bounds))
    first, last = floor(left + SNAP_TOLERANCE), ceil(right - SNAP_TOLERANCE)
    low, high = floor(bottom + SNAP_TOLERANCE), ceil(top - SNAP_TOLERANCE)
    return CellGrid(
        crs_wkt,
        left_m=first * CELL_SIZE_M + phase[0],
        top_m=high * CELL_SIZE_M + phase[1],
        rows=max(1, high - low),
        columns=max(1, last - first),
    )


def _require_size(grid: CellGrid, crs: str | None) -> None:
    """Refuse areas that are too large, and reference systems whose metres are none on the ground."""
    if grid.rows * grid.columns > MOST_CELLS:
        kilometres = [cells * CELL_SIZE_M / 1000 for cells in (grid.columns, grid.rows)]
        raise UsageError(
            f"The area is {kilometres[0]:.0f} x {kilometres[1]:.0f} km; 2000 x 2000 km are mapped at most. "
            f"Give a part of it with --area: {BOUNDS_FORM}."
        )
    if crs is None:
        return
    middle = grid.part(grid.rows // 2, grid.columns // 2, 1, 1).georeference
    sides = pixel_size_m(middle, CELL_SIZE_PX)
    if sides is not None and any(abs(side / PIXEL_SIZE_M - 1) > MOST_DISTORTION for side in sides):
        raise UsageError(
            f"10 m of --crs {crs} are {sides[0]:.1f} x {sides[1]:.1f} m on the ground there; leave --crs "
            "away for the UTM zone of the area."
        )
