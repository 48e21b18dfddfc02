"""Pretrained weights: filters spread over bands, torchvision's FCN-ResNet101, and encoders of the zoo."""

import os
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn
from torchvision.models.segmentation import fcn_resnet101

from esdseg.config.models import FCNResNet101Config
from esdseg.config.zoo import SMPConfig
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.first_layers import COLORS, inflate_first_layer
from esdseg.models.registry import build_network, load_pretrained
from esdseg.sensors.channels import Channel
from tests.contest import FULL_TABLE, channel_table
from tests.models.helpers import some_channels, unscaled

RGB = ("red", "green", "blue")


def _filters(seed: int = 0) -> Tensor:
    return torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(seed))


def _picture(seed: int = 1) -> Tensor:
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def _role(channel: Channel) -> str:
    return channel.sensor_band.role if channel.sensor_band else "other"


def _embed(picture: Tensor, channels: tuple[Channel, ...]) -> Tensor:
    """The picture in all red, green and blue channels, zero in the others."""
    image = torch.zeros(len(picture), len(channels), *picture.shape[2:])
    for index, channel in enumerate(channels):
        if _role(channel) in RGB:
            image[:, index] = picture[:, RGB.index(_role(channel))]
    return image


@pytest.mark.parametrize(
    "channels",
    [
        FULL_TABLE,
        channel_table({"sentinel2": 1}),
        channel_table({"landsat8": 2, "sentinel1": 1}),
        tuple(channel for channel in FULL_TABLE if _role(channel) in RGB),
    ],
    ids=["all", "one date", "landsat and radar", "only colours"],
)
def test_an_rgb_image_in_the_colour_channels_gives_the_original_response(
    channels: tuple[Channel, ...],
) -> None:
    filters, picture = _filters(), _picture()
    expected = F.conv2d(picture, filters, stride=2, padding=3)
    found = F.conv2d(_embed(picture, channels), inflate_first_layer(filters, channels), stride=2, padding=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_rgb_image_in_one_of_four_dates_gives_a_quarter_of_the_response() -> None:
    channels = channel_table({"sentinel2": 4})
    filters, picture = _filters(), _picture()
    image = _embed(picture, channels)
    image[:, 12:] = 0
    found = F.conv2d(image, inflate_first_layer(filters, channels))
    torch.testing.assert_close(found, F.conv2d(picture, filters) / 4, rtol=1e-4, atol=1e-4)


def test_each_colour_goes_to_the_bands_of_its_name() -> None:
    channels = channel_table({"sentinel2": 1, "landsat8": 1})
    filters = torch.zeros(1, 3, 1, 1)
    filters[0, 0] = 1  # Red alone.
    weights = dict(
        zip(
            [channel.name for channel in channels],
            inflate_first_layer(filters, channels)[0, :, 0, 0],
            strict=True,
        )
    )
    assert weights["sentinel2_1_B04"] == weights["landsat8_1_B4"] == pytest.approx(1 / 2)
    for green_or_blue in ("sentinel2_1_B03", "sentinel2_1_B02", "landsat8_1_B2"):
        assert weights[green_or_blue] == 0
    assert weights["landsat8_1_B8"] == pytest.approx((1 / 3) / (23 - 6))


@pytest.mark.parametrize("sensors", [("viirs", "sentinel1"), ("viirs",)])
def test_without_colours_a_grey_picture_gives_the_original_response(sensors: tuple[str, ...]) -> None:
    channels = tuple(channel for channel in FULL_TABLE if channel.sensor.name in sensors)
    filters, grey = _filters(), _picture()[:, :1]
    found = F.conv2d(grey.expand(-1, len(channels), -1, -1), inflate_first_layer(filters, channels))
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), filters)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_filters_of_missing_colours_are_made_up_by_the_other_channels() -> None:
    channels = tuple(
        channel for channel in channel_table({"sentinel2": 1}) if channel.band in ("B04", "B11", "B12")
    )
    filters = torch.ones(1, 3, 1, 1)
    assert inflate_first_layer(filters, channels)[0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_the_response_to_standardised_channels_keeps_its_size() -> None:
    filters = _filters()
    generator = torch.Generator().manual_seed(2)
    alike = torch.randn(4, 1, 64, 64, generator=generator)
    image = alike.expand(-1, len(FULL_TABLE), -1, -1)
    original = F.conv2d(alike.expand(-1, 3, -1, -1), filters).std()
    inflated = F.conv2d(image, inflate_first_layer(filters, FULL_TABLE)).std()
    assert original <= inflated <= original * 4 / 3 * 1.001


def test_filters_for_another_number_of_colours_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected filters \(out, 3, height, width\), found \(8, 4, 7, 7\)"):
        inflate_first_layer(torch.zeros(8, 4, 7, 7), FULL_TABLE)


CHANNELS = some_channels(23)
CACHED = "hub/checkpoints/fcn_resnet101_coco-7ecb50ca.pth"


@pytest.fixture(scope="module")
def torchvision_state() -> dict[str, Tensor]:
    """Weights of the form that torchvision offers: 21 classes and a helping classifier."""
    torch.manual_seed(3)
    network = fcn_resnet101(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    state: dict[str, Tensor] = network.state_dict()
    return state


@pytest.fixture(scope="module")
def weights_file(torchvision_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fcn.pth"
    torch.save(torchvision_state, path)
    return path


def test_an_rgb_image_in_the_colour_channels_gives_the_features_of_the_pretrained_network(
    torchvision_state: dict[str, Tensor], weights_file: Path
) -> None:
    original = fcn_resnet101(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    original.load_state_dict(torchvision_state)
    config = FCNResNet101Config(weights=str(weights_file))
    torch.manual_seed(0)
    network = build_network(config, CHANNELS, 1)
    new_last_layer = network.get_parameter("classifier.4.weight").clone()
    load_pretrained(network, config, unscaled(CHANNELS))

    picture = torch.randn(1, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(1, len(CHANNELS), 50, 50)
    for index, channel in enumerate(CHANNELS):
        if channel.sensor_band is not None and channel.sensor_band.role in COLORS:
            image[:, index] = picture[:, COLORS.index(channel.sensor_band.role)]
    with torch.no_grad():
        expected = original.eval().backbone(picture)["out"]
        features = network.eval().get_submodule("backbone")(image)["out"]
    assert float((features - expected).norm() / expected.norm()) < 1e-4
    for name in ("classifier.0.weight", "classifier.1.running_var"):
        assert torch.equal(network.state_dict()[name], torchvision_state[name])
    assert torch.equal(network.get_parameter("classifier.4.weight"), new_last_layer)


def test_the_download_is_taken_from_the_cache_where_it_lies(
    weights_file: Path, torchvision_state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / CACHED
    path.parent.mkdir(parents=True)
    path.symlink_to(weights_file)
    config = FCNResNet101Config(weights="coco")
    network = build_network(config, CHANNELS, 1)
    load_pretrained(network, config, unscaled(CHANNELS))
    name = "backbone.layer3.22.conv3.weight"
    assert torch.equal(network.state_dict()[name], torchvision_state[name])


def test_without_a_network_the_message_says_where_torchvisions_file_goes(
    downloads_dir: Path,
) -> None:
    config = FCNResNet101Config()
    with torch.device("meta"):
        network = build_network(config, FULL_TABLE, 1)
    with pytest.raises(MissingResourceError, match=r"model\.weights=FILE.*model\.weights=none") as error:
        load_pretrained(network, config, unscaled(FULL_TABLE))
    assert error.value.exit_code == 4
    assert Path(CACHED).name in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"missing: backbone\.conv1\.weight, .* and \d+ more"),
        ({"backbone.conv1.weight": torch.zeros(64, 4, 7, 7)}, r"\(64, 4, 7, 7\) instead of \(64, 3, 7, 7\)"),
        ({"extra": torch.zeros(1)}, "unknown: extra"),
        ({"epoch": 3}, "does not hold the tensors of a network by name"),
        ([1, 2], "does not hold the tensors of a network by name"),
    ],
)
def test_a_file_of_another_network_is_refused_with_its_keys(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputDataError, match=message):
        load_fcn(tmp_path / "other.pth")


def test_a_missing_weights_file_is_refused_with_the_other_choices(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"model\.weights is coco, none or the path of a file"):
        load_fcn(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("weights", ["coco", "file"])
def test_weights_that_would_run_code_are_refused_and_run_none(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "witness"),)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / CACHED
    path.parent.mkdir(parents=True)
    torch.save({"backbone.conv1.weight": Bomb()}, path)
    with pytest.raises(InputDataError, match="opening this weights file would run code"):
        load_fcn(weights if weights == "coco" else path)
    assert not (tmp_path / "witness").exists()


def test_freezing_random_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="set frozen_backbone_epochs to 0, or weights to coco or a file"):
        FCNResNet101Config(weights="none", frozen_backbone_epochs=3)


def load_fcn(path: Path | str) -> None:
    config = FCNResNet101Config(weights=str(path))
    with torch.device("meta"):
        network = build_network(config, CHANNELS, 1)
    load_pretrained(network, config, unscaled(CHANNELS))


CHANNELS = some_channels(23)
ENCODER = "mobilenet_v2"
NAME = f"smp:pspnet/{ENCODER}"


def encoder_for_rgb(name: str = ENCODER) -> nn.Module:
    torch.manual_seed(3)
    encoder: nn.Module = smp.encoders.get_encoder(name, weights=None, depth=3)
    return encoder


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """An encoder's tensors with what a file of the hub has beyond them: the layers for ImageNet's classes."""
    tensors = encoder_for_rgb().state_dict()
    return {**tensors, "classifier.1.weight": torch.zeros(1000, 1280), "classifier.1.bias": torch.zeros(1000)}


def loaded(weights: str, name: str = NAME) -> nn.Module:
    config = SMPConfig(name=name, weights=weights)
    network = build_network(config, CHANNELS, 1)
    load_pretrained(network, config, unscaled(CHANNELS))
    return network


def features_of_rgb_in_colour_channels(network: nn.Module) -> tuple[Tensor, Tensor]:
    """What the network's encoder sees of a picture in all red, green and blue channels, and the original."""
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(1, len(CHANNELS), 64, 64)
    for index, channel in enumerate(CHANNELS):
        if channel.sensor_band is not None and channel.sensor_band.role in COLORS:
            image[:, index] = picture[:, COLORS.index(channel.sensor_band.role)]
    with torch.no_grad():
        found = network.eval().get_submodule("library.encoder")(image)[-1]
        return found, encoder_for_rgb().eval()(picture)[-1]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_rgb_image_in_the_colour_channels_gives_the_features_of_the_pretrained_encoder(
    state: dict[str, Tensor], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    found, expected = features_of_rgb_in_colour_channels(loaded(str(path)))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_weights_by_name_come_from_the_librarys_cache(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    place = encoders[ENCODER]["pretrained_settings"]["imagenet"]
    folder = tmp_path / f"models--{place['repo_id'].replace('/', '--')}" / "snapshots" / place["revision"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    for weights in ("imagenet", "auto"):
        found, expected = features_of_rgb_in_colour_channels(loaded(weights))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "weights", "fix"),
    [
        (NAME, "imagenet", r"fetch https://\S+/mobilenet_v2\S+/model\.safetensors and name it with"),
        ("smp:pspnet/tu-test_efficientnet", "auto", "bring the cache"),
    ],
)
def test_without_a_network_the_message_says_what_to_do(
    name: str, weights: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingResourceError, match=fix) as error:
        loaded(weights, name)
    assert error.value.exit_code == 4
    assert "--set model.weights=none" in str(error.value)


def test_no_weights_and_usual_ones_of_an_encoder_without_any_leave_the_network_as_it_is() -> None:
    # Neither touches the cache, let alone a network.
    loaded("none")
    loaded("auto", "smp:fpn/tu-ghostnet_050")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, r"missing: features\.0\.0\.weight, .* unknown: conv1"),
        ({"epoch": 3}, "does not hold the tensors of a network by name"),
    ],
)
def test_a_file_of_other_weights_is_refused_with_its_keys(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputDataError, match=message):
        loaded(str(tmp_path / "other.pth"))


def test_files_that_are_missing_or_no_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"model\.weights is imagenet, auto, none or the path"):
        loaded(str(tmp_path / "nowhere.pth"))
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(InputDataError, match="is not a safetensors file"):
        loaded(str(tmp_path / "page.safetensors"))
