"""OlmoEarth's encoder, against the package's own: bands, units, missing dates, files."""

import copy
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from esdseg.config.models import AnyModelConfig, OlmoEarthConfig
from esdseg.config.preprocessing import COURSE_RECIPE, Recipe
from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError, InputDataError, MissingResourceError
from esdseg.models import olmoearth
from esdseg.models.checkpoint import SegmentationModel, load_starting_weights
from esdseg.models.normalization import NetworkInput
from esdseg.models.olmoearth import OlmoEarthNetwork
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.registry import build_network, check_model, describe_models, load_pretrained
from esdseg.sensors.channels import Channel
from tests.contest import channel_table
from tests.models.helpers import (
    NEEDS_OLMOEARTH,
    checkpoint_content,
    normalization_for,
    random_image,
    some_channels,
    unscaled,
)
from tests.models.model_checks import ExportChecks, PrecisionChecks

Version = Literal["v1", "v1.1", "v1.2"]

CHANNELS = channel_table({"viirs": 2, "sentinel1": 2, "sentinel2": 2, "landsat8": 2})
"""As many dates of each sensor: the package itself takes no others."""
WITHOUT_SOME = tuple(
    channel for channel in CHANNELS if channel.band not in ("B01", "B09") and channel.sensor.name != "viirs"
)
FAST = OlmoEarthConfig(weights="none", patch_size=10)


@NEEDS_OLMOEARTH
class TestOlmoEarth(PrecisionChecks, ExportChecks):
    config: ClassVar[AnyModelConfig] = FAST
    subtile_sizes: ClassVar[tuple[int, ...]] = (2, 4)

    def build_to_trace(self) -> nn.Module:
        """Leave out the encoder's blocks that repeat the first one."""
        network = self.build()
        assert isinstance(network, OlmoEarthNetwork)
        network.encoder.blocks = network.encoder.blocks[:1]
        return network

    def test_every_parameter_gets_a_gradient(self) -> None:
        network = self.build().train()
        network(random_image(2, 3, self.smallest)).square().sum().backward()
        idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
        assert idle == {"encoder.composite_encodings.month_embed.weight"}
        assert not network.get_parameter(idle.pop()).requires_grad


def published(version: Version, folder: Path, size: Literal["nano", "tiny"] = "nano") -> tuple[Any, str]:
    """A model of the package with random weights, and its file: its ``state_dict``, as the package says."""
    from olmoearth_pretrain_minimal import OlmoEarthPretrain_v1

    torch.manual_seed(0)
    model = OlmoEarthPretrain_v1(size, version).model.eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "channel_embeddings" in name:
                values.normal_()
    torch.save(model.state_dict(), folder / "weights.pth")
    return model.encoder, str(folder / "weights.pth")


def numbers_and_network_input(
    channels: tuple[Channel, ...],
) -> tuple[dict[str, npt.NDArray[np.float32]], Tensor, NetworkInput]:
    """Numbers of products (100 x 100 px, T, bands) by modality, the stored image of them, and its scale."""
    generator = np.random.default_rng(0)
    stored = np.empty((len(channels), 100, 100), np.float32)
    for position, channel in enumerate(channels):
        if channel.sensor.name == "sentinel1":
            stored[position] = generator.normal(-12 - position % 3, 4, (100, 100))
        else:
            stored[position] = generator.uniform(0.02, 0.6 + position % 5, (100, 100))
    values = stored.astype(np.float16)
    seen = NetworkInput(channels, normalization_for(values, channels), Recipe())
    numbers = {}
    for product in olmoearth.PRODUCTS:
        bands = olmoearth.bands_of_product(product)
        own = [channel for channel in channels if channel.sensor.name == product.sensor]
        n_places = max(channel.place or 0 for channel in own)
        unit = 1 if product.sensor == "sentinel1" else 10_000
        cube = np.full((100, 100, n_places, len(bands)), np.nan, np.float32)
        for channel in own:
            assert channel.place is not None
            number = values[channels.index(channel)].astype(np.float32) * unit
            cube[:, :, channel.place - 1, bands.index(channel.band)] = number
        numbers[product.modality] = cube
    return numbers, torch.from_numpy(values)[None], seen


