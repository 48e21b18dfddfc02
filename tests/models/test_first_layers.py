"""Encoders of the zoo with weights from satellite images: their bands, their units, and what does not fit."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from esdseg.config.eo_weights import EO_WEIGHTS, eo_weights_of
from esdseg.config.loading import load_config
from esdseg.config.preprocessing import COURSE_RECIPE, Recipe
from esdseg.config.training import ESDConfig
from esdseg.config.zoo import SMPConfig, weights_of
from esdseg.errors import ConfigError, InputDataError, MissingResourceError
from esdseg.models.checkpoint import SegmentationModel
from esdseg.models.normalization import NetworkInput
from esdseg.models.registry import build_network, load_pretrained
from esdseg.sensors.channels import Channel
from tests.contest import channel_table
from tests.models.helpers import normalization_for

CHANNELS = channel_table({"viirs": 1, "sentinel1": 2, "sentinel2": 2})
VIT = "tu-vit_small_patch16_224"


def seen_by_network(channels: tuple[Channel, ...] = CHANNELS, recipe: Recipe | None = None) -> NetworkInput:
    """Training tiles whose channels have plausible physical values, each with its own mean and spread."""
    generator = np.random.default_rng(0)
    values = []
    for position, channel in enumerate(channels):
        if channel.sensor.kind == "radar":
            values.append(generator.normal(-15 - position, 4, 1000))
        else:
            values.append(generator.uniform(0.02 + position / 200, 0.4, 1000))
    recipe = recipe or Recipe()
    layer = normalization_for(np.array(values).astype(np.float16), channels, recipe)
    return NetworkInput(channels, layer, recipe)


def timm_encoder(name: str, n_bands: int) -> nn.Module:
    """What torchgeo's loaders make, with random weights and statistics."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name.removeprefix("tu-"), in_chans=n_bands)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def physical_image(seen: NetworkInput, side_px: int) -> Tensor:
    """A stored image (1, C, side, side) around the training mean."""
    gain, offset = seen.stored_scale()
    noise = torch.randn(1, len(gain), side_px, side_px, generator=torch.Generator().manual_seed(1))
    return (offset[:, None, None] + gain[:, None, None] * noise).float()


def mean_over_dates(image: Tensor, sensor: str, band: str) -> Tensor:
    own = [
        position
        for position, channel in enumerate(CHANNELS)
        if (channel.sensor.name, channel.band) == (sensor, band)
    ]
    return image[:, own].mean(dim=1)


def sentinel2_in_torchgeos_units(image: Tensor) -> Tensor:
    """Digital numbers of 13 bands / 10 000; B10, which Level-2A lacks, at its mean of 22."""
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"]
    bands = [
        torch.full_like(image[:, 0], 22 / 10_000)
        if name == "B10"
        else mean_over_dates(image, "sentinel2", name)
        for name in names
    ]
    return torch.stack(bands, dim=1)


def sentinel1_in_torchgeos_units(image: Tensor) -> Tensor:
    vv, vh = (mean_over_dates(image, "sentinel1", band) for band in ("VV", "VH"))
    return torch.stack([(vv + 12.59) / 5.26, (vh + 20.26) / 5.91], dim=1)


def loaded(config: SMPConfig, seen: NetworkInput) -> tuple[SegmentationModel, tuple[str, ...]]:
    network = build_network(config, seen.channels, 1)
    notes = load_pretrained(network, config, seen)
    return SegmentationModel(seen.normalization, network).eval(), notes


