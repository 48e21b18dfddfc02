import warnings
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from esdseg.config.models import AnyModelConfig, SensorBranchesConfig
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.errors import ConfigError
from esdseg.models.checkpoint import SegmentationModel
from esdseg.models.night_light import NightLight
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.models.sensor_branches import Branch, SensorBranches
from esdseg.sensors.channels import Channel
from tests.contest import FULL_TABLE, channel_table
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, PrecisionChecks, check_open_formats

SMALL = SensorBranchesConfig(width=4, context_width=8, context_blocks=1)


class TestSensorBranches(PrecisionChecks, CompileChecks):
    config: ClassVar[AnyModelConfig] = SMALL
    subtile_sizes: ClassVar[tuple[int, ...]] = (2, 4, 8)


def network_of(channels: tuple[Channel, ...]) -> SensorBranches:
    torch.manual_seed(0)
    network = build_network(SMALL, channels, 2)
    assert isinstance(network, SensorBranches)
    return network


def of_sensors(*names: str) -> tuple[Channel, ...]:
    return tuple(channel for channel in FULL_TABLE if channel.sensor.name in names)


def test_every_channel_goes_through_one_branch_at_its_native_resolution() -> None:
    network = network_of(FULL_TABLE)
    spacing = {
        FULL_TABLE[position].name: grid.pixels_per_cell for grid in network.grids for position in grid.sources
    }
    assert sorted(position for grid in network.grids for position in grid.sources) == list(range(100))
    assert spacing["sentinel1_1_VV"] == 50
    assert [spacing[f"sentinel2_1_{band}"] for band in ("B04", "B11", "B09")] == [50, 25, 10]
    assert [spacing[f"landsat8_1_{band}"] for band in ("B4", "B8", "B10")] == [17, 17, 17]
    assert spacing["viirs_DNB_max"] == 10


@pytest.mark.parametrize(
    "channels",
    [
        of_sensors("viirs"),
        of_sensors("sentinel1"),
        of_sensors("viirs", "landsat8"),
        tuple(channel for channel in FULL_TABLE if channel.name == "viirs_DNB_median"),
        tuple(channel for channel in FULL_TABLE if channel.band in ("B02", "B11", "VV")),
        FULL_TABLE,
    ],
    ids=["night", "radar", "night-and-landsat", "projection", "few-bands", "all"],
)
def test_any_sensors_bands_and_dates_work(channels: tuple[Channel, ...]) -> None:
    logits = network_of(channels).eval()(random_image(1, len(channels), 2))
    assert logits.shape == (1, 4, 2, 2)
    assert torch.isfinite(logits).all()


def test_outputs_are_log_probabilities_made_of_two_answers() -> None:
    logits = network_of(FULL_TABLE).eval()(random_image(2, 100, 2) * 3).double()
    probabilities = logits.exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 2, 2).double(), rtol=0, atol=1e-6)
    settled = probabilities[:, 0] + probabilities[:, 2]
    lit = probabilities[:, 2] + probabilities[:, 3]
    torch.testing.assert_close(probabilities[:, 2], settled * lit, rtol=0, atol=1e-6)


def test_pixels_taken_before_normalising_give_what_the_whole_image_gives() -> None:
    channels = of_sensors("viirs", "sentinel1", "landsat8")
    normalization = Normalization(len(channels))
    for position, channel in enumerate(channels):
        # The dates of a band share the scale of its first one.
        first = channels.index(replace(channel, place=1)) if channel.place else position
        normalization.scale[position] = 0.5 + first / len(channels)
        normalization.shift[position] = 1 - first / len(channels)
    network = network_of(channels)
    model = SegmentationModel(normalization, network).eval()
    image = random_image(1, len(channels), 2).half()
    with torch.no_grad():
        torch.testing.assert_close(model(image), network(normalization(image)), rtol=1e-3, atol=1e-3)


