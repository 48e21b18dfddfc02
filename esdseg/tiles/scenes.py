"""Scenes: georeferenced rasters as agencies deliver them, of any extent, pixel size and reference system.

They are found by the same names as the rasters of tiles, in a folder and all folders below it. Files of one
sensor, date and band lie side by side and are read as one raster, on any grid of label cells.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from affine import Affine

from esdseg.config.cutting import Resampling
from esdseg.errors import InputDataError
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M
from esdseg.sensors.sensors import RasterName, Sensor, SensorTable, contest_sensors
from esdseg.tiles.area import Bounds, CellGrid, overlap, pixel_width_m
from esdseg.tiles.discovery import natural_key
from esdseg.tiles.reading import (
    RasterArray,
    TileFileError,
    has_place,
    naming_read_faults,
    no_data_value,
    no_place,
    open_tiff,
    require_bands,
    require_dtype,
    require_raw_values,
    scaled,
)
from esdseg.tiles.tile_grid import is_same_crs

TOLERANCE_PX = 0.001
"""How far from its exact place a pixel may be looked up, in the scene's pixels. GDAL's own 0.125 would let a
pixel's value depend on the window that it is read in."""

MOST_BLOCK_PIXELS = 32_000_000
"""Largest block of a file that is read, as GDAL unpacks a whole one."""

MOST_OPEN_FILES = 128
"""Files of scenes that a reader keeps open at once."""

CACHE_MEGABYTES = 128
"""Memory that GDAL keeps of blocks it has unpacked, in each process."""

_SKIPPED_FOLDERS = re.compile(r"\..*|__macosx", re.IGNORECASE)
_PACKED = (".zip", ".gz", ".tar", ".tgz", ".h5", ".hdf", ".he5")


@dataclass(frozen=True)
class Scenes:
    """The rasters of a folder of scenes.

    Attributes:
        folder: The folder.
        sensors: The description of the sensors, by which files are known.
        rasters: The files of each raster, in the order of channels: by sensor, date and band. Several files
            lie side by side, or show the same ground at several pixel sizes.
    """

    folder: Path
    sensors: SensorTable
    rasters: Mapping[RasterName, tuple[Path, ...]]

    def dates(self, sensor: str) -> tuple[date, ...]:
        """Return the sensor's dates of which there is at least one band, in order."""
        return tuple(sorted({name.acquired for name in self.rasters if name.sensor == sensor}))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file once."""
        return tuple(dict.fromkeys(path for paths in self.rasters.values() for path in paths))


def find_scenes(folder: Path, sensors: SensorTable | None = None) -> Scenes:
    """Find the rasters of a folder and of all folders in it; none is opened.

    Args:
        folder: Folder of the scenes, flat or with sub-folders.
        sensors: The sensors whose files are known; the contest's unless given.

    Raises:
        InputDataError: The folder does not exist, may not be listed, or holds no raster of the sensors.
    """
    sensors = sensors or contest_sensors()
    found: dict[RasterName, list[Path]] = {}
    packed = None
    for path in _files_below(folder):
        for name in sensors.read_file_name(path.name):
            found.setdefault(name, []).append(path)
        if packed is None and path.suffix.lower() in _PACKED:
            packed = path
    if not found:
        fix = f"Unpack {packed} and convert it to GeoTIFFs" if packed else "Point to the folder of the scenes"
        raise InputDataError(
            f"{folder} holds no rasters of the sensors, in it or in the folders below: no name is like "
            f"{sensors.example_name}. {fix}, or describe your files' names in a file for --sensors."
        )
    order = {sensor.name: (place, sensor.band_names) for place, sensor in enumerate(sensors.all)}

    def key(name: RasterName) -> tuple[int, date, int]:
        place, bands = order[name.sensor]
        return place, name.acquired, bands.index(name.band)

    return Scenes(folder, sensors, {name: tuple(found[name]) for name in sorted(found, key=key)})


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in natural order; links are followed, once each."""
    if not folder.is_dir():
        fault = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputDataError(f"{folder} {fault}; point to the folder that holds the scenes' rasters.")
    visited = set()

    def refuse(error: OSError) -> None:
        raise InputDataError(
            f"The folder {error.filename} may not be listed; give yourself the right to read it."
        )

    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(
            (name for name in folders if not _SKIPPED_FOLDERS.fullmatch(name)), key=natural_key
        )
        yield from (Path(parent, name) for name in sorted(files, key=natural_key) if not name.startswith("."))


@dataclass(frozen=True)
class _Header:
    """What a reader keeps of a file when it closes it."""

    pixel_width_m: float
    dtype: str
    crs: Any
    bounds: Bounds