@pytest.mark.parametrize(
    ("encoder", "name", "n_bands", "in_torchgeos_units"),
    [
        ("resnet18", "SENTINEL2_ALL_MOCO", 13, sentinel2_in_torchgeos_units),
        (
            "resnet18",
            "SENTINEL2_RGB_MOCO",
            3,
            lambda image: sentinel2_in_torchgeos_units(image)[:, [3, 2, 1]],
        ),
        ("resnet50", "SENTINEL1_GRD_MOCO", 2, sentinel1_in_torchgeos_units),
    ],
)
def test_stored_values_give_the_features_that_torchgeos_encoder_gives_of_its_own_units(
    encoder: str, name: str, n_bands: int, in_torchgeos_units: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    original, seen = timm_encoder(encoder, n_bands), seen_by_network()
    weights = next(weights for weights in eo_weights_of(encoder) if weights.name == name)
    # Known by the name under which torchgeo publishes it.
    path = tmp_path / weights.file_name
    torch.save(original.state_dict(), path)
    model, _ = loaded(SMPConfig(name=f"smp:fpn/{encoder}", weights=str(path)), seen)

    image = physical_image(seen, 64)
    library = model.network.get_submodule("library.encoder")
    with torch.no_grad():
        first = library.get_submodule("bn1")(library.get_submodule("conv1")(*model.normalize([image])))
        reference = in_torchgeos_units(image)
        expected = original.get_submodule("bn1")(original.get_submodule("conv1")(reference))
    # What is padded around an image is its mean in one, and zero in the other.
    torch.testing.assert_close(first[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=1e-3, atol=1e-3)
    for tensor in ("layer1.0.conv1.weight", "layer4.1.bn2.running_var"):
        assert torch.equal(library.state_dict()[tensor], original.state_dict()[tensor])


def test_a_vision_transformer_sees_the_same_tokens(tmp_path: Path) -> None:
    original, seen = timm_encoder(VIT, 13), seen_by_network()
    state = original.state_dict()
    # torchgeo's files lack the layers behind the last block.
    torch.save({name: value for name, value in state.items() if not name.startswith(("norm.", "head."))},
               tmp_path / "file.pth")  # fmt: skip
    config = SMPConfig(
        name=f"smp:dpt/{VIT}", weights=str(tmp_path / "file.pth"), weights_name="SENTINEL2_ALL_DINO"
    )
    model, _ = loaded(config, seen)
    image = physical_image(seen, 224)
    timms = model.network.get_submodule("library.encoder.model")
    with torch.no_grad():
        tokens = timms.get_submodule("patch_embed")(*model.normalize([image]))
        expected = original.get_submodule("patch_embed")(sentinel2_in_torchgeos_units(image))
    torch.testing.assert_close(tokens.flatten(1, 2), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(timms.state_dict()["blocks.11.mlp.fc2.weight"], state["blocks.11.mlp.fc2.weight"])


def resnet18(tmp_path: Path, n_bands: int = 13) -> str:
    torch.save(timm_encoder("resnet18", n_bands).state_dict(), tmp_path / "file.pth")
    return str(tmp_path / "file.pth")


def sentinel2(weights: str, name: str | None = "SENTINEL2_ALL_MOCO") -> SMPConfig:
    return SMPConfig(name="smp:fpn/resnet18", weights=weights, weights_name=name)


def test_missing_bands_and_unknown_sensors_are_told(tmp_path: Path) -> None:
    weights = resnet18(tmp_path)
    _, (missing, unknown) = loaded(sentinel2(weights), seen_by_network())
    assert missing == (
        "SENTINEL2_ALL_MOCO expects 13 bands of sentinel2; the data lack B10. A missing band counts as its "
        "mean over SSL4EO-S12."
    )
    assert (
        unknown == "SENTINEL2_ALL_MOCO does not know viirs, sentinel1: their filters begin at zero and learn."
    )
    few = tuple(channel for channel in CHANNELS if channel.band in ("B02", "B03", "B04", "B08", "VV"))
    assert (
        "lack B01, B05, B06, B07, B8A, B09, B10, B11, B12"
        in loaded(sentinel2(weights), seen_by_network(few))[1][0]
    )


def test_channels_that_the_weights_do_not_know_are_silent_at_first_and_learn(tmp_path: Path) -> None:
    seen = seen_by_network()
    model, _ = loaded(sentinel2(resnet18(tmp_path)), seen)
    image = physical_image(seen, 50)
    other = image.clone()
    other[:, :7] += 1  # Night light and radar.
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(other))
    filters = model.network.get_parameter("library.encoder.conv1.weight")
    model.train()(image.expand(2, -1, -1, -1)).square().sum().backward()
    assert filters.grad is not None
    assert filters.grad[:, :7].abs().amax(dim=(0, 2, 3)).min() > 0


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            COURSE_RECIPE,
            "the store's recipe has gamma 0.455; preprocess again with --set recipe=physical",
        ),
        (Recipe(scale_by="tile"), "the store's recipe scales each tile by itself"),
    ],
)
def test_values_without_a_physical_unit_are_refused(recipe: Recipe, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        loaded(sentinel2(resnet18(tmp_path)), seen_by_network(recipe=recipe))
    assert error.value.exit_code == 2


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(rescale="min_max")])
def test_normalised_values_are_turned_back_into_stored_ones(recipe: Recipe) -> None:
    seen = seen_by_network(recipe=recipe)
    values = torch.where(torch.tensor([channel.sensor.kind == "radar" for channel in CHANNELS]), -15.0, 0.2)
    (normalised,) = SegmentationModel(seen.normalization, nn.Identity()).normalize(
        [values[None, :, None, None]]
    )
    gain, offset = seen.stored_scale()
    torch.testing.assert_close((gain * normalised.flatten() + offset).float(), values, rtol=1e-4, atol=1e-4)


