"""Native pixel grids: each sensor's own pixels, laid over a tile slightly turned, and nearest neighbour.

The contest's rasters are resampled to the tile's pixels without interpolation. Run lengths of a real tile
show native pixels of 10, 20, 30 and 60 m about 1.03, 2.06, 3.1 and 6.2 px wide, with steps that betray a
small turn between the sensors' projection and the tile's.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from esdseg.sample.fields import FloatArray
from esdseg.sensors.grid import TILE_SIZE_PX

GROUND_PIXEL_M = 9.7
"""Ground size of a tile's pixel by the run lengths of a real tile; nominally 10 m."""

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class NativeGrid:
    """Where one pixel size of one sensor lies in a tile.

    Attributes:
        size_px: Side of a native pixel in tile pixels.
        centers: Flat index of the tile pixel at each native pixel's centre, ``(native rows, columns)``.
        members: Flat index of the native pixel that each tile pixel shows, ``(800, 800)``.
    """

    size_px: float
    centers: npt.NDArray[np.int32]
    members: npt.NDArray[np.int32]

    def sample(self, scene: FloatArray) -> FloatArray:
        """See a scene ``(800, 800)`` through native pixels: a Gaussian point spread, then one value each."""
        if self.size_px >= 1.5:
            scene = ndimage.gaussian_filter(scene, 0.4 * self.size_px, truncate=2.5)
        return np.asarray(scene.ravel()[self.centers], np.float32)

    def resample(self, native: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Return native values ``(native rows, columns)`` on the tile's pixels by nearest neighbour."""
        return np.take(native, self.members)


def native_grid(native_size_m: float, skew: float, rng: np.random.Generator) -> NativeGrid:
    """Lay native pixels of ``native_size_m`` over a tile at a random offset.

    Args:
        native_size_m: Ground size of a native pixel.
        skew: Shift of native rows along a tile's row, in pixels a pixel; columns turn with it.
        rng: Source of the offset.
    """
    size_px = native_size_m / GROUND_PIXEL_M
    offset = rng.random(2)
    row, column = np.mgrid[:TILE_SIZE_PX, :TILE_SIZE_PX].astype(np.float32) + np.float32(0.5)
    native_row = np.floor((row + skew * column) / size_px + offset[0]).astype(np.int32)
    native_column = np.floor((column - skew * row) / size_px + offset[1]).astype(np.int32)
    first_row, first_column = int(native_row.min()), int(native_column.min())
    height, width = int(native_row.max()) - first_row + 1, int(native_column.max()) - first_column + 1
    members = (native_row - first_row) * width + (native_column - first_column)

    turned_row = (np.arange(height) + first_row + 0.5 - offset[0])[:, None] * size_px
    turned_column = (np.arange(width) + first_column + 0.5 - offset[1])[None, :] * size_px
    center_row = _to_pixel((turned_row - skew * turned_column) / (1 + skew**2))
    center_column = _to_pixel((turned_column + skew * turned_row) / (1 + skew**2))
    return NativeGrid(size_px, (center_row * TILE_SIZE_PX + center_column).astype(np.int32), members)


def _to_pixel(position: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.clip(np.floor(position), 0, TILE_SIZE_PX - 1).astype(np.int64)
