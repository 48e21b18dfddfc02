"""What users bring to a map: people in each pixel of a raster, and the lines of the electricity grid."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from pyogrio import list_layers
from pyogrio.errors import DataSourceError
from pyogrio.raw import read as read_vectors
from rasterio.errors import RasterioIOError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from esdseg.errors import InputDataError
from esdseg.tiles.area import CellGrid, Floats, reproject

STRIP_PIXELS = 250_000
"""Pixels of a raster of people that are read at once."""

FLAT = 1e-7
"""Rise of an edge in cells below which it counts as level."""

Shapes = npt.NDArray[np.object_]


def check_supplements(population: Path | None, lines: Path | None) -> None:
    """Refuse files that cannot be used, before anything is predicted.

    Raises:
        InputDataError: A file is missing, cannot be read, says no reference system, or holds several layers.
    """
    if population is not None:
        _open_population(population).close()
    if lines is not None:
        _check_layers(lines)


def population_of_cells(path: Path, grid: CellGrid) -> Floats:
    """Sum people over the cells of a grid; a pixel counts in each cell by the share of its area in it.

    Args:
        path: A raster of people in each pixel, not of people per km2, in any reference system. Pixels without
            data and negative ones hold nobody.
        grid: The cells.

    Returns:
        People in each cell, (R, C); NaN where the middle of a cell lies beyond the raster.

    Raises:
        InputDataError: The raster cannot be read, says no reference system, or covers no cell.
    """
    people = np.zeros(grid.rows * grid.columns)
    with _open_population(path) as file:
        covered = _covered_cells(file, grid)
        if not covered.any():
            raise InputDataError(f"{path} holds no people of the mapped area; give a raster that covers it.")
        window = _window_of(file, grid)
        strip_rows = max(1, STRIP_PIXELS // int(window.width))
        for top in range(int(window.row_off), int(window.row_off + window.height), strip_rows):
            height = min(strip_rows, int(window.row_off + window.height) - top)
            strip = Window(window.col_off, top, window.width, height)
            count = file.read(1, window=strip, masked=True).astype(np.float64).filled(0.0)
            corners = _corners_in_cells(file, strip, grid)
            people += _share_out(count, *corners, grid)
    return np.where(covered, people.reshape(grid.rows, grid.columns), np.nan)


def _open_population(path: Path) -> rasterio.DatasetReader:
    try:
        file = rasterio.open(path)
    except RasterioIOError as error:
        raise InputDataError(
            f"The raster of people {path} cannot be read ({error}); give a GeoTIFF of people in each pixel."
        ) from None
    if file.crs is None:
        file.close()
        raise InputDataError(
            f"The raster of people {path} does not say its reference system; add it with `gdal_edit.py "
            f"-a_srs EPSG:4326 {path}`, or whichever it is."
        )
    return file


def _covered_cells(file: rasterio.DatasetReader, grid: CellGrid) -> npt.NDArray[np.bool_]:
    rows, columns = np.indices((grid.rows, grid.columns)).reshape(2, -1)
    # affine takes arrays too; its types say so of numbers alone.
    centers: Any = columns + 0.5, rows + 0.5
    x, y = grid.cell_transform @ centers
    x, y = reproject(grid.crs_wkt, file.crs, x, y)
    column, row = ~file.transform @ (x, y)
    inside = (column >= 0) & (column < file.width) & (row >= 0) & (row < file.height)
    return inside.reshape(grid.rows, grid.columns)


def _window_of(file: rasterio.DatasetReader, grid: CellGrid) -> Window:
    """Return the window of a raster that holds all of a grid, in whole pixels, a pixel wider on each side."""
    west, south, east, north = transform_bounds(grid.crs_wkt, file.crs, *grid.bounds, densify_pts=21)
    columns, rows = ~file.transform @ (
        np.array([west, west, east, east]),
        np.array([south, north, south, north]),
    )
    left, right = int(np.floor(columns.min())) - 1, int(np.ceil(columns.max())) + 1
    top, bottom = int(np.floor(rows.min())) - 1, int(np.ceil(rows.max())) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, file.width), min(bottom, file.height)
    return Window(left, top, right - left, bottom - top)


def _corners_in_cells(file: rasterio.DatasetReader, strip: Window, grid: CellGrid) -> tuple[Floats, Floats]:
    """Return the column and row in cells of the corners of pixels, (height + 1, width + 1) each."""
    shape = int(strip.height) + 1, int(strip.width) + 1
    rows, columns = np.indices(shape).reshape(2, -1)
    x, y = file.transform @ (columns + strip.col_off, rows + strip.row_off)
    x, y = reproject(file.crs, grid.crs_wkt, x, y)
    column, row = ~grid.cell_transform @ (x, y)
    return column.reshape(shape), row.reshape(shape)


def _share_out(count: Floats, columns: Floats, rows: Floats, grid: CellGrid) -> Floats:
    """Share the people of pixels out to cells.

    Args:
        count: People in each pixel, (height, width).
        columns: Column in cells of the corners of the pixels, (height + 1, width + 1).
        rows: Row in cells of them.
        grid: The cells.

    Returns:
        People in each cell, (R * C,).
    """
    inhabited = count > 0
    count = count[inhabited]
    # The corners of each pixel, in the order of a ring.
    sides = ((0, 0), (0, 1), (1, 1), (1, 0))
    height, width = inhabited.shape
    ring_columns, ring_rows = (
        np.stack([values[i : i + height, j : j + width][inhabited] for i, j in sides], axis=-1)
        for values in (columns, rows)
    )
    first = np.floor(np.stack([ring_rows.min(axis=-1), ring_columns.min(axis=-1)])).astype(np.int64)
    last = np.ceil(np.stack([ring_rows.max(axis=-1), ring_columns.max(axis=-1)])).astype(np.int64) - 1
    last = np.maximum(first, last)
    whole = (first == last).all(axis=0)
    row, column = first[:, whole]
    people = _add(np.zeros(grid.rows * grid.columns), row, column, count[whole], grid)

    split = np.flatnonzero(~whole)
    spans = last[:, split] - first[:, split] + 1
    # Each pixel once for each cell that it may touch.
    touched = spans.prod(axis=0)
    of_pixel = np.repeat(np.arange(len(split)), touched)
    within = np.arange(len(of_pixel)) - np.repeat(np.cumsum(touched) - touched, touched)
    row = first[0, split][of_pixel] + within // spans[1][of_pixel]
    column = first[1, split][of_pixel] + within % spans[1][of_pixel]
    x = ring_columns[split][of_pixel] - column[:, None]
    y = ring_rows[split][of_pixel] - row[:, None]
    inside = _area_in_unit_square(x, y)
    # The parts of a pixel make up the whole.
    share = inside / np.bincount(of_pixel, inside)[of_pixel]
    return _add(people, row, column, count[split][of_pixel] * share, grid)


def _area_in_unit_square(x: Floats, y: Floats) -> Floats:
    """Return the area of polygons within 0 <= x <= 1 and 0 <= y <= 1, (P,).

    It is the integral, around each polygon, of y limited to the square over x limited to the square.

    Args:
        x: Of the corners, in order, (P, corners).
        y: Of the corners.
    """
    next_x, next_y = np.roll(x, -1, axis=-1), np.roll(y, -1, axis=-1)
    run = next_x - x
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(run == 0, 0.0, (next_y - y) / run)
    start_x, end_x = np.clip(x, 0, 1), np.clip(next_x, 0, 1)
    start_y, end_y = y + slope * (start_x - x), y + slope * (end_x - x)
    rise = end_y - start_y
    is_flat = np.abs(rise) < FLAT
    middle = np.clip((start_y + end_y) / 2, 0, 1)
    integrals = _integral_of_limited(end_y) - _integral_of_limited(start_y)
    mean = np.where(is_flat, middle, integrals / np.where(is_flat, 1.0, rise))
    return np.abs((mean * (end_x - start_x)).sum(axis=-1))


def _integral_of_limited(y: Floats) -> Floats:
    """Return the integral from 0 to ``y`` of y limited to 0 to 1."""
    limited = np.clip(y, 0, 1)
    return limited**2 / 2 + np.maximum(y - 1, 0)


def _add(
    people: Floats, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], count: Floats, grid: CellGrid
) -> Floats:
    inside = (row >= 0) & (row < grid.rows) & (column >= 0) & (column < grid.columns)
    position = row[inside] * grid.columns + column[inside]
    return people + np.bincount(position, count[inside], minlength=len(people))


def distances_to_lines(path: Path, grid: CellGrid, squares: Shapes) -> Floats:
    """Return how far cells lie from the nearest line of the electricity grid.

    Args:
        path: A vector file in any reference system; points and polygons count as lines do.
        grid: The cells' grid, in whose reference system distances are measured.
        squares: Outlines of cells, (N,).

    Returns:
        Metres from each outline, (N,); 0 where a line crosses it.

    Raises:
        InputDataError: The file cannot be read, says no reference system, or holds no shape.
    """
    lines = _read_shapes(path, grid.crs_wkt)
    if not len(squares):
        return np.zeros(0)
    nearest, distances = shapely.STRtree(lines).query_nearest(
        squares, return_distance=True, all_matches=False
    )
    found = np.full(len(squares), np.nan)
    found[nearest[0]] = distances
    return found


def _check_layers(path: Path) -> None:
    if not path.exists():
        raise InputDataError(
            f"The file of the electricity grid's lines {path} does not exist; name a vector file."
        )
    try:
        layers = [str(layer) for layer, kind in list_layers(path) if kind is not None]
    except (DataSourceError, ValueError) as error:
        raise _unreadable(path, error) from None
    if len(layers) > 1:
        raise InputDataError(
            f"{path} holds several layers ({', '.join(layers)}); write the one of the grid's lines to a "
            f"file of its own: `ogr2ogr lines.gpkg {path} {layers[0]}`."
        )


def _read_shapes(path: Path, crs: str) -> Shapes:
    """Read the shapes of a vector file, those left out that ``crs`` cannot hold."""
    _check_layers(path)
    try:
        meta, _, geometries, _ = read_vectors(path, columns=[], force_2d=True)
    except (DataSourceError, ValueError) as error:
        raise _unreadable(path, error) from None
    shapes = shapely.from_wkb([] if geometries is None else geometries)
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    if not len(shapes):
        raise InputDataError(f"{path} holds no line of the electricity grid; give a file that does.")
    if not meta["crs"]:
        raise InputDataError(f"{path} does not say its reference system; save it as a GeoPackage.")
    moved = shapely.transform(shapes, partial(reproject, str(meta["crs"]), crs), interleaved=False)
    moved = moved[np.isfinite(shapely.bounds(moved)).all(axis=-1)]
    if not len(moved):
        raise InputDataError(f"No line of {path} lies near the mapped area; give a file of lines there.")
    return np.asarray(moved, dtype=object)


def _unreadable(path: Path, error: Exception) -> InputDataError:
    # What follows is advice for programmers.
    reason = str(error).partition(";")[0].splitlines()[0].rstrip(".")
    return InputDataError(
        f"The lines of the electricity grid {path} cannot be read ({reason}); give a GeoPackage, GeoJSON or "
        "shapefile."
    )
