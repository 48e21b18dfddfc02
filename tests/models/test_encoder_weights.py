"""Weights of encoders: by name from the library's cache, by file, or none."""

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn

from esdseg.config.zoo import SMPConfig
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.pretrained_weights import COLORS
from esdseg.models.registry import build_network, load_pretrained
from tests.models.helpers import some_channels

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
    load_pretrained(network, config, CHANNELS)
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
