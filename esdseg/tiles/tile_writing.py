"""Writing tiles of scenes in the contest's form, each whole or not at all."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.config.cutting import Resampling
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, TILE_SIZE_PX, label_grid_to_rgb
from esdseg.sensors.sensors import GROUND_TRUTH_NAME, GROUND_TRUTH_PICTURE_NAME, RasterName, Sensor
from esdseg.system.files import naming_write_faults, part_path, write_geotiff
from esdseg.tiles.area import CELL_SIZE_M, CellGrid
from esdseg.tiles.labelling import CodeGrid
from esdseg.tiles.reading import UNKNOWN_CODE, RasterArray, no_data_value
from esdseg.tiles.scenes import SceneReader, Scenes, is_measured

LEAST_SEEN_SHARE = 0.5
"""Share of a cell that an acquisition must have measured for the cell to be seen, and keep its label."""


@dataclass(frozen=True)
class CutTile:
    """A tile that is cut.

    Attributes:
        number: Its number, from 1 in reading order.
        row: Its first row of cells in the area.
        column: Its first column of cells in the area.
    """

    number: int
    row: int
    column: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"Tile{self.number}"


CutJob = tuple[CutTile, CodeGrid | None]
"""A tile and its label codes, (16, 16), where there are labels."""


def cut_run(
    output: Path, scenes: Scenes, grid: CellGrid, resampling: Resampling, jobs: tuple[CutJob, ...]
) -> list[bool]:
    """Cut a run of tiles; return for each whether there was data. Runs in a worker process."""
    with SceneReader(scenes, resampling) as reader:
        return [_cut_tile(output, scenes, reader, grid, *job) for job in jobs]


def _cut_tile(
    output: Path,
    scenes: Scenes,
    reader: SceneReader,
    grid: CellGrid,
    tile: CutTile,
    codes: CodeGrid | None,
) -> bool:
    part = grid.part(tile.row, tile.column, GRID_SIZE, GRID_SIZE)
    folder = output / tile.name
    temporary = part_path(folder)
    is_seen = np.zeros((GRID_SIZE, GRID_SIZE), bool)
    try:
        with naming_write_faults(folder, advice="Finished tiles are kept."):
            temporary.mkdir()
            for sensor in scenes.sensors.all:
                for day in scenes.dates(sensor.name):
                    seen = _cut_acquisition(temporary, scenes, reader, part, sensor, day)
                    if sensor.kind != "night_light" or not _has_finer(scenes):
                        is_seen |= seen
            if not is_seen.any():
                return False
            if codes is not None:
                _write_labels(temporary, np.where(is_seen, codes, UNKNOWN_CODE).astype(np.uint16), part)
            temporary.rename(folder)
            return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _has_finer(scenes: Scenes) -> bool:
    """Return whether any raster is of a sensor finer than night lights."""
    return any(scenes.sensors.sensor(name.sensor).kind != "night_light" for name in scenes.rasters)


def _cut_acquisition(
    folder: Path, scenes: Scenes, reader: SceneReader, grid: CellGrid, sensor: Sensor, day: date
) -> npt.NDArray[np.bool_]:
    """Write the rasters of a sensor and date, unless they hold no data; return which cells it saw."""
    rasters = {
        name.band: reader.read(name, grid)
        for name in (RasterName(sensor.name, day, band) for band in sensor.band_names)
        if name in scenes.rasters
    }
    is_seen, has_data = np.zeros((GRID_SIZE, GRID_SIZE), bool), False
    for values in rasters.values():
        cells = is_measured(values, sensor).reshape(GRID_SIZE, CELL_SIZE_PX, GRID_SIZE, CELL_SIZE_PX)
        is_seen |= cells.mean(axis=(1, 3)) >= LEAST_SEEN_SHARE
        has_data |= bool(cells.any())
    if has_data:
        for name, bands in _files(sensor, day, rasters):
            stack = _stack(sensor, bands, rasters)
            no_data = no_data_value(sensor, str(stack.dtype))
            _write_raster(folder / name, stack, grid.georeference.transform, grid.crs_wkt, no_data)
    return is_seen


def _files(
    sensor: Sensor, day: date, rasters: Mapping[str, RasterArray]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name of each file of an acquisition and the bands in it, as the description has them."""
    yield from {
        sensor.file_name(day, band): sensor.pattern_of(band).bands or (band,) for band in rasters
    }.items()


def _stack(
    sensor: Sensor, bands: tuple[str, ...], rasters: Mapping[str, RasterArray]
) -> npt.NDArray[np.generic]:
    """Return the bands of a file, (bands, 800, 800), in one type; a band without a raster is no data."""
    held = [rasters[band] for band in bands if band in rasters]
    dtype = np.result_type(*held)
    if len(held) < len(bands) and no_data_value(sensor, str(dtype)) is None:
        dtype = np.dtype(np.float32)
    blank = np.full((TILE_SIZE_PX, TILE_SIZE_PX), no_data_value(sensor, str(dtype)), dtype)
    return np.stack([rasters.get(band, blank) for band in bands]).astype(dtype, copy=False)


def _write_labels(folder: Path, codes: CodeGrid, grid: CellGrid) -> None:
    """Write a label grid and its picture, unless all labels are unknown."""
    from PIL import Image

    if not codes.any():
        return
    transform = (CELL_SIZE_M, 0.0, grid.left_m, 0.0, -CELL_SIZE_M, grid.top_m)
    _write_raster(folder / GROUND_TRUTH_NAME, codes[None], transform, grid.crs_wkt, None)
    picture = label_grid_to_rgb(codes.astype(np.int64) - 1)
    large = picture.repeat(CELL_SIZE_PX, axis=0).repeat(CELL_SIZE_PX, axis=1)
    Image.fromarray(large).save(folder / GROUND_TRUTH_PICTURE_NAME)


def _write_raster(
    path: Path,
    bands: npt.NDArray[Any],
    transform: tuple[float, ...],
    crs_wkt: str,
    no_data: float | None,
) -> None:
    """Write bands (bands, rows, columns) in one strip, compressed in a way that costs little to read."""
    from affine import Affine

    profile = {
        "crs": crs_wkt,
        "transform": Affine(*transform),
        "nodata": no_data,
        "blockysize": bands.shape[1],
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 3 if bands.dtype.kind == "f" else 2,
    }
    write_geotiff(path, bands, profile)
