"""The course's way of preprocessing, written plainly and fairly: what it does and no more, in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from scipy.ndimage import gaussian_filter

from benchmarks import SUBTILE_SIZE
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import read_ground_truth

FloatImages = npt.NDArray[np.float32]

CLIPPED_FRACTION: dict[str, float] = {
    "viirs": 0.05,
    "sentinel1": 0.01,
    "sentinel2": 0.05,
    "landsat8": 0.01,
}
GAMMA = 1 / 2.2
SMOOTHING_SIGMA_PX = 1.0
SUBTILES_PER_SIDE = GRID_SIZE // SUBTILE_SIZE
SUBTILE_SIDE_PX = SUBTILE_SIZE * CELL_SIZE_PX


def preprocess_tile(tile: RawTile, folder: Path) -> None:
    """Scale each band by its own quantiles over the tile's dates, and write a file for each subtile.

    Args:
        tile: The raw tile.
        folder: Gets ``ROW-COLUMN.npy`` (C, 200, 200) float32 and ``ROW-COLUMN-label.npy`` (4, 4) int64.
    """
    bands: dict[tuple[str, str], list[FloatImages]] = {}
    for name, path in tile.rasters.items():
        with rasterio.open(path) as file:
            bands.setdefault((name.sensor, name.band), []).append(file.read(1).astype(np.float32))
    scaled = [scale_band(np.stack(dates), sensor) for (sensor, _), dates in bands.items()]
    viirs = next(images for (sensor, _), images in zip(bands, scaled, strict=True) if sensor == "viirs")
    image = np.concatenate([*scaled, viirs.max(axis=0, keepdims=True)])
    label = np.zeros((GRID_SIZE, GRID_SIZE), np.int64)
    if tile.ground_truth is not None:
        label = read_ground_truth(tile.ground_truth).astype(np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(SUBTILES_PER_SIDE):
        for column in range(SUBTILES_PER_SIDE):
            np.save(folder / f"{row}-{column}.npy", _window(image, row, column, SUBTILE_SIDE_PX))
            np.save(folder / f"{row}-{column}-label.npy", _window(label, row, column, SUBTILE_SIZE))


def scale_band(images: FloatImages, sensor: str) -> FloatImages:
    """Clip, smooth or brighten, and rescale to 0 to 1 all dates (dates, 800, 800) of one band."""
    if sensor == "sentinel1":
        images = np.log10(images)
    low, high = np.quantile(images, [CLIPPED_FRACTION[sensor], 1 - CLIPPED_FRACTION[sensor]])
    images = np.clip(images, low, high).astype(np.float32)
    if sensor == "sentinel1":
        images = np.stack([gaussian_filter(image, SMOOTHING_SIGMA_PX) for image in images])
    if sensor in ("sentinel2", "landsat8"):
        images = images**GAMMA
    least, most = images.min(), images.max()
    return ((images - least) / max(most - least, 1e-9)).astype(np.float32)


def _window(grid: npt.NDArray[Any], row: int, column: int, side: int) -> npt.NDArray[Any]:
    return grid[..., row * side : (row + 1) * side, column * side : (column + 1) * side]
