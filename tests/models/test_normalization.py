import copy
import pickle

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from esdseg.config.preprocessing import COURSE_RECIPE, Recipe, SensorSteps
from esdseg.models.normalization import LARGEST_OUTPUT, Normalization
from esdseg.preprocessing.recipe import apply_scaling, scaling_limits
from tests.contest import channel_table
from tests.models.helpers import normalization_for, some_channels, statistics_of

HalfArray = npt.NDArray[np.float16]

CHANNELS = channel_table({"viirs": 1, "sentinel1": 1, "sentinel2": 1, "landsat8": 1})
"""28 channels: three of VIIRS, two of Sentinel-1, twelve of Sentinel-2 and eleven of Landsat."""


def _training_values(seed: int = 0, pixels: int = 5000) -> HalfArray:
    """Skewed values (C, pixels) at quite different scales, a tenth of them no data."""
    generator = np.random.default_rng(seed)
    scale = 10.0 ** generator.uniform(-2, 3, (len(CHANNELS), 1))
    offset = generator.normal(0, 5, (len(CHANNELS), 1)) * scale
    values = offset + scale * generator.gamma(2.0, 1.0, (len(CHANNELS), pixels))
    values[generator.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float16)


def _as_image(values: npt.NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(values.reshape(1, len(values), 50, -1))


def _apply(layer: Normalization, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    result: npt.NDArray[np.float32] = layer(_as_image(values)).numpy().reshape(values.shape)
    return result


def test_training_values_get_mean_0_and_standard_deviation_1() -> None:
    values = _training_values()
    scaled = _apply(normalization_for(values, CHANNELS), values)
    known = np.ma.masked_array(scaled, np.isnan(values))
    assert known.mean(axis=1).data == pytest.approx(0, abs=2e-3)
    assert known.std(axis=1).data == pytest.approx(1, abs=2e-3)


def test_standardised_values_equal_the_formula_within_the_limit() -> None:
    training, values = _training_values(0), _training_values(1)
    wide = training.astype(np.float64)
    expected = (values.astype(np.float64) - np.nanmean(wide, 1, keepdims=True)) / np.nanstd(
        wide, 1, keepdims=True
    )
    expected = np.nan_to_num(np.clip(expected, -LARGEST_OUTPUT, LARGEST_OUTPUT), nan=0.0)
    assert _apply(normalization_for(training, CHANNELS), values) == pytest.approx(
        expected, rel=1e-4, abs=1e-4
    )


def test_min_max_with_clipping_and_gamma_equals_the_formula() -> None:
    training, values = _training_values(0), _training_values(1)
    scaled = _apply(normalization_for(training, CHANNELS, COURSE_RECIPE), values)
    for index, channel in enumerate(CHANNELS):
        fraction = 0.05 if channel.sensor.name in ("viirs", "sentinel2") else 0.01
        gamma = 1 / 2.2 if channel.sensor.name in ("sentinel2", "landsat8") else 1.0
        known = training[index][~np.isnan(training[index])].astype(np.float64)
        low, high = np.quantile(known, [fraction, 1 - fraction], method="inverted_cdf")

        def scale(
            x: npt.NDArray[np.float64], low: float = low, high: float = high
        ) -> npt.NDArray[np.float64]:
            return (np.clip(x, low, high) - low) / (high - low)

        neutral = float(scale(known).mean()) ** gamma
        expected = np.nan_to_num(scale(values[index].astype(np.float64)) ** gamma, nan=neutral)
        np.testing.assert_allclose(scaled[index], expected, rtol=2e-4, atol=2e-4, err_msg=channel.name)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(sentinel2=SensorSteps(clip_fraction=0.05), viirs=SensorSteps(clip_fraction=0.01)),
        Recipe(rescale="min_max"),
        COURSE_RECIPE,
    ],
    ids=["standardize", "standardize clipped", "min_max", "course"],
)
def test_the_layer_scales_as_the_recipe_does_at_writing(recipe: Recipe) -> None:
    training, values = _training_values(0), _training_values(1)
    limits = scaling_limits(statistics_of(training), CHANNELS, recipe)
    scaled = _apply(normalization_for(training, CHANNELS, recipe), values)
    for index, channel in enumerate(CHANNELS):
        one = np.array([index])
        expected = apply_scaling(
            values[one], limits.only(one), recipe.steps(channel.sensor.name), recipe.rescale
        )[0]
        known = ~np.isnan(expected)
        within = np.clip(expected[known], -LARGEST_OUTPUT, LARGEST_OUTPUT)
        np.testing.assert_allclose(scaled[index][known], within, rtol=1e-4, atol=1e-4, err_msg=channel.name)


