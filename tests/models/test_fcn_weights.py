import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models.segmentation import fcn_resnet101

from esdseg.config.models import FCNResNet101Config
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.pretrained_weights import COLORS
from esdseg.models.registry import build_network, load_pretrained
from tests.models.helpers import FULL_TABLE, some_channels

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
    load_pretrained(network, config, CHANNELS)

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
    load_pretrained(network, config, CHANNELS)
    name = "backbone.layer3.22.conv3.weight"
    assert torch.equal(network.state_dict()[name], torchvision_state[name])


def test_without_a_network_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    config = FCNResNet101Config()
    with torch.device("meta"):
        network = build_network(config, FULL_TABLE, 1)
    with pytest.raises(MissingResourceError, match=r"model\.weights=FILE.*model\.weights=none") as error:
        load_pretrained(network, config, FULL_TABLE)
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
def test_a_file_of_other_weights_is_refused_with_its_keys(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputDataError, match=message):
        _load(tmp_path / "other.pth")


def test_a_missing_weights_file_is_refused_with_the_other_choices(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"model\.weights is coco, none or the path of a file"):
        _load(tmp_path / "nowhere.pth")


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
        _load(weights if weights == "coco" else path)
    assert not (tmp_path / "witness").exists()


def test_freezing_random_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="set frozen_backbone_epochs to 0, or weights to coco or a file"):
        FCNResNet101Config(weights="none", frozen_backbone_epochs=3)


def _load(path: Path | str) -> None:
    config = FCNResNet101Config(weights=str(path))
    with torch.device("meta"):
        network = build_network(config, CHANNELS, 1)
    load_pretrained(network, config, CHANNELS)