def tokens_of_the_package(
    encoder: Any, numbers: dict[str, npt.NDArray[np.float32]], version: Version, month: int
) -> Tensor:
    """What the package's own normaliser and encoder make of each label cell: tokens (4, 25, D)."""
    from olmoearth_pretrain_minimal import Normalizer
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.constants import Modality
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import MaskedOlmoEarthSample

    parts: dict[str, Tensor] = {}
    for modality, cube in numbers.items():
        normal = Normalizer(model_type=version).normalize(Modality.get(modality), cube)
        values = torch.from_numpy(normal).float()
        cells = values.reshape(2, 50, 2, 50, *values.shape[2:]).transpose(1, 2).flatten(0, 1)
        parts[modality] = cells
        n_sets = encoder.tokenization_config.get_num_bandsets(modality)
        parts[f"{modality}_mask"] = torch.zeros(*cells.shape[:4], n_sets, dtype=torch.long)
    longest = max(part.shape[3] for part in parts.values())
    date = torch.tensor([15, month - 1, 2020]).repeat(4, longest, 1)
    sample = MaskedOlmoEarthSample(timestamps=date, **parts)
    with torch.no_grad():
        found = encoder(sample, patch_size=10, input_res=10, fast_pass=True)["tokens_and_masks"]
    tokens = [getattr(found, modality).flatten(1, 2).flatten(2, 3) for modality in numbers]
    return torch.cat(tokens, dim=2).mean(dim=2)


def loaded(
    weights: str, seen: NetworkInput, version: Version = "v1.2", size: Literal["nano", "tiny"] = "nano"
) -> tuple[SegmentationModel, tuple[str, ...]]:
    config = OlmoEarthConfig(weights=weights, version=version, size=size, patch_size=10, month=9)
    network = build_network(config, seen.channels, 2)
    notes = load_pretrained(network, config, seen)
    return SegmentationModel(seen.normalization, network).eval(), notes


def tokens_of(model: SegmentationModel, image: Tensor) -> Tensor:
    """What the network's encoder makes of each label cell of a stored image (1, C, 100, 100)."""
    network = model.network
    assert isinstance(network, OlmoEarthNetwork)
    # At full size: the sensors' own pixels are coarser.
    pixels = model.normalization(image)[0, list(network.channels)]
    cells = pixels.reshape(-1, 2, 50, 2, 50).permute(1, 3, 0, 2, 4).flatten(0, 1)
    with torch.no_grad():
        return network.encode(cells)


@NEEDS_OLMOEARTH
@pytest.mark.parametrize("version", ["v1", "v1.1", "v1.2"])
def test_stored_values_give_the_tokens_that_the_package_makes_of_the_products_numbers(
    version: Version, tmp_path: Path
) -> None:
    encoder, weights = published(version, tmp_path)
    numbers, image, seen = numbers_and_network_input(WITHOUT_SOME)
    model, _ = loaded(weights, seen, version)
    expected = tokens_of_the_package(encoder, numbers, version, month=9)
    torch.testing.assert_close(tokens_of(model, image), expected, rtol=1e-3, atol=2e-3)


@NEEDS_OLMOEARTH
@pytest.mark.parametrize("lacking", ["second date", "landsat8"])
def test_acquisitions_without_data_are_not_attended_to(lacking: str, tmp_path: Path) -> None:
    encoder, weights = published("v1.2", tmp_path)
    numbers, image, seen = numbers_and_network_input(WITHOUT_SOME)
    model, _ = loaded(weights, seen)
    for position, channel in enumerate(WITHOUT_SOME):
        if (channel.place == 2) if lacking == "second date" else (channel.sensor.name == lacking):
            image[:, position] = torch.nan
    if lacking == "second date":
        numbers = {modality: cube[:, :, :1] for modality, cube in numbers.items()}
    else:
        del numbers["landsat"]
    expected = tokens_of_the_package(encoder, numbers, "v1.2", month=9)
    torch.testing.assert_close(tokens_of(model, image), expected, rtol=1e-3, atol=2e-3)


@NEEDS_OLMOEARTH
def test_a_run_gives_its_weights_but_not_its_scale(tmp_path: Path) -> None:
    """Another store has other dates, and other statistics."""
    first, again = channel_table({"sentinel2": 1}), channel_table({"sentinel2": 2})
    _, weights = published("v1.2", tmp_path)
    source, _ = loaded(weights, unscaled(first))
    content = checkpoint_content(source, ESDConfig(model=OlmoEarthConfig(patch_size=10)), first, 2)
    torch.save(content, tmp_path / "run.ckpt")
    config = OlmoEarthConfig(patch_size=10, weights=str(tmp_path / "run.ckpt"))
    seen = unscaled(again)
    seen.normalization.scale.fill_(2)
    network = build_network(config, again, 2)
    load_starting_weights(network, config, seen, tmp_path)
    for name, value in source.network.state_dict().items():
        if not name.startswith("inputs."):
            assert torch.equal(network.state_dict()[name], value), name
    old, new = source.network.get_buffer("inputs.0.gain"), network.get_buffer("inputs.0.gain")
    torch.testing.assert_close(new, torch.cat([old, old]) / 2)