def test_without_data_in_training_a_channel_gives_0_everywhere() -> None:
    training = _training_values()
    training[3] = np.nan
    values = _training_values(1)
    values[3, :5] = [np.inf, -np.inf, np.nan, 6e4, 0]
    for recipe in (Recipe(), COURSE_RECIPE):
        scaled = _apply(normalization_for(training, CHANNELS, recipe), values)
        assert (scaled[3] == 0).all()
        assert np.isfinite(scaled).all()
        assert (scaled[[2, 4]] != 0).any(axis=1).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, -17.3, 30000.0])
def test_a_channel_that_is_constant_in_training_gives_0_everywhere(constant: float) -> None:
    training = _training_values(pixels=4950)
    training[5] = constant
    for recipe in (Recipe(), COURSE_RECIPE):
        scaled = _apply(normalization_for(training, CHANNELS, recipe), _training_values(1))
        assert (scaled[5] == 0).all()


def test_no_data_becomes_the_training_mean() -> None:
    values = _training_values()
    standardised = _apply(normalization_for(values, CHANNELS), values)
    assert (standardised[np.isnan(values)] == 0).all()
    layer = normalization_for(values, CHANNELS, Recipe(rescale="min_max"))
    scaled = _apply(layer, values)
    means = np.ma.masked_array(scaled, np.isnan(values)).mean(axis=1)
    for index in range(len(CHANNELS)):
        assert scaled[index][np.isnan(values[index])] == pytest.approx(means[index], rel=1e-3)


def test_values_scaled_at_writing_pass_through() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (len(CHANNELS), 5000)).astype(np.float16)
    values[:, ::7] = np.nan
    recipe = COURSE_RECIPE.model_copy(update={"scale_by": "tile"})
    layer = normalization_for(_training_values(), CHANNELS, recipe)
    assert np.array_equal(_apply(layer, values), np.nan_to_num(values, nan=0.0).astype(np.float32))


@settings(max_examples=60)
@given(
    training_codes=hnp.arrays(np.uint16, (4, 50)),
    codes=hnp.arrays(np.uint16, (1, 4, 5, 10)),
    rescale=st.sampled_from(["standardize", "min_max"]),
    scale_by=st.sampled_from(["training_tiles", "tile"]),
    clip_fraction=st.sampled_from([0.0, 0.1]),
)
def test_any_stored_values_become_finite_and_limited(
    training_codes: npt.NDArray[np.uint16],
    codes: npt.NDArray[np.uint16],
    rescale: str,
    scale_by: str,
    clip_fraction: float,
) -> None:
    recipe = Recipe.model_validate(
        {"rescale": rescale, "scale_by": scale_by, "sentinel2": {"clip_fraction": clip_fraction}}
    )
    layer = normalization_for(training_codes.view(np.float16), some_channels(4), recipe)
    scaled = layer(torch.from_numpy(codes.view(np.float16)))
    assert scaled.dtype == torch.float32
    assert torch.isfinite(scaled).all()
    assert (scaled.abs() <= LARGEST_OUTPUT).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("recipe", [Recipe(), COURSE_RECIPE], ids=["standardize", "course"])
def test_the_image_itself_is_never_changed(dtype: torch.dtype, recipe: Recipe) -> None:
    values = _training_values()
    image = _as_image(values).to(dtype)
    before = image.clone()
    scaled = normalization_for(values, CHANNELS, recipe)(image)
    assert scaled.dtype == torch.float32
    assert torch.equal(image.nan_to_num(0), before.nan_to_num(0))


@pytest.mark.parametrize("recipe", [Recipe(), COURSE_RECIPE], ids=["standardize", "course"])
def test_a_state_dict_holds_the_whole_layer(recipe: Recipe) -> None:
    values = _training_values()
    layer = normalization_for(values, CHANNELS, recipe)
    restored = Normalization(len(CHANNELS))
    restored.load_state_dict(layer.state_dict())
    expected = layer(_as_image(values))
    for same in (restored, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(_as_image(values)), expected)


def test_the_memory_format_is_kept() -> None:
    values = _training_values()
    image = _as_image(values).contiguous(memory_format=torch.channels_last)
    for recipe in (Recipe(), COURSE_RECIPE):
        scaled = normalization_for(values, CHANNELS, recipe)(image)
        assert scaled.is_contiguous(memory_format=torch.channels_last)


def test_gradients_reach_the_image() -> None:
    values = np.nan_to_num(_training_values())
    layer = normalization_for(values, CHANNELS)
    image = _as_image(values).float().requires_grad_()
    layer(image).sum().backward()
    assert image.grad is not None
    inside = layer(image).abs() < LARGEST_OUTPUT
    assert torch.allclose(image.grad[inside], layer.scale.expand_as(image)[inside])


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="the model takes 28 channels, the image has 27"):
        normalization_for(_training_values(), CHANNELS)(torch.zeros(1, 27, 50, 50))
    with pytest.raises(ValueError, match="statistics of 28 channels do not fit 27 channels"):
        normalization_for(_training_values(), CHANNELS[:-1])
