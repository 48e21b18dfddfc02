"""Labels for any place: from a raster of codes, or from buildings and light by the contest's rule.

The rule, from the contest's description (DOI 10.21227/vfbk-6325): a cell is a settlement if any building
stands in it, and it has electricity if any part of it is lit, however small.

Its limits here: buildings and light are only as good and as recent as their files, and where a file of
buildings or of lit areas has nothing, there is taken to be nothing. A pixel of night lights is about as large
as a cell and never lies on the grid of cells, and lamps shine into the pixels beside theirs, so ``lights``
calls more cells lit than have electricity. Without electricity does not mean without lamps: what is too faint
for the sensor is dark.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from esdseg.config.cutting import CutConfig
from esdseg.errors import InputDataError
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES
from esdseg.tiles.area import CELL_SIZE_M, WGS84, CellGrid
from esdseg.tiles.reading import UNKNOWN_CODE, has_place

CodeGrid = npt.NDArray[np.uint16]
CellMask = npt.NDArray[np.bool_]

NO_LIGHT_BELOW = -1.0
"""Light below this is a product's mark of no data, such as -999.9; noise around darkness is above it."""

TOLERANCE_PX = 0.001
"""How far from its exact place a pixel may be looked up, in the raster's pixels."""

BLOCK_CELLS = 64
"""Cells along each side of the blocks in which light is read: 10 million pixels of 10 m."""

FEATURES_AT_ONCE = 500_000
"""Buildings that are held in memory at once."""

PAIRS_AT_ONCE = 100_000
"""Pairs of a shape and a cell that are intersected at once."""

_SHAPE_COLUMN = {"GEOM_POSSIBLE_NAMES": "geometry,wkt,WKT,geom,the_geom"}
_POINT_COLUMNS = {
    "X_POSSIBLE_NAMES": "longitude,lon,lng,long,x,X",
    "Y_POSSIBLE_NAMES": "latitude,lat,y,Y",
}
"""Names of a table's columns of shapes, which are looked for first, or points, for GDAL's CSV driver."""


def label_cells(config: CutConfig, grid: CellGrid) -> CodeGrid | None:
    """Return the label codes of an area as the settings say.

    Args:
        config: The settings; their ``labels``, ``buildings``, ``lights``, ``lit`` and ``light_threshold``.
        grid: The cells.

    Returns:
        Codes (rows, columns), 1 to 4, and 0 where unknown; ``None`` where the settings name no labels.

    Raises:
        InputDataError: A file cannot be read, does not say where it lies, holds other codes than labels, or
            has nothing to say of the area.
    """
    if config.labels is not None:
        return read_codes(config.labels, grid)
    if config.buildings is None:
        return None
    has_building = touched_cells(config.buildings, grid)
    if not has_building.any():
        raise InputDataError(
            f"No building of {config.buildings} stands in the area; name a file of buildings that covers it, "
            "or another --area."
        )
    if config.lit is not None:
        is_lit = touched_cells(config.lit, grid)
        is_known = np.ones_like(is_lit)
    else:
        assert config.lights is not None
        is_lit, is_known = lit_cells(config.lights, grid, config.light_threshold)
        if not is_known.any():
            raise InputDataError(
                f"{config.lights} has no data in the area; name a raster of lights that covers it."
            )
    return apply_rule(has_building, is_lit, is_known)


def apply_rule(has_building: CellMask, is_lit: CellMask, is_known: CellMask) -> CodeGrid:
    """Return label codes by the contest's rule; 0 where it is not known whether a cell is lit."""
    dark = np.where(has_building, 1, 2)
    lit = np.where(has_building, 3, 4)
    return np.where(is_known, np.where(is_lit, lit, dark), UNKNOWN_CODE).astype(np.uint16)


def read_codes(path: Path, grid: CellGrid) -> CodeGrid:
    """Read label codes at the centres of cells; a raster of 500 m on the same lattice is read as it is.

    Raises:
        InputDataError: The raster cannot be read, does not say where it lies, has no data in the area, or
            has values that are no codes.
    """
    shape = grid.rows, grid.columns
    with _view(path, "--labels", grid.crs_wkt, grid.cell_transform, shape) as view:
        if np.dtype(view.dtypes[0]).kind not in "iu":
            raise InputDataError(
                f"{path}: its values are {view.dtypes[0]}; labels are whole numbers, 1 to 4. Write them as "
                "integers."
            )
        codes = np.where(view.dataset_mask() > 0, view.read(1), UNKNOWN_CODE)
    known = {label_class.code for label_class in CLASSES}
    others = sorted({*np.unique(codes).tolist()} - {UNKNOWN_CODE, *known})
    if others:
        raise InputDataError(
            f"{path}: codes {', '.join(map(str, others[:5]))} are no labels; label codes are "
            f"{min(known)} to {max(known)}, and {UNKNOWN_CODE} where unknown."
        )
    if not codes.any():
        raise InputDataError(f"{path} has no labels in the area; name one that covers it, or another --area.")
    return codes.astype(np.uint16)


