"""Small helpers that write raw tiles as the contest delivers them, for tests of every part.

``write_tile(folder, *, dates=None, labels=True, codes=None, seed=0, crs=None, values=None) -> Path`` writes
98 rasters and the label grid in about half a second, a few dates of a few sensors in much less. Values are
plausible and blocky, not a scene: each raster repeats one 50 x 50 px patch of noise over its 16 x 16 cells,
plus a level a cell.
"""

import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, PIXEL_SIZE_M, TILE_SIZE_PX
from esdseg.sensors.sensors import GROUND_TRUTH_NAME, RasterName
from tests.contest import SENSORS

# Level and spread of each sensor's raw values: counts, linear power, reflectance x 10 000, digital numbers.
_LEVELS: Mapping[str, tuple[float, float]] = {
    "viirs": (3.0, 1.0),
    "sentinel1": (0.08, 0.02),
    "sentinel2": (1200.0, 200.0),
    "landsat8": (10000.0, 500.0),
}
# Under a clear sky the cirrus band sees next to nothing.
_BAND_LEVELS: Mapping[tuple[str, str], tuple[float, float]] = {("landsat8", "B9"): (5050.0, 10.0)}


def write_tile(
    folder: Path,
    *,
    dates: Mapping[str, Sequence[date]] | None = None,
    labels: bool = True,
    codes: npt.ArrayLike | None = None,
    seed: int = 0,
    crs: str | None = None,
    values: Mapping[RasterName, npt.NDArray[np.generic]] | None = None,
) -> Path:
    """Write one raw tile and return its folder.

    Args:
        folder: The tile's folder, such as ``tmp_path / "Tile1"``; made where it is missing.
        dates: The dates to write for each sensor; ``None`` for all of the contest's. A sensor that is not
            named gets no rasters.
        labels: Whether the tile has a ``groundTruth.tif``.
        codes: Its codes, (16, 16); random codes of classes 1 and 2 with some of 3 and 4 by default.
        seed: Of the tile's values; tiles of different seeds differ in every raster.
        crs: A reference system such as ``EPSG:32733``; with it every raster gets a transform at 10 m.
        values: Rasters (800, 800) to write as they are, in their own type, in place of the random ones.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for sensor in SENSORS:
        for day in sensor.dates if dates is None else dates.get(sensor.name, ()):
            for band in sensor.band_names:
                level, spread = _BAND_LEVELS.get((sensor.name, band), _LEVELS[sensor.name])
                cells = rng.normal(level, spread, (GRID_SIZE, 1, GRID_SIZE, 1)).astype(np.float32)
                patch = rng.normal(0.0, spread / 2, (1, CELL_SIZE_PX, 1, CELL_SIZE_PX)).astype(np.float32)
                pixels = np.maximum(cells + patch, np.float32(level / 20))
                if sensor.name != "sentinel1":
                    np.rint(pixels, out=pixels)
                raster = pixels.reshape(TILE_SIZE_PX, TILE_SIZE_PX).astype(sensor.dtypes[0], copy=False)
                given = (values or {}).get(RasterName(sensor.name, day, band))
                write_raster(folder / sensor.file_name(day, band), raster if given is None else given, crs)
    if labels:
        drawn = rng.choice([1, 2, 3, 4], (GRID_SIZE, GRID_SIZE), p=[0.4, 0.5, 0.06, 0.04])
        grid = np.asarray(drawn if codes is None else codes, dtype=np.uint16)
        write_raster(folder / GROUND_TRUTH_NAME, grid, None)
    return folder


def write_raster(
    path: Path, values: npt.NDArray[np.generic], crs: str | None = None, transform: Affine | None = None
) -> Path:
    """Write one uncompressed TIFF, (rows, columns) or (bands, rows, columns), and return its path.

    With a reference system and no transform, it lies on the grid of all tiles of these helpers.
    """
    bands = values if values.ndim == 3 else values[None]
    if crs is not None and transform is None:
        transform = Affine(PIXEL_SIZE_M, 0, 500_000, 0, -PIXEL_SIZE_M, 8_000_000)
    placing = {"crs": crs, "transform": transform}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=bands.shape[2],
            height=bands.shape[1],
            count=bands.shape[0],
            dtype=bands.dtype.name,
            **(placing if transform is not None else {}),
        ) as target:
            target.write(bands)
    return path
