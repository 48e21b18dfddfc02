"""Weights of a run of one's own, for a network on other bands and dates."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from esdseg.config.models import (
    AnyModelConfig,
    FCNResNet101Config,
    SegmentationCNNConfig,
    SensorBranchesConfig,
    UNetConfig,
)
from esdseg.config.preprocessing import Recipe
from esdseg.config.section import NetworkSection
from esdseg.config.training import ESDConfig
from esdseg.config.zoo import SMPConfig
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import SegmentationModel, load_starting_weights
from esdseg.models.first_layers import match_filters
from esdseg.models.normalization import NetworkInput, Normalization
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel
from tests.contest import channel_table
from tests.models.helpers import checkpoint_content, random_image

KNOWN = channel_table({"sentinel1": 1, "sentinel2": 1})
SMALL = UNetConfig(n_encoders=1, embedding_size=2)


def saved(config: AnyModelConfig, folder: Path, channels: tuple[Channel, ...] = KNOWN) -> nn.Module:
    """A network whose run is kept in ``folder``."""
    torch.manual_seed(1)
    network = build_network(config, channels, 2).eval()
    model = SegmentationModel(Normalization(len(channels)), network)
    folder.mkdir(exist_ok=True)
    torch.save(checkpoint_content(model, ESDConfig(model=config), channels, 2), folder / "best.ckpt")
    return network


def started(config: AnyModelConfig, folder: Path, channels: tuple[Channel, ...] = KNOWN) -> nn.Module:
    """A new network that starts from the run in ``folder``."""
    assert isinstance(config, NetworkSection)
    again = config.model_copy(update={"weights": str(folder)})
    torch.manual_seed(2)
    network = build_network(again, channels, 2).eval()
    seen = NetworkInput(channels, Normalization(len(channels)), Recipe())
    metadata, _ = load_starting_weights(network, again, seen, folder.parent)
    assert metadata is not None
    assert metadata.train_tiles == ("Tile1", "Tile2")
    return network


def logits(network: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(image)
    return found


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        UNetConfig(n_encoders=1, embedding_size=2, input_stride=2),
        SegmentationCNNConfig(depth=1, embedding_size=2),
        SensorBranchesConfig(width=2, context_width=4, context_blocks=1),
        SMPConfig(name="smp:fpn/tu-test_efficientnet", weights="none"),
    ],
    ids=lambda config: config.name,
)
def test_a_network_on_the_same_channels_starts_as_the_run_ended(
    config: AnyModelConfig, tmp_path: Path
) -> None:
    image = random_image(1, len(KNOWN), 2)
    expected = logits(saved(config, tmp_path / "first"), image)
    assert torch.equal(logits(started(config, tmp_path / "first"), image), expected)


@pytest.mark.parametrize("config", [SMALL, SensorBranchesConfig(width=2, context_width=4, context_blocks=1)])
def test_a_picture_on_all_of_more_dates_is_seen_as_on_one(config: AnyModelConfig, tmp_path: Path) -> None:
    expected_from = saved(config, tmp_path / "first")
    more = channel_table({"sentinel1": 1, "sentinel2": 3})
    image = random_image(1, len(KNOWN), 2)
    position = {(channel.sensor.name, channel.band): index for index, channel in enumerate(KNOWN)}
    repeated = image[:, [position[channel.sensor.name, channel.band] for channel in more]]
    found = logits(started(config, tmp_path / "first", more), repeated)
    torch.testing.assert_close(found, logits(expected_from, image), rtol=1e-4, atol=1e-4)


def test_filters_go_by_sensor_and_band_and_new_bands_start_at_zero() -> None:
    known = channel_table({"sentinel1": 2})
    wanted = channel_table({"viirs": 1, "sentinel1": 2})
    weight = torch.arange(4.0).reshape(1, 4, 1, 1) + 1
    filters = match_filters(weight, known, wanted[::-1])[0, :, 0, 0].tolist()
    found = dict(zip([channel.name for channel in wanted[::-1]], filters, strict=True))
    assert {name: value for name, value in found.items() if value} == {
        "sentinel1_1_VV": 1,
        "sentinel1_1_VH": 2,
        "sentinel1_2_VV": 3,
        "sentinel1_2_VH": 4,
    }
    assert len(found) == len(wanted)


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    saved(SMALL, tmp_path / "first")
    with pytest.raises(InputDataError, match="holds a unet, whose weights do not fit a segmentation_cnn"):
        started(SegmentationCNNConfig(), tmp_path / "first")
    wider = UNetConfig(n_encoders=1, embedding_size=4)
    with pytest.raises(InputDataError, match=r"do not fit this unet; .* must be those of the run"):
        started(wider, tmp_path / "first")
    with pytest.raises(
        InputDataError, match="trained on none of the bands here, but on sentinel1 VV VH, sen"
    ):
        started(SMALL, tmp_path / "first", channel_table({"landsat8": 1}))
    seen = NetworkInput(KNOWN, Normalization(len(KNOWN)), Recipe())
    with pytest.raises(InputDataError, match="There is no checkpoint 'second'"):
        load_starting_weights(nn.Identity(), SMALL.model_copy(update={"weights": "second"}), seen, tmp_path)


def test_a_run_is_told_from_pretrained_weights(tmp_path: Path) -> None:
    assert FCNResNet101Config(weights="runs/first/last.ckpt").starts_from_run
    assert FCNResNet101Config(weights=str(tmp_path)).starts_from_run
    assert not FCNResNet101Config(weights="fcn_resnet101_coco-7ecb50ca.pth").starts_from_run
    assert not SMPConfig(name="smp:fpn/resnet18").starts_from_run
    assert UNetConfig(weights="first").starts_from_run
    assert not UNetConfig().starts_from_run
