import numpy as np
import pytest

from esdseg.sample.fields import GROUND_PIXEL_M, native_grid
from esdseg.sensors.classes import TILE_SIZE_PX


@pytest.mark.parametrize("native_size_m", [10.0, 15.0, 20.0, 30.0, 60.0])
def test_a_resampled_tile_shows_whole_native_pixels(native_size_m: float) -> None:
    grid = native_grid(native_size_m, 0.0, np.random.default_rng(0))
    native = np.arange(grid.centers.size, dtype=np.float32).reshape(grid.centers.shape)
    raster = grid.resample(native)
    for lines in (raster, raster.T):
        edges = np.flatnonzero(np.diff(lines[TILE_SIZE_PX // 2])) + 1
        widths = np.diff(edges)
        assert set(widths) <= {int(grid.size_px), int(grid.size_px) + 1}
        assert widths.mean() == pytest.approx(native_size_m / GROUND_PIXEL_M, rel=0.01)


def test_a_turned_grid_steps_along_its_rows() -> None:
    grid = native_grid(60.0, 0.01, np.random.default_rng(1))
    width = grid.centers.shape[1]
    rows_in_first_line = np.unique(grid.members[400] // width)
    # A shift of 8 px over the tile's width crosses one or two native rows of 6.2 px.
    assert rows_in_first_line.size in (2, 3)


@pytest.mark.parametrize("skew", [-0.012, 0.0, 0.008])
def test_native_centers_lie_in_their_own_pixels(skew: float) -> None:
    grid = native_grid(30.0, skew, np.random.default_rng(2))
    inner = grid.centers[8:-8, 8:-8]
    seen = grid.members.ravel()[inner]
    expected = np.arange(grid.centers.size).reshape(grid.centers.shape)[8:-8, 8:-8]
    assert np.mean(seen == expected) > 0.995


def test_sampling_keeps_the_mean_of_a_smooth_scene() -> None:
    grid = native_grid(20.0, 0.005, np.random.default_rng(3))
    row, column = np.mgrid[:TILE_SIZE_PX, :TILE_SIZE_PX].astype(np.float32)
    scene = row + 2 * column
    raster = grid.resample(grid.sample(scene))
    assert np.abs(raster - scene)[10:-10, 10:-10].max() < 3 * grid.size_px
    assert float(np.mean((raster - scene)[10:-10, 10:-10])) == pytest.approx(0.0, abs=0.5)