def lit_cells(path: Path, grid: CellGrid, threshold: float) -> tuple[CellMask, CellMask]:
    """Return which cells a pixel of light brighter than a threshold reaches into, and where light is known.

    Args:
        path: Raster of light; its scale and offset are applied.
        grid: The cells.
        threshold: Light that must be exceeded, in the raster's unit.

    Returns:
        Both (rows, columns). A cell without any data is neither lit nor known.

    Raises:
        InputDataError: The raster cannot be read or does not say where it lies.
    """
    is_lit, is_known = (np.zeros((grid.rows, grid.columns), bool) for _ in range(2))
    for row in range(0, grid.rows, BLOCK_CELLS):
        for column in range(0, grid.columns, BLOCK_CELLS):
            rows, columns = min(BLOCK_CELLS, grid.rows - row), min(BLOCK_CELLS, grid.columns - column)
            block = slice(row, row + rows), slice(column, column + columns)
            part = grid.part(row, column, rows, columns)
            light = _read_light(path, part).reshape(rows, CELL_SIZE_PX, columns, CELL_SIZE_PX)
            is_known[block] = np.any(np.isfinite(light), axis=(1, 3))
            is_lit[block] = np.any(light > threshold, axis=(1, 3))
    return is_lit, is_known


def _read_light(path: Path, grid: CellGrid) -> npt.NDArray[np.float32]:
    """Read light at the pixels of cells; NaN without data."""
    shape = grid.rows * CELL_SIZE_PX, grid.columns * CELL_SIZE_PX
    transform = Affine(*grid.georeference.transform)
    with _view(path, "--lights", grid.crs_wkt, transform, shape) as view:
        raw, mask = view.read(1), view.dataset_mask()
        light = raw.astype(np.float32) * np.float32(view.scales[0]) + np.float32(view.offsets[0])
    is_fill = raw == np.iinfo(np.uint16).max if raw.dtype == np.uint16 else raw < NO_LIGHT_BELOW
    light[(mask == 0) | is_fill] = np.nan
    return light