def test_neighbouring_cells_are_context() -> None:
    network = network_of(some_channels(5)).eval()
    image = random_image(1, 5, 8)
    changed = image.clone()
    changed[..., :50, :50] += 3

    def answers(images: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = network(images)[0, 0]
        return answer

    moved = (answers(image) - answers(changed)).abs() > 1e-6
    assert moved[:2, :2].all()
    assert moved[2, 2], "two convolutions of 3 x 3 cells reach two cells far"
    assert not moved[4:].any(), "and those at 50 m into the next one"


def logits_of(network: SensorBranches, image: Tensor) -> Tensor:
    model = SegmentationModel(Normalization(image.shape[1]), network).eval()
    with torch.no_grad():
        logits: Tensor = model(image)
    return logits


def test_open_formats_summarise_dates_alike(tmp_path: Path) -> None:
    """Three dates of one sensor, and one date of another whose pixels do not divide a cell evenly."""
    dates = channel_table({"sentinel1": 3, "landsat8": 1})
    channels = tuple(channel for channel in dates if channel.band in ("VV", "B11"))
    check_open_formats(network_of(channels), SMALL, channels, 2, tmp_path)


def test_it_makes_no_difference_which_date_is_which() -> None:
    channels = of_sensors("viirs", "sentinel2")
    dates = {"viirs": 9, "sentinel2": 4}
    turned = [
        channels.index(replace(channel, place=dates[channel.sensor.name] + 1 - channel.place))
        if channel.place
        else position
        for position, channel in enumerate(channels)
    ]
    image = random_image(1, len(channels), 2)
    network = network_of(channels)
    assert torch.equal(logits_of(network, image[:, turned]), logits_of(network, image))


def test_a_missing_date_is_as_a_tile_without_it() -> None:
    """Not as one with an average date: the other dates say what they said."""
    channels = of_sensors("sentinel1")
    last = max(channel.place or 0 for channel in channels)
    network = network_of(channels)
    image = random_image(1, len(channels), 2)
    image[:, [channel.place == last for channel in channels]] = torch.nan
    expected = image.clone()
    for band in ("VV", "VH"):
        own = [position for position, channel in enumerate(channels) if channel.band == band]
        # The lowest, the median and the highest of three values are those of the same with the median twice.
        expected[:, own[-1]] = image[:, own[:-1]].median(dim=1).values
    assert last == 4
    assert torch.equal(logits_of(network, image), logits_of(network, expected))


def test_a_sensor_without_data_gives_the_average_of_its_features() -> None:
    channels = of_sensors("sentinel1", "landsat8")
    network = network_of(channels)
    radar = network.summary_branches[0]
    assert isinstance(radar, Branch)
    with torch.no_grad():
        radar.normalization.bias.copy_(torch.tensor([-1.0, 0.0, 0.5, 2.0]))
    pixels = torch.zeros(2, 6, 100, 100)
    pixels[1, 3, 40:50] = 1.0
    features = radar.eval()(pixels)
    assert torch.equal(features[0], torch.tensor([0.0, 0.0, 0.5, 2.0])[:, None, None].expand(4, 20, 20))
    assert not torch.equal(features[1], features[0])


@pytest.mark.parametrize("nights", [1, 2, 3, 8, 9])
def test_night_light_is_summarised_as_numpy_does(nights: int) -> None:
    """Also an even number of nights, whose median is the mean of the two in the middle."""
    image = random_image(2, nights, 1)
    image[0, :2] = torch.nan
    grid = PixelGrid.over_dates([range(nights)], 10)
    found = NightLight([grid])(grid.sample(image).nan_to_num(0)).numpy()
    light = image[..., 2::5, 2::5].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        summaries = [np.nanmin(light, 1), np.nanmedian(light, 1), np.nanmax(light, 1)]
    kept = {1: summaries[:1], 2: summaries[::2]}.get(nights, summaries)
    values = np.nan_to_num(np.stack(kept, axis=1))
    is_missing = [nights <= 2, False]
    expected = [*values.max(axis=(2, 3)).T, *values.mean(axis=(2, 3)).T, is_missing]
    np.testing.assert_allclose(found[..., 0, 0].T, np.stack(expected), atol=1e-6)


def test_single_cells_are_refused_with_the_sizes_that_work() -> None:
    with pytest.raises(
        ConfigError, match=r"model sensor_branches: windows of 1 cell are too small for it; use"
    ):
        build_network(SMALL, some_channels(2), 1)
