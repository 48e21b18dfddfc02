import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from esdseg.config.preprocessing import COURSE_RECIPE, Recipe, SensorSteps
from esdseg.preprocessing.recipe import ScalingLimits, apply_scaling, scaling_limits, smooth
from esdseg.sensors.channels import Channel
from esdseg.store.statistics import ChannelStatistics, count_codes
from tests.contest import channel_from_name

VV, VH, B04 = (channel_from_name(name) for name in ("sentinel1_1_VV", "sentinel1_1_VH", "sentinel2_1_B04"))


def limits_of(values: npt.ArrayLike, channels: list[Channel], recipe: Recipe) -> ScalingLimits:
    image = np.asarray(values, np.float16)
    statistics = ChannelStatistics(np.stack([count_codes(channel) for channel in image]))
    return scaling_limits(statistics, channels, recipe)


def test_smoothing_is_scipys_gaussian_where_nothing_is_missing() -> None:
    image = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    np.testing.assert_allclose(
        smooth(image, 1.5), gaussian_filter(image.astype(float), 1.5), rtol=1e-4, atol=1e-5
    )


def test_smoothing_weighs_the_neighbours_that_have_data() -> None:
    image = np.random.default_rng(1).normal(size=(25, 25)).astype(np.float32)
    image[10:13, 4:20] = np.nan
    kernel = gaussian_filter(np.eye(1, 25 * 25, 12 * 25 + 3).reshape(25, 25), 1.0)
    present = ~np.isnan(image)
    expected = (kernel[present] * image[present].astype(float)).sum() / kernel[present].sum()
    smoothed = smooth(image, 1.0)
    np.testing.assert_allclose(smoothed[12, 3], expected, rtol=1e-4)
    np.testing.assert_array_equal(np.isnan(smoothed), ~present)


@given(st.floats(-50, 50, width=32), st.floats(0.1, 5))
def test_smoothing_keeps_a_constant_with_holes_constant(level: float, sigma_px: float) -> None:
    image = np.full((12, 15), level, np.float32)
    image[3:6, 2:9] = np.nan
    np.testing.assert_allclose(smooth(image, sigma_px), image, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_an_image_without_data_stays_so() -> None:
    assert np.isnan(smooth(np.full((5, 5), np.nan, np.float32), 1.0)).all()


def test_smoothing_by_0_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    np.testing.assert_array_equal(smooth(image, 0.0), image)


def test_min_max_with_clip_and_gamma_of_a_hand_worked_case() -> None:
    # Of 0, 1 ... 9 the quantile at 0.1 is 0, the one at 0.9 is 8: 10 values, the first and the ninth.
    recipe = Recipe(rescale="min_max", sentinel1=SensorSteps(clip_fraction=0.1, gamma=0.5))
    limits = limits_of([np.arange(10)], [VV], recipe)
    assert (limits.lower[0], limits.upper[0]) == (0, 8)
    scaled = apply_scaling(np.array([[-3, 0, 2, 8, 9, np.nan]]), limits, recipe.steps("sentinel1"), "min_max")
    np.testing.assert_allclose(scaled, [[0, 0, 0.5, 1, 1, np.nan]], rtol=1e-6)
    assert scaled.dtype == np.float32


def test_standardize_gives_mean_0_and_spread_1_to_the_clipped_values() -> None:
    values = np.random.default_rng(2).normal(5, 3, (2, 40, 50)).astype(np.float16)
    recipe = Recipe(sentinel1=SensorSteps(clip_fraction=0.05))
    limits = limits_of(values, [VV, VH], recipe)
    scaled = apply_scaling(values, limits, recipe.steps("sentinel1"), "standardize").astype(float)
    np.testing.assert_allclose(scaled.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(1, 2)), 1, rtol=1e-5)
    low, high = np.quantile(values[0].astype(float), [0.05, 0.95], method="inverted_cdf")
    assert (limits.lower[0], limits.upper[0]) == (low, high)


def test_standardize_without_clipping_clips_nothing() -> None:
    limits = limits_of([[1, 3]], [VV], Recipe())
    np.testing.assert_allclose(
        apply_scaling(np.array([[102.0]]), limits, SensorSteps(), "standardize"), [[100]]
    )


def test_steps_are_those_of_each_channels_sensor() -> None:
    values = np.tile(np.arange(100), (2, 1))
    limits = limits_of(values, [VV, B04], COURSE_RECIPE)
    assert limits.lower.tolist() == [0, 4]
    assert limits.upper.tolist() == [98, 94]


@pytest.mark.parametrize("rescale", ["standardize", "min_max"])
@pytest.mark.filterwarnings("error")
def test_a_constant_channel_becomes_0_and_an_unknown_one_no_data(rescale: str) -> None:
    recipe = Recipe.model_validate({"rescale": rescale})
    limits = limits_of(np.array([[7, 7], [np.nan, np.nan]]), [VV, VH], recipe)
    scaled = apply_scaling(np.array([[7.0], [3.0]]), limits, recipe.steps("sentinel1"), recipe.rescale)
    np.testing.assert_array_equal(scaled, [[0], [np.nan]])


def test_gamma_without_a_range_is_refused_when_the_config_is_read() -> None:
    with pytest.raises(ValueError, match=r"sentinel2\.gamma .* min_max"):
        Recipe(sentinel2=SensorSteps(gamma=0.5))
