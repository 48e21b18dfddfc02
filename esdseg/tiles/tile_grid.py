"""Where a tile lies: its rasters share one grid, and its label grid fits it.

The contest's own files do not say where they lie. Where files do, what they say is compared, so that rasters
of two places, or turned ones, are never stored as one tile.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, floor, hypot, isfinite, radians
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, PIXEL_SIZE_M, TILE_SIZE_PX
from esdseg.tiles.reading import Georeference, TileFileError

MOST_DISTANCE_PX = 0.5
"""How far the corners of two rasters on one grid may lie apart, in raster pixels: nearest-neighbour
resampling of one to the other would move no value."""

SIZE_TOLERANCE = 0.05
"""How far a pixel's side may be from 10 m, as a fraction: the contest calls its own pixels "about 10 m"."""

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth (WGS 84)."""

Matrix = npt.NDArray[np.float64]
Values = TypeVar("Values", bound=npt.NDArray[np.generic])


@dataclass(frozen=True)
class TileGrid:
    """The grid that the files of a tile share.

    Attributes:
        georeference: Where the tile lies; ``None`` where no raster says so with a reference system.
        turned: Files whose rows run the other way than those of the rasters.
        misfits: Files that lie elsewhere, and why.
    """

    georeference: Georeference | None
    turned: frozenset[Path]
    misfits: tuple[TileFileError, ...]

    def orient(self, path: Path, values: Values) -> Values:
        """Return the values of a file of the tile with its rows in the order of the grid's."""
        return values[::-1] if path in self.turned else values  # type: ignore[return-value]


def judge_grid(
    rasters: Mapping[Path, Georeference | None], ground_truth: Path | None, labels: Georeference | None
) -> TileGrid:
    """Find the grid of most rasters of a tile, and the files that contradict it.

    A single raster, or a label grid, that differs by the order of its rows alone is turned. Several such
    rasters are refused, since then either their values or what they say of them may be mirrored.

    Args:
        rasters: Where each raster says it lies; ``None`` where it does not say.
        ground_truth: The label grid, if the tile has one.
        labels: Where it says it lies.
    """
    groups = _group(rasters)
    turned: set[Path] = set()
    misfits: list[TileFileError] = []
    grid = None
    if groups:
        grid = max(groups, key=lambda reference: len(groups[reference]))
        for reference, paths in groups.items():
            if reference is grid:
                misfits += _wrong_pixels(grid, paths, TILE_SIZE_PX, PIXEL_SIZE_M)
            elif len(paths) == 1 and _fits(grid, _turn(reference, TILE_SIZE_PX), TILE_SIZE_PX):
                turned.update(paths)
            else:
                fault, fix = _contradiction(reference, grid), _fix(reference, grid, groups[grid][0])
                misfits += [TileFileError(path, "georeference", fault, fix) for path in paths]
    if ground_truth is not None and labels is not None:
        if grid is None:
            misfits += _wrong_pixels(labels, [ground_truth], GRID_SIZE, PIXEL_SIZE_M * CELL_SIZE_PX)
        else:
            cells = _georeference(grid.crs_wkt, _matrix(grid) @ np.diag([CELL_SIZE_PX, CELL_SIZE_PX, 1.0]))
            if not _fits(cells, labels, GRID_SIZE):
                if _fits(cells, _turn(labels, GRID_SIZE), GRID_SIZE):
                    turned.add(ground_truth)
                else:
                    misfits.append(_misfit_of_labels(ground_truth, labels, cells))
    known = grid if grid is not None and grid.crs_wkt else None
    return TileGrid(known, frozenset(turned), tuple(misfits))


def _group(rasters: Mapping[Path, Georeference | None]) -> dict[Georeference, list[Path]]:
    """Gather the rasters that lie on one grid, by what the first of them says."""
    same: dict[Georeference, list[Path]] = {}
    for path, reference in rasters.items():
        if reference is not None:
            same.setdefault(reference, []).append(path)
    groups: dict[Georeference, list[Path]] = {}
    for reference, paths in same.items():
        first = next((other for other in groups if _fits(other, reference, TILE_SIZE_PX)), reference)
        groups.setdefault(first, []).extend(paths)
    return groups


