import numpy as np
import pytest
import torch
from torch import Tensor

from esdseg.config.models import SensorBranchesConfig, UNetConfig
from esdseg.config.preprocessing import COURSE_RECIPE, Recipe
from esdseg.config.training import AugmentationConfig
from esdseg.datasets.augmentation import draw_missing, sensors_of
from esdseg.datasets.dataset import Batch
from esdseg.models.checkpoint import SegmentationModel
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel
from esdseg.training.task import Augmentation
from tests.contest import FULL_TABLE
from tests.models.helpers import normalization_for

CHANNELS = tuple(
    channel for channel in FULL_TABLE if channel.band in ("DNB", "DNB_max", "VV", "B02", "B11", "B09", "B4")
)
STANDARDISED = Recipe()
STILL = {"flip_probability": 0.0, "quarter_turn_probability": 0.0, "place_shuffle": 0.0}
CELLS = 2


def stored(count: int) -> tuple[Tensor, Tensor]:
    """Images as a store holds them, and labels."""
    generator = np.random.default_rng(0)
    image = generator.gamma(2.0, 1.0, (count, len(CHANNELS), 50 * CELLS, 50 * CELLS)).astype(np.float16)
    image[:, :, :3, :3] = np.nan
    return torch.from_numpy(image), torch.from_numpy(generator.integers(0, 4, (count, CELLS, CELLS)))


def batch_for(model: SegmentationModel) -> Batch:
    image, labels = stored(3)
    none = torch.zeros(3, dtype=torch.int64)
    return Batch(pixels=model.sample(image), label=labels, tile=none, row=none, column=none)


def model_of(config: SensorBranchesConfig | UNetConfig, recipe: Recipe) -> SegmentationModel:
    torch.manual_seed(0)
    values = stored(1)[0][0].flatten(1).numpy()
    network = build_network(config, CHANNELS, CELLS)
    return SegmentationModel(normalization_for(values, CHANNELS, recipe), network).eval()


def augmented(
    model: SegmentationModel, settings: dict[str, float], seed: int = 0, recipe: Recipe = STANDARDISED
) -> tuple[list[Tensor], Tensor]:
    config = AugmentationConfig.model_validate({**STILL, **settings})
    augmentation = Augmentation(config, CHANNELS, recipe, torch.channels_last)
    pixels, labels, _ = augmentation(model, batch_for(model), torch.Generator().manual_seed(seed))
    return list(pixels), labels


MODELS = (
    SensorBranchesConfig(width=2, context_width=4, context_blocks=1),
    UNetConfig(n_encoders=1, embedding_size=2),
)


@pytest.mark.parametrize("recipe", [Recipe(), COURSE_RECIPE], ids=["standardised", "between-limits"])
@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.name)
def test_a_dropped_date_or_sensor_is_what_a_store_without_it_gives(
    config: SensorBranchesConfig | UNetConfig, recipe: Recipe
) -> None:
    model = model_of(config, recipe)
    settings = {"sensor_dropout": 0.9} | ({"date_dropout": 0.4} if config.name == "unet" else {})
    pixels, _ = augmented(model, settings)
    batch = batch_for(model)
    # What is missing is drawn last, so a generator that has drawn all else goes on with it.
    generator = torch.Generator().manual_seed(0)
    still = AugmentationConfig.model_validate(STILL)
    Augmentation(still, CHANNELS, recipe, torch.channels_last)(model, batch, generator)
    config_of_missing = AugmentationConfig.model_validate(settings)
    missing = draw_missing(sensors_of(CHANNELS), 3, config_of_missing, generator)
    assert missing is not None
    image = stored(3)[0]
    image[missing] = torch.nan
    for ours, expected in zip(pixels, model.normalize(model.sample(image)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(model.classify(pixels), model(image))


def test_noise_and_gains_leave_what_is_dropped_alone() -> None:
    model = model_of(MODELS[1], Recipe())
    loud = {"noise_probability": 1.0, "band_gain_std": 0.3, "band_offset_std": 0.3, "date_dropout": 0.5}
    pixels, _ = augmented(model, loud)
    flat = {
        (sample, channel)
        for sample in range(3)
        for channel in range(len(CHANNELS))
        if not pixels[0][sample, channel].any()
    }
    dated = [position for position, channel in enumerate(CHANNELS) if channel.place is not None]
    assert 0.2 < len(flat) / (3 * len(dated)) < 0.7
    assert all(_share_a_date(flat, sample, channel) for sample, channel in flat)


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.name)
def test_nights_get_light_but_for_those_of_a_store_that_scales_by_tile(
    config: SensorBranchesConfig | UNetConfig,
) -> None:
    model = model_of(config, Recipe())
    still, _ = augmented(model, {}, seed=1)
    by_tile, _ = augmented(model, {"night_glow": 20.0}, seed=1, recipe=Recipe(scale_by="tile"))
    lit, _ = augmented(model, {"night_glow": 20.0}, seed=1)
    for before, same in zip(still, by_tile, strict=True):
        assert torch.equal(before, same)
    for before, after, grid in zip(still, lit, model.grids, strict=True):
        changed = (before != after).flatten(2).any(dim=2).any(dim=0)
        nights = [CHANNELS[position].sensor.name == "viirs" for position in grid.channels]
        assert changed.tolist() == nights


def test_a_batch_without_a_sensor_is_known_as_one() -> None:
    model = model_of(MODELS[0], Recipe())
    config = AugmentationConfig.model_validate({**STILL, "sensor_dropout": 0.5})
    augmentation = Augmentation(config, CHANNELS, Recipe(), torch.channels_last)
    answers = set()
    for seed in range(12):
        pixels, _, lacks_sensor = augmentation(model, batch_for(model), torch.Generator().manual_seed(seed))
        assert lacks_sensor == any(not grid.any() for grid in pixels)
        answers.add(lacks_sensor)
    assert answers == {True, False}


def _share_a_date(flat: set[tuple[int, int]], sample: int, channel: int) -> bool:
    def day(one: Channel) -> tuple[object, ...]:
        return one.sensor, one.place

    own = day(CHANNELS[channel])
    return all((sample, other) in flat for other, one in enumerate(CHANNELS) if day(one) == own)


def test_what_is_switched_off_changes_nothing() -> None:
    model = model_of(MODELS[0], Recipe())
    pixels, labels = augmented(model, {})
    batch = batch_for(model)
    assert torch.equal(labels, batch["label"])
    for ours, plain in zip(pixels, model.normalize(batch["pixels"]), strict=True):
        assert torch.equal(ours, plain)


def test_all_together_give_finite_pixels_and_one_outcome_a_seed() -> None:
    model = model_of(MODELS[0], Recipe())
    everything = {
        "flip_probability": 0.5,
        "quarter_turn_probability": 0.5,
        "mixing_probability": 0.7,
        "band_gain_std": 0.1,
        "band_offset_std": 0.1,
        "sensor_dropout": 0.5,
        "noise_probability": 0.5,
        "blur_probability": 0.5,
    }
    (first, labels), (again, _), (other, _) = (augmented(model, everything, seed) for seed in (3, 3, 4))
    assert all(one.isfinite().all() for one in first)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))
    assert labels.shape == (3, CELLS, CELLS)