def test_a_channel_that_is_constant_in_training_says_nothing_of_its_unit() -> None:
    seen = seen_by_network()
    seen.normalization.scale[7] = 0
    assert seen.positions_by_band("sentinel2")["B01"] == [19]
    assert seen.stored_scale()[0][7] == 0


def test_data_without_the_sensor_are_refused(tmp_path: Path) -> None:
    only_radar = tuple(channel for channel in CHANNELS if channel.sensor.kind != "optical")
    with pytest.raises(
        ConfigError, match=r"reads the bands B01, .* of sentinel2; the data have only viirs, sen"
    ):
        loaded(sentinel2(resnet18(tmp_path)), seen_by_network(only_radar))


@pytest.mark.parametrize(
    ("n_bands", "name", "message"),
    [
        (13, None, "(64, 13, 7, 7) instead of (64, 3, 7, 7). If it is a file of torchgeo, say which: --set "
                   "model.weights_name=SENTINEL2_ALL_MOCO or SENTINEL2_RGB_MOCO."),
        (3, "SENTINEL2_ALL_MOCO", "not the weights SENTINEL2_ALL_MOCO of the encoder resnet18; not"),
    ],
)  # fmt: skip
def test_a_file_for_other_bands_is_refused_with_what_was_expected(
    n_bands: int, name: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputDataError, match=re.escape(message)) as error:
        loaded(sentinel2(resnet18(tmp_path, n_bands), name), seen_by_network())
    assert error.value.exit_code == 3


def test_weights_by_name_come_from_pytorchs_cache_or_the_message_says_where_they_lie(
    downloads_dir: Path,
) -> None:
    config, seen = SMPConfig(name="smp:fpn/resnet18", weights="SENTINEL2_ALL_MOCO"), seen_by_network()
    with pytest.raises(
        MissingResourceError, match=r"fetch https://hf\.co/torchgeo/resnet18_sent\S+-59bfdff9"
    ):
        loaded(config, seen)
    file = downloads_dir / "hub" / "checkpoints" / "resnet18_sentinel2_all_moco-59bfdff9.pth"
    state = timm_encoder("resnet18", 13).state_dict()
    torch.save(state, file)
    model, _ = loaded(config, seen)
    found = model.network.state_dict()["library.encoder.layer2.0.conv1.weight"]
    assert torch.equal(found, state["layer2.0.conv1.weight"])


def test_names_are_torchgeos_with_or_without_its_class() -> None:
    assert weights_of("resnet18")[-2:] == ("SENTINEL2_ALL_MOCO", "SENTINEL2_RGB_MOCO")
    assert SMPConfig(name="smp:unet/resnet18").named_weights == "imagenet"
    long = SMPConfig(name="smp:unet/resnet50", weights="ResNet50_Weights.SENTINEL1_GRD_MOCO")
    assert long.weights == "SENTINEL1_GRD_MOCO"
    assert long.eo_weights is not None
    assert [band.name for band in long.eo_weights.bands] == ["VV", "VH"]
    published = [weights.file_name for weights in EO_WEIGHTS]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model.weights=SENTINEL1_GRD_MOCO",), "resnet18 has no weights 'SENTINEL1_GRD_MOCO'"),
        (
            ("model.weights=x.pth", "model.weights_name=SENTINEL1_GRD_MOCO"),
            "no weights of resnet18 from satellite",
        ),
        (
            ("model.weights_name=SENTINEL2_ALL_MOCO",),
            "without a file, write model.weights=SENTINEL2_ALL_MOCO",
        ),
    ],
)
def test_names_that_cannot_work_are_refused_before_any_file_is_read(
    settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(ESDConfig, assignments=["model=smp:fpn/resnet18", *settings])


def test_frozen_encoders_learn_their_first_layer_alone(tmp_path: Path) -> None:
    config = SMPConfig(
        name="smp:fpn/resnet18",
        weights=resnet18(tmp_path),
        weights_name="SENTINEL2_ALL_MOCO",
        frozen_backbone_epochs=1,
    )
    model, _ = loaded(config, seen_by_network())
    model.network.set_frozen(True)  # type: ignore[operator]
    learning = {
        name.removeprefix("library.encoder.")
        for name, parameter in model.network.named_parameters()
        if parameter.requires_grad and name.startswith("library.encoder.")
    }
    assert learning == {"conv1.weight", "bn1.weight", "bn1.bias"}