def _fits(grid: Georeference, other: Georeference, size: int) -> bool:
    """Return whether rasters of ``size`` x ``size`` pixels lie on one grid, by their corners."""
    if not is_same_crs(grid.crs_wkt, other.crs_wkt):
        return False
    most_distance = MOST_DISTANCE_PX * size / TILE_SIZE_PX
    corners = np.array([[0, 0, size, size], [0, size, 0, size], [1, 1, 1, 1]])
    apart = np.linalg.inv(_matrix(grid)) @ _matrix(other) @ corners - corners
    return bool(np.abs(apart).max() <= most_distance)


@lru_cache
def is_same_crs(first: str, second: str) -> bool:
    """Return whether two reference systems are one, in whatever words; a missing one contradicts none."""
    if first == second or not (first and second):
        return True
    from rasterio.crs import CRS

    return bool(CRS.from_wkt(first) == CRS.from_wkt(second))


def _turn(reference: Georeference, rows: int) -> Georeference:
    """Return where a raster lies once its rows are in the opposite order."""
    upside_down = np.array([[1.0, 0, 0], [0, -1, rows], [0, 0, 1]])
    return _georeference(reference.crs_wkt, _matrix(reference) @ upside_down)


def _matrix(reference: Georeference) -> Matrix:
    """Return the matrix (3, 3) from (column, row, 1) to (x, y, 1)."""
    return np.array([reference.transform[:3], reference.transform[3:], (0, 0, 1)])


def _georeference(crs_wkt: str, matrix: Matrix) -> Georeference:
    (a, b, c), (d, e, f), _ = matrix.tolist()
    return Georeference(crs_wkt, (a, b, c, d, e, f))


def _wrong_pixels(
    reference: Georeference, paths: Sequence[Path], size: int, expected_m: float
) -> Iterator[TileFileError]:
    sides_m = pixel_size_m(reference, size)
    if sides_m is None or all(abs(side / expected_m - 1) <= SIZE_TOLERANCE for side in sides_m):
        return
    width, height = (f"{side:.2g}" if side < PIXEL_SIZE_M else f"{side:.0f}" for side in sides_m)
    fault = f"Its pixels are {width} x {height} m; {expected_m:g} x {expected_m:g} m are expected."
    fix = (
        f"Resample it to pixels of {PIXEL_SIZE_M:g} m in UTM, and cut it into tiles of "
        f"{TILE_SIZE_PX} x {TILE_SIZE_PX} pixels: rio warp FILE OUT --res {PIXEL_SIZE_M:g}"
    )
    corners = _middle_pixel(reference, size)
    if corners is not None and not _is_in_metres(reference, sides_m):
        fix += f" --dst-crs EPSG:{utm_zone(corners[0][0], corners[1][0])}"
    for path in paths:
        yield TileFileError(path, "pixel_size", fault, fix)


def _is_in_metres(reference: Georeference, sides_m: tuple[float, float]) -> bool:
    """Return whether a unit of the reference system is a metre on the ground there, by its pixels' sides."""
    a, b, _, d, e, _ = reference.transform
    sides = hypot(a, d), hypot(b, e)
    return all(abs(side / metres - 1) <= SIZE_TOLERANCE for side, metres in zip(sides, sides_m, strict=True))