class SceneReader:
    """Reads scenes on grids of label cells; a context manager that keeps files open.

    A reader is made anew in each process; :class:`Scenes` are what processes hand to each other.
    """

    def __init__(self, scenes: Scenes, resampling: Resampling = "nearest") -> None:
        """Prepare to read.

        Args:
            scenes: The rasters.
            resampling: How values are taken from the scenes' pixels.
        """
        self._scenes, self._resampling = scenes, resampling
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._headers: dict[Path, _Header] = {}
        self._stack = ExitStack()
        self._warped: tuple[Path, CellGrid, Any] | None = None

    def __enter__(self) -> Self:
        import rasterio

        self._stack.enter_context(
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_CACHEMAX=CACHE_MEGABYTES)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._close_warped()
        while self._open:
            self._open.popitem()[1].close()
        self._stack.close()

    def read(self, name: RasterName, grid: CellGrid) -> RasterArray:
        """Read one raster on the pixels of a grid, its files put together.

        Where files overlap, the one of the finest pixels that measured something is taken, of several the
        first in natural order.

        Args:
            name: Sensor, date and band; one of the scenes' rasters.
            grid: The cells; memory goes with their number.

        Returns:
            Raw values (rows * 50, columns * 50), in the type of the files. Where nothing was measured: NaN in
            float32, else the sensor's fill value. Values are float32 where the files' scale and offset were
            applied, or where something was not measured and the type of the files has no number for it.

        Raises:
            KeyError: There is no such raster.
            TileFileError: A file cannot be read, has other bands or another type than its name and sensor
                say, or does not say where it lies.
        """
        sensor = self._scenes.sensors.sensor(name.sensor)
        headers = {path: self._header(path, sensor) for path in self._scenes.rasters[name]}
        paths = sorted(headers, key=lambda path: headers[path].pixel_width_m)
        dtypes = {header.dtype for header in headers.values()}
        dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
        nothing = no_data_value(sensor, dtype)
        raster = np.full(
            (grid.rows * CELL_SIZE_PX, grid.columns * CELL_SIZE_PX), 0 if nothing is None else nothing, dtype
        )
        missing = np.ones(raster.shape, bool)
        for path in paths:
            if not _reaches(headers[path], grid):
                continue
            values, covered, measured = self._warp(path, sensor, name.band, grid)
            np.copyto(raster, values, where=covered & missing, casting="unsafe")
            missing &= ~measured
            if not missing.any():
                break
        if nothing is None and missing.any():
            raster = raster.astype(np.float32)
            raster[missing] = np.nan
        return raster

    def dates(self, sensor: str, grid: CellGrid) -> tuple[date, ...]:
        """Return the dates on which a sensor measured anything in a grid, in order.

        One band a date is read, the one of the largest native pixels.

        Raises:
            TileFileError: As for :meth:`read`.
        """
        described = self._scenes.sensors.sensor(sensor)
        coarsest = sorted(described.all_bands, key=lambda band: -band.native_size_m)
        seen = []
        for day in self._scenes.dates(sensor):
            names = (RasterName(sensor, day, band.name) for band in coarsest)
            name = next(name for name in names if name in self._scenes.rasters)
            if not any(_reaches(self._header(path, described), grid) for path in self._scenes.rasters[name]):
                continue
            raster = self.read(name, grid)
            if bool(is_measured(raster, described).any()):
                seen.append(day)
        return tuple(seen)

    def _source(self, path: Path, sensor: Sensor) -> Any:
        """Return an open file, checked when it is opened."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= MOST_OPEN_FILES:
            self._close_warped()
            self._open.popitem(last=False)[1].close()
        with naming_read_faults(path):
            source = open_tiff(path)
        self._open[path] = source
        require_bands(path, source, len(self._scenes.sensors.read_file_name(path.name)))
        require_dtype(path, source, sensor)
        if not sensor.file_scale:
            require_raw_values(path, source)
        if not has_place(source):
            raise no_place(path)
        rows, columns = source.block_shapes[0]
        if rows * columns > MOST_BLOCK_PIXELS:
            fault = f"It is stored in blocks of {rows} x {columns} px, of which reading takes a whole one."
            fix = "Write it in smaller blocks: rio convert FILE OUT --co TILED=YES"
            raise TileFileError(path, "wrong_size", fault, fix)
        return source

    def _header(self, path: Path, sensor: Sensor) -> _Header:
        if path not in self._headers:
            source = self._source(path, sensor)
            is_scaled = any(pair != (1, 0) for pair in zip(source.scales, source.offsets, strict=True))
            self._headers[path] = _Header(
                pixel_width_m=pixel_width_m(source),
                dtype="float32" if is_scaled else str(source.dtypes[0]),
                crs=source.crs,
                bounds=tuple(source.bounds),
            )
        return self._headers[path]

    def _warp(
        self, path: Path, sensor: Sensor, band: str, grid: CellGrid
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return a file's values on a grid, which of them it covers, and which of those are measurements."""
        source = self._source(path, sensor)
        held = [name.band for name in self._scenes.sensors.read_file_name(path.name)]
        index = held.index(band) + 1
        with naming_read_faults(path):
            corner = _corner_on_grid(source, grid)
            if corner is None:
                warped = self._warped_dataset(path, source, sensor, grid)
                values, covered = _read_band(warped, index, warped.nodata)
            else:
                values, covered = _read_window(source, index, sensor, corner, grid)
        measured = covered & is_measured(values, sensor)
        if sensor.file_scale:
            values = scaled(values, source.scales[index - 1], source.offsets[index - 1], sensor.fill_value)
        return values, covered, measured

    def _warped_dataset(self, path: Path, source: Any, sensor: Sensor, grid: CellGrid) -> Any:
        """Return the view of a file on a grid; the last one stays open, for the other bands of its file."""
        from rasterio.enums import Resampling as RasterioResampling
        from rasterio.vrt import WarpedVRT

        if self._warped is not None and self._warped[:2] == (path, grid):
            return self._warped[2]
        self._close_warped()
        nodata = _no_data(source, sensor)
        is_masked = {"add_alpha": True} if nodata is None else {"src_nodata": nodata, "nodata": nodata}
        warped = WarpedVRT(
            source,
            crs=grid.crs_wkt,
            transform=Affine(*grid.georeference.transform),
            height=grid.rows * CELL_SIZE_PX,
            width=grid.columns * CELL_SIZE_PX,
            resampling=RasterioResampling[self._resampling],
            tolerance=TOLERANCE_PX,
            **is_masked,
        )
        self._warped = (path, grid, warped)
        return warped

    def _close_warped(self) -> None:
        if self._warped is not None:
            self._warped[2].close()
            self._warped = None