@contextmanager
def _view(path: Path, flag: str, crs_wkt: str, transform: Affine, shape: tuple[int, int]) -> Iterator[Any]:
    """Open a view of a raster's nearest pixels on a grid; where there is no data, its mask is 0."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.vrt import WarpedVRT

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path)
    except (RasterioError, OSError) as error:
        raise InputDataError(
            f"{flag} {path} cannot be read ({error}); name a raster such as a GeoTIFF."
        ) from None
    with source:
        if not has_place(source):
            raise InputDataError(
                f"{flag} {path} does not say where it lies; give one with a reference system."
            )
        no_data = source.nodata
        mask = {"add_alpha": True} if no_data is None else {"src_nodata": no_data, "nodata": no_data}
        place = {"crs": crs_wkt, "transform": transform, "height": shape[0], "width": shape[1]}
        with WarpedVRT(source, **place, tolerance=TOLERANCE_PX, **mask) as view:
            yield view


def touched_cells(path: Path, grid: CellGrid) -> CellMask:
    """Return which cells a shape of a file stands in, (rows, columns).

    A polygon counts where it has some area inside a cell; one that only touches a border does not. A point
    on a border belongs to the cell east or south of it.

    Args:
        path: A file of polygons or points that GDAL reads, such as GeoJSON, a GeoPackage or a Shapefile; or a
            CSV file, packed by gzip or not, with WKT shapes or longitudes and latitudes.
        grid: The cells.

    Raises:
        InputDataError: The file cannot be read or does not say its reference system.
    """
    cells = np.zeros((grid.rows, grid.columns), bool)
    for shapes in _read_shapes(path, grid):
        _mark(cells, shapes, grid)
    return cells


def _read_shapes(path: Path, grid: CellGrid) -> Iterator[npt.NDArray[np.object_]]:
    """Yield the shapes of a file that lie around a grid, in the grid's reference system."""
    import shapely
    from pyogrio import read_info
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read
    from rasterio.warp import transform, transform_bounds

    if not path.is_file():
        raise InputDataError(f"There is no file {path}; name a file of polygons or points.")
    is_table = path.name.lower().endswith((".csv", ".csv.gz"))
    name = f"/vsigzip/{path.absolute()}" if path.suffix.lower() == ".gz" else str(path)
    options = _SHAPE_COLUMN if is_table else {}
    try:
        info = read_info(name, **options)
        if is_table and info["geometry_type"] is None:
            options = _POINT_COLUMNS
            info = read_info(name, **options)
        crs = info["crs"] or (WGS84 if is_table else None)
        if crs is None:
            raise InputDataError(
                f"{path} does not say its reference system; save it as GeoJSON or a GeoPackage."
            )
        if info["geometry_type"] is None:
            raise InputDataError(
                f"{path} holds no shapes; a table needs a column of WKT called geometry, or columns called "
                "longitude and latitude."
            )
        bounds = transform_bounds(grid.crs_wkt, crs, *grid.bounds)
        start = 0
        while True:
            _, _, found, _ = read(
                name,
                columns=[],
                force_2d=True,
                bbox=bounds,
                skip_features=start,
                max_features=FEATURES_AT_ONCE,
                **options,
            )
            shapes = shapely.from_wkb(found)
            shapes = shapely.get_parts(shapes[~shapely.is_missing(shapes)])
            shapes[~shapely.is_valid(shapes)] = shapely.make_valid(shapes[~shapely.is_valid(shapes)])
            yield shapely.transform(
                shapely.segmentize(shapes, _longest_edge(crs)),
                lambda xy: np.column_stack(transform(crs, grid.crs_wkt, xy[:, 0], xy[:, 1])),
            )
            if len(found) < FEATURES_AT_ONCE:
                return
            start += len(found)
    except (DataSourceError, DataLayerError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputDataError(
            f"{path} cannot be read ({reason}); give GeoJSON, a GeoPackage, a Shapefile or a CSV table."
        ) from None


def _longest_edge(crs: str) -> float:
    """Return the longest edge that stays straight in another reference system: about a cell."""
    from rasterio.crs import CRS

    degrees_a_metre = 360 / 40_000_000
    return CELL_SIZE_M * (degrees_a_metre if CRS.from_user_input(crs).is_geographic else 1)


def _mark(cells: CellMask, shapes: npt.NDArray[np.object_], grid: CellGrid) -> None:
    """Mark the cells that shapes stand in."""
    import shapely

    left, bottom, right, top = shapely.bounds(shapes).T
    is_placed = np.isfinite(left + bottom + right + top)
    shapes, left, bottom, right, top = (values[is_placed] for values in (shapes, left, bottom, right, top))
    columns = (left - grid.left_m) / CELL_SIZE_M, (right - grid.left_m) / CELL_SIZE_M
    rows = (grid.top_m - top) / CELL_SIZE_M, (grid.top_m - bottom) / CELL_SIZE_M
    first_row, last_row = _reached(rows, grid.rows)
    first_column, last_column = _reached(columns, grid.columns)
    heights, widths = last_row - first_row + 1, last_column - first_column + 1
    inside = (heights > 0) & (widths > 0)
    # Nearly all buildings lie in one cell.
    spans_one = (
        (np.floor(rows[0]) == first_row) & (np.ceil(rows[1]) <= last_row + 1) & (heights == 1)
        & (np.floor(columns[0]) == first_column) & (np.ceil(columns[1]) <= last_column + 1) & (widths == 1)
    )  # fmt: skip
    alone = inside & spans_one
    cells[first_row[alone], first_column[alone]] = True
    for index in np.flatnonzero(inside & ~spans_one):
        number = heights[index] * widths[index]
        for start in range(0, number, PAIRS_AT_ONCE):
            pairs = np.arange(start, min(start + PAIRS_AT_ONCE, number))
            row = first_row[index] + pairs // widths[index]
            column = first_column[index] + pairs % widths[index]
            west, north = grid.left_m + column * CELL_SIZE_M, grid.top_m - row * CELL_SIZE_M
            boxes = shapely.box(west, north - CELL_SIZE_M, west + CELL_SIZE_M, north)
            shape = shapes[index]
            if shapely.get_dimensions(shape) == 2:
                is_touched = shapely.area(shapely.intersection(shape, boxes)) > 0
            else:
                is_touched = shapely.intersects(shape, boxes)
            cells[row[is_touched], column[is_touched]] = True


def _reached(
    edges: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], number: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first and the last of ``number`` cells that lie between two edges, in cells."""
    first = np.floor(edges[0])
    last = np.maximum(np.ceil(edges[1]) - 1, first)
    return np.maximum(first, 0).astype(np.int64), np.minimum(last, number - 1).astype(np.int64)
