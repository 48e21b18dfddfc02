import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from esdseg.sample.fields import (
    GROUND_PIXEL_M,
    _spline_weights,
    fine_noise,
    level_of,
    native_grid,
    smooth_noise,
    smooth_step,
)
from esdseg.sensors.classes import TILE_SIZE_PX


@pytest.mark.parametrize("scale_px", [3.0, 12.0, 60.0])
def test_smooth_noise_has_unit_variance_and_its_scale(scale_px: float) -> None:
    fields = [smooth_noise(np.random.default_rng(seed), scale_px) for seed in range(4)]
    assert np.mean([field.mean() for field in fields]) == pytest.approx(0.0, abs=0.15)
    assert np.mean([field.std() for field in fields]) == pytest.approx(1.0, abs=0.15)
    lag = round(scale_px)
    near = np.mean([np.corrcoef(f[:, :-1].ravel(), f[:, 1:].ravel())[0, 1] for f in fields])
    far = np.mean([np.corrcoef(f[:, : -4 * lag].ravel(), f[:, 4 * lag :].ravel())[0, 1] for f in fields])
    assert near > 0.9
    assert abs(far) < 0.15


def test_spline_weights_are_scipys() -> None:
    weights = _spline_weights(7.0, 50, 0.3).toarray()
    position = np.arange(50) / 7.0 + 0.3
    spline = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    for column in range(weights.shape[1]):
        expected = np.nan_to_num(spline(position - column + 1))
        np.testing.assert_allclose(weights[:, column], expected, atol=1e-6)


def test_fine_noise_has_unit_variance() -> None:
    assert fine_noise(np.random.default_rng(0), 0.8).std() == pytest.approx(1.0, abs=1e-3)


@given(st.floats(-5, 5), st.floats(0.01, 5), st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=9))
def test_smooth_step_rises_from_zero_to_one(low: float, width: float, values: list[float]) -> None:
    steps = smooth_step(np.sort(np.array(values, np.float32)), low, low + width)
    assert np.all(np.diff(steps) >= -1e-6)
    assert np.all((steps >= 0) & (steps <= 1))


def test_level_leaves_the_wanted_share_above() -> None:
    noise = smooth_noise(np.random.default_rng(1), 5.0)
    assert np.mean(noise > level_of(noise, 0.1)) == pytest.approx(0.1, abs=0.01)


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