@NEEDS_OLMOEARTH
def test_the_package_can_be_imported_while_a_checkpoint_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(olmoearth.PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    with torch.device("meta"):
        build_network(FAST, some_channels(2), 2)
    network = build_network(FAST, some_channels(2), 2).eval()
    with torch.no_grad():
        assert torch.isfinite(network(random_image(1, 2, 2))).all()


@NEEDS_OLMOEARTH
def test_night_light_goes_its_own_way() -> None:
    torch.manual_seed(0)
    network = build_network(FAST, CHANNELS, 2).eval()
    image = random_image(1, len(CHANNELS), 2)
    lit = image.clone()
    lit[:, 0, :50, :50] += 5
    with torch.no_grad():
        before, after = network(image), network(lit)
    assert not torch.allclose(before, after)
    only_light = tuple(channel for channel in CHANNELS if channel.sensor.name == "viirs")
    with pytest.raises(ConfigError, match="reads sentinel2, sentinel1, landsat8; the data have viirs"):
        build_network(FAST, only_light, 2)


@NEEDS_OLMOEARTH
def test_missing_bands_are_told(tmp_path: Path) -> None:
    _, weights = published("v1.2", tmp_path)
    assert loaded(weights, unscaled(CHANNELS))[1] == ()
    (note,) = loaded(weights, unscaled(tuple(c for c in CHANNELS if c.band not in ("B09", "B12"))))[1]
    assert note == (
        "OlmoEarth v1.2 Nano expects 12 bands of sentinel2; the data lack B12, B09. A missing band counts as "
        "a band dropped in its training."
    )


@NEEDS_OLMOEARTH
def test_files_of_other_encoders_are_refused_with_what_they_hold(tmp_path: Path) -> None:
    _, weights = published("v1", tmp_path, "tiny")
    with pytest.raises(
        InputDataError, match=r"not the weights of OlmoEarth v1\.2 Nano; it holds those of v1 Tiny"
    ):
        loaded(weights, unscaled(some_channels(3)))
    torch.save({"conv1.weight": torch.zeros(3)}, weights)
    with pytest.raises(InputDataError, match=r"missing: .*norm.* and \d+ more"):
        loaded(weights, unscaled(some_channels(3)))
    with pytest.raises(
        InputDataError, match=r"nowhere\.pth: there is no such weights file; model\.weights is auto"
    ):
        loaded("nowhere.pth", unscaled(some_channels(3)))


@NEEDS_OLMOEARTH
def test_values_without_a_physical_unit_are_refused(tmp_path: Path) -> None:
    _, weights = published("v1.2", tmp_path)
    seen = unscaled(some_channels(3))
    with pytest.raises(ConfigError, match=r"expects physical values of sentinel2, .* has gamma"):
        loaded(weights, NetworkInput(seen.channels, seen.normalization, COURSE_RECIPE))


@NEEDS_OLMOEARTH
def test_the_download_comes_from_the_hubs_cache_or_the_message_says_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    seen = unscaled(some_channels(3))
    address = r"fetch https://\S+/allenai/OlmoEarth-v1_2-Nano/resolve/main/weights\.pth and name it with"
    with pytest.raises(MissingResourceError, match=address) as error:
        loaded("auto", seen)
    assert error.value.exit_code == 4
    kept = tmp_path / "models--allenai--OlmoEarth-v1_2-Nano"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    (kept / "snapshots" / ("0" * 40)).mkdir(parents=True)
    encoder, _ = published("v1.2", kept / "snapshots" / ("0" * 40))
    model, _ = loaded("auto", seen)
    assert torch.equal(model.network.get_parameter("encoder.norm.weight"), encoder.norm.weight)


@NEEDS_OLMOEARTH
def test_a_frozen_encoder_keeps_its_weights_until_its_epochs_are_over(tmp_path: Path) -> None:
    _, weights = published("v1.2", tmp_path)
    config = OlmoEarthConfig(weights=weights, frozen_backbone_epochs=1, patch_size=10)
    network = build_network(config, some_channels(3), 2)
    load_pretrained(network, config, unscaled(some_channels(3)))
    network.train()
    schedule_backbone(network, epoch=0)
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(random_image(2, 3, 2)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("encoder.") for name in changed)
    assert "entry.0.weight" in changed
    assert not any(module.training for module in network.get_submodule("encoder").modules())
    schedule_backbone(network, epoch=1)
    assert all(module.training for module in network.modules())
    idle = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert idle == ["encoder.composite_encodings.month_embed.weight"]


def test_without_the_package_a_training_is_refused_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(olmoearth, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(MissingResourceError, match=r"pip install .*\[eo\]") as error:
        check_model(OlmoEarthConfig(), None)
    assert error.value.exit_code == 4
    row = next(row for row in describe_models(some_channels(2), 2) if row.name == "olmoearth")
    assert row.parameters is None