def utm_zone(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the UTM zone of a place on WGS 84."""
    zone = floor((longitude + 180) % 360 / 6) + 1
    return (32600 if latitude >= 0 else 32700) + zone


@lru_cache
def pixel_size_m(reference: Georeference, size: int) -> tuple[float, float] | None:
    """Return width and height on the ground of the middle pixel of ``size`` x ``size``, in metres.

    Pixels are measured on a sphere, from their longitudes and latitudes, so the unit and the projection of
    the reference system do not matter; the sphere is off by up to 0.6 %.

    Returns:
        ``None`` where there is no reference system, or one that is tied to no place on the Earth.
    """
    corners = _middle_pixel(reference, size)
    if corners is None:
        return None
    longitudes, latitudes = corners
    parallel = cos(radians(latitudes[0]))
    sides = [
        EARTH_RADIUS_M
        * hypot(
            radians((longitudes[end] - longitudes[0] + 180) % 360 - 180) * parallel,
            radians(latitudes[end] - latitudes[0]),
        )
        for end in (1, 2)
    ]
    return sides[0], sides[1]


def _middle_pixel(reference: Georeference, size: int) -> tuple[list[float], list[float]] | None:
    """Return longitudes and latitudes of three corners of a raster's middle pixel.

    Returns:
        Of its first corner and of the ends of its upper and its left side, in degrees; ``None`` where there
        is no reference system, or one that is tied to no place on the Earth.
    """
    if not reference.crs_wkt:
        return None
    from rasterio.crs import CRS
    from rasterio.warp import transform

    middle = size / 2
    pixels = np.array([[middle, middle + 1, middle], [middle, middle, middle + 1], [1, 1, 1]])
    x, y, _ = _matrix(reference) @ pixels
    try:
        longitudes, latitudes = transform(CRS.from_wkt(reference.crs_wkt), CRS.from_epsg(4326), x, y)
    # GDAL and PROJ have many ways to say that a reference system is tied to no place on the Earth.
    except Exception:
        return None
    if not all(map(isfinite, (*longitudes, *latitudes))):
        return None
    return longitudes, latitudes


def _contradiction(reference: Georeference, grid: Georeference) -> str:
    """Say in which way a raster lies elsewhere than most of its tile."""
    most = "most rasters of the tile"
    if not is_same_crs(reference.crs_wkt, grid.crs_wkt):
        return f"It lies in {_crs_name(reference)}, {most} in {_crs_name(grid)}."
    if _fits(grid, _turn(reference, TILE_SIZE_PX), TILE_SIZE_PX):
        return f"Its rows run in the opposite order to those of {most}."
    if _sides(reference) != _sides(grid):
        return f"Its pixels are {_sides(reference)}, those of {most} {_sides(grid)}."
    if _corner(reference) != _corner(grid):
        return f"Its first corner lies at {_corner(reference)}, that of {most} at {_corner(grid)}."
    return f"Its rows or columns run in other directions than those of {most}."


def _misfit_of_labels(path: Path, labels: Georeference, cells: Georeference) -> TileFileError:
    if not is_same_crs(labels.crs_wkt, cells.crs_wkt):
        fault = f"It lies in {_crs_name(labels)}, the rasters in {_crs_name(cells)}."
    elif _sides(labels) != _sides(cells):
        fault = f"Its cells are {_sides(labels)}; by the rasters they should be {_sides(cells)}."
    else:
        fault = f"Its first corner lies at {_corner(labels)}, that of the rasters at {_corner(cells)}."
    fix = (
        f"Write the labels on the tile's own grid, {GRID_SIZE} x {GRID_SIZE} cells from the corner of its "
        "rasters, or fetch the tile again."
    )
    return TileFileError(path, "georeference", fault, fix)


def _corner(reference: Georeference) -> str:
    return f"({reference.transform[2]:.10g}, {reference.transform[5]:.10g})"


def _sides(reference: Georeference) -> str:
    """Say the size of a pixel in the units of the reference system."""
    a, b, _, d, e, _ = reference.transform
    return f"{hypot(a, d):.6g} x {hypot(b, e):.6g}"


def _fix(reference: Georeference, grid: Georeference, like: Path) -> str:
    """Return how a raster comes to lie on the grid of another; ``rio`` is installed with rasterio."""
    if reference.crs_wkt and grid.crs_wkt:
        return f"Resample it to their grid, or fetch the tile again: rio warp FILE OUT --like {like.name}"
    return "Resample it to the grid of the others, or fetch the tile again."


def _crs_name(reference: Georeference) -> str:
    from rasterio.crs import CRS

    if not reference.crs_wkt:
        return "no reference system"
    crs = CRS.from_wkt(reference.crs_wkt)
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else reference.crs_wkt.split('"')[1]