def _no_data(source: Any, sensor: Sensor) -> float | None:
    """Return the value that stands for no data in an open file; ``None`` where a mask alone says it."""
    from rasterio.enums import MaskFlags

    if source.nodata is not None or MaskFlags.per_dataset in source.mask_flag_enums[0]:
        return None if source.nodata is None else float(source.nodata)
    return no_data_value(sensor, source.dtypes[0])


def _corner_on_grid(source: Any, grid: CellGrid) -> tuple[int, int] | None:
    """Return a file's row and column of a grid's first pixel; ``None`` unless both have the same pixels."""
    a, b, left, d, e, top = tuple(source.transform)[:6]
    if (a, b, d, e) != (PIXEL_SIZE_M, 0, 0, -PIXEL_SIZE_M) or not is_same_crs(
        source.crs.to_wkt(), grid.crs_wkt
    ):
        return None
    row, column = (top - grid.top_m) / PIXEL_SIZE_M, (grid.left_m - left) / PIXEL_SIZE_M
    if max(abs(row - round(row)), abs(column - round(column))) > TOLERANCE_PX:
        return None
    return round(row), round(column)


def _read_window(
    source: Any, index: int, sensor: Sensor, corner: tuple[int, int], grid: CellGrid
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read pixels that lie on a grid as they are, and say which of the grid's the file covers."""
    from rasterio.windows import Window

    shape = grid.rows * CELL_SIZE_PX, grid.columns * CELL_SIZE_PX
    values, covered = np.zeros(shape, source.dtypes[index - 1]), np.zeros(shape, bool)
    first = [max(0, -place) for place in corner]
    end = [min(size, held - place) for size, held, place in zip(shape, source.shape, corner, strict=True)]
    height, width = end[0] - first[0], end[1] - first[1]
    if height > 0 and width > 0:
        inside = slice(first[0], end[0]), slice(first[1], end[1])
        window = Window(corner[1] + first[1], corner[0] + first[0], width, height)
        values[inside], covered[inside] = _read_band(source, index, _no_data(source, sensor), window)
    return values, covered


def _read_band(
    source: Any, index: int, nodata: float | None, window: Any = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read a band, and say which pixels are not marked as no data."""
    values = source.read(index, window=window)
    if nodata is None:
        return values, source.read_masks(index, window=window) > 0
    return values, ~np.isnan(values) if np.isnan(nodata) else values != nodata


def is_measured(values: npt.NDArray[Any], sensor: Sensor) -> npt.NDArray[np.bool_]:
    """Return where raw values are neither NaN nor the sensor's fill value."""
    measured = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    if sensor.fill_value is not None:
        measured &= values != sensor.fill_value
    return measured


def _reaches(header: _Header, grid: CellGrid) -> bool:
    """Return whether a file's extent and a grid overlap."""
    from rasterio.warp import transform_bounds

    bounds = transform_bounds(grid.crs_wkt, header.crs, *grid.bounds)
    # Bounds that cross 180 degrees, or that cannot be told, are left to the reading.
    is_plain = all(map(isfinite, bounds)) and bounds[0] <= bounds[2]
    return not is_plain or overlap(bounds, header.bounds)
