from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from esdseg.config.models import AnyModelConfig, SensorBranchesConfig
from esdseg.errors import ConfigError
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.models.sensor_branches import NightLight, SensorBranches
from esdseg.sensors.channels import Channel
from tests.contest import FULL_TABLE
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks, PrecisionChecks

SMALL = SensorBranchesConfig(width=4, context_width=8, context_blocks=1)


class TestSensorBranches(PrecisionChecks, CompileChecks, ExportChecks):
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
        FULL_TABLE[position].name: grid.pixels_per_cell
        for grid in network.grids
        for position in grid.channels
    }
    assert sorted(position for grid in network.grids for position in grid.channels) == list(range(100))
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
    normalization.scale.copy_(torch.rand_like(normalization.scale))
    normalization.shift.copy_(torch.rand_like(normalization.shift))
    network = network_of(channels)
    model = SegmentationModel(normalization, network).eval()
    image = random_image(1, len(channels), 2).half()
    image[:, 3, :20] = torch.nan
    with torch.no_grad():
        torch.testing.assert_close(model(image), network(normalization(image)))


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


@pytest.mark.parametrize("nights", [2, 3, 8, 9])
def test_night_light_is_summarised_as_numpy_does(nights: int) -> None:
    """Also an even number of nights, whose median is the mean of the two in the middle."""
    channels = [channel for channel in FULL_TABLE if channel.sensor.name == "viirs" and channel.place][
        :nights
    ]
    image = random_image(2, nights, 1)[..., :30, :30]
    found = NightLight(channels)(image).numpy()
    cells = image.numpy().reshape(2, nights, 3, 10, 3, 10)
    brightest, mean = cells.max(axis=(3, 5)), cells.mean(axis=(3, 5))
    expected = [brightest.max(1), np.median(brightest, axis=1), mean.max(1), np.median(mean, axis=1)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-6)


def test_single_cells_are_refused_with_the_sizes_that_work() -> None:
    with pytest.raises(
        ConfigError, match=r"model sensor_branches: windows of 1 cell are too small for it; use"
    ):
        build_network(SMALL, some_channels(2), 1)
