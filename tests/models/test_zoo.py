"""Networks of segmentation_models.pytorch: the checks that all networks inherit, and which pairs work."""

import copy
import functools
from typing import ClassVar

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torch.nn import functional as F

from esdseg.config.models import AnyModelConfig
from esdseg.config.zoo import SMPConfig, decoder_names
from esdseg.errors import ConfigError
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.registry import build_network, check_model
from esdseg.models.zoo import Recipe, SMPNetwork, SteadyBatchNorm, first_layers_of
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks, ModelChecks


@functools.cache
def network_of(name: str, n_channels: int, subtile_size: int) -> nn.Module:
    """Trying a pair out and drawing its weights takes longer than copying it."""
    torch.manual_seed(0)
    return build_network(SMPConfig(name=name, weights="none"), some_channels(n_channels), subtile_size)


class ZooChecks(ModelChecks):
    """Most decoders are tried with an encoder of timm that it made for tests.

    Encoders alone see the channels: other numbers of them are tried with one decoder of each encoder.
    """

    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2)
    channel_counts: ClassVar[tuple[int, ...]] = (3,)
    unused: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of parameters that the output does not depend on, and that do not learn."""
    cancelled: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that batch normalisation cancels: their gradient is rounding alone."""

    def build(self, n_channels: int = 3) -> nn.Module:
        return copy.deepcopy(network_of(self.config.name, n_channels, self.smallest))

    def test_every_parameter_gets_a_gradient(self) -> None:
        network = self.build().train()
        take_chance_away(network)
        network(random_image(2, 3, self.smallest)).square().sum().backward()
        parameters = dict(network.named_parameters())
        idle = {name for name, parameter in parameters.items() if not parameter.requires_grad}
        assert idle == {name for name in parameters if name.startswith(self.unused)}
        unreached = [
            name
            for name in parameters.keys() - idle
            if (gradient := parameters[name].grad) is None
            or not torch.isfinite(gradient).all()
            or not (gradient.any() or name.endswith(self.cancelled))
        ]
        assert unreached == []


def take_chance_away(network: nn.Module) -> None:
    """Drop nothing, and shut no rectifier: a gradient of zero then comes from how the network is built."""
    for parent in network.modules():
        if isinstance(parent, (nn.modules.dropout._DropoutNd, DropPath)):
            parent.eval()
        for name, layer in parent.named_children():
            if type(layer) is nn.ReLU:
                setattr(parent, name, nn.LeakyReLU())


class TestUnet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unet/mobilenet_v2")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    channel_counts: ClassVar[tuple[int, ...]] = (7,)


class TestUnetPlusPlus(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unetplusplus/tu-test_efficientnet")


class TestManet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:manet/tu-test_efficientnet")


class TestLinknet(ZooChecks, CompileChecks, ExportChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:linknet/tu-test_efficientnet")
    channel_counts: ClassVar[tuple[int, ...]] = (7,)


class TestFPN(ZooChecks):
    """An encoder that starts at a quarter of the resolution."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:fpn/tu-test_convnext")
    channel_counts: ClassVar[tuple[int, ...]] = (7,)


class TestPSPNet(ZooChecks):
    """It takes features at an eighth of the resolution, and leaves the stages behind them."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:pspnet/tu-test_efficientnet")
    unused: ClassVar[tuple[str, ...]] = tuple(f"library.encoder.model.blocks.{stage}." for stage in (3, 4))


class TestDeepLabV3(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:deeplabv3/tu-test_efficientnet")


class TestDeepLabV3Plus(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:deeplabv3plus/tu-test_efficientnet")


class TestPAN(ZooChecks):
    """Its decoder's convolutions have a bias before batch normalisation."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:pan/tu-test_efficientnet")
    subtile_sizes: ClassVar[tuple[int, ...]] = (4,)
    cancelled: ClassVar[tuple[str, ...]] = (".conv.bias",)


class TestUPerNet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:upernet/tu-test_efficientnet")


class TestSegformer(ZooChecks):
    """A transformer of the library itself."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:segformer/mit_b0")
    channel_counts: ClassVar[tuple[int, ...]] = (7,)


class TestDPT(ZooChecks, CompileChecks):
    """Tokens instead of maps, for images of any size; it leaves the layers behind the last block."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:dpt/tu-test_vit")
    channel_counts: ClassVar[tuple[int, ...]] = (7,)
    unused: ClassVar[tuple[str, ...]] = ("library.encoder.model.norm.", "library.encoder.model.head.")


class TestAnEncoderOfOneSize(ZooChecks):
    """A transformer that is made for the size of the windows, with positions that no checkpoint holds."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unet/tu-test_maxvit")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1,)


def test_every_decoder_inherits_the_checks() -> None:
    checked = {
        check.config.decoder for check in ZooChecks.__subclasses__() if isinstance(check.config, SMPConfig)
    }
    assert checked == set(decoder_names())


def test_kept_statistics_follow_each_step_by_a_tenth() -> None:
    """Encoders of EfficientNet's kind would follow by a hundredth."""
    torch.manual_seed(0)
    network = build_network(SMPConfig(name="smp:fpn/efficientnet-b0", weights="none"), some_channels(3), 1)
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    image = random_image(2, 3, 1)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(image)
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, (1 - 0.9**3) * seen[-1])


def smp_network(name: str, frozen_backbone_epochs: int = 0) -> SMPNetwork:
    torch.manual_seed(0)
    config = SMPConfig(name=name, frozen_backbone_epochs=frozen_backbone_epochs)
    network = build_network(config, some_channels(3), 1)
    assert isinstance(network, SMPNetwork)
    return network


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("smp:deeplabv3/vgg11", 4, "needs an encoder whose last stages can keep their resolution"),
        ("smp:linknet/mit_b0", 4, "needs an encoder with maps of 1/2"),
        ("smp:dpt/resnet18", 4, "such as tu-vit_small_patch16_224"),
        ("smp:deeplabv3/tu-dla34", 4, "needs an encoder whose last stages can keep their resolution"),
        ("smp:unet/tu-test_vit", 4, "vision transformers go with dpt"),
        ("smp:dpt/tu-vit_small_patch14_dinov2", 1, r"divisible by 14.*patches of 8, 16 or 32 px"),
    ],
)
def test_a_pair_that_does_not_work_is_refused_with_what_does(name: str, size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        check_model(SMPConfig(name=name), size)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("encoder", "size", "works"), [("tu-test_efficientnet", 1, 2), ("vgg11", 4, 8)], ids=["dilates", "pools"]
)
def test_windows_that_pan_halves_away_are_refused_with_those_it_takes(
    encoder: str, size: int, works: int
) -> None:
    config = SMPConfig(name=f"smp:pan/{encoder}", weights="none")
    with pytest.raises(ConfigError, match=f"too small for pan on {encoder}; use .*window_size={works}"):
        build_network(config, some_channels(2), size)
    check_model(config, works)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("densenet121", ("features.conv0.weight",)),
        ("mit_b0", ("patch_embed1.proj.weight",)),
        ("mobileone_s0", ("stage0.rbr_conv.0.conv.weight", "stage0.rbr_scale.conv.weight")),
        ("tu-test_convnext", ("model.stem_0.weight",)),
    ],
)
def test_first_layers_are_found_where_there_are_several(name: str, expected: tuple[str, ...]) -> None:
    with torch.device("meta"):
        assert set(expected) <= set(first_layers_of(Recipe("fpn", name, {}), 5))


def test_padding_repeats_the_outermost_pixels_and_is_cropped_again() -> None:
    network = smp_network("smp:linknet/tu-test_efficientnet").eval()
    image = random_image(1, 3, 1)
    padded = F.pad(image, (7, 7, 7, 7), mode="replicate")
    with torch.no_grad():
        expected = F.avg_pool2d(network.library(padded)[..., 7:57, 7:57], 50)
        torch.testing.assert_close(network(image), expected)


def test_a_frozen_encoder_keeps_its_weights_and_statistics_until_its_epochs_are_over() -> None:
    network = smp_network("smp:fpn/mobilenet_v2", frozen_backbone_epochs=1).train()
    schedule_backbone(network, epoch=0)
    network.eval().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(random_image(2, 3, 1)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    first = "library.encoder.features.0."
    kept = {name for name in before if name.startswith("library.encoder.") and not name.startswith(first)}
    assert not changed & kept
    assert {f"{first}0.weight", f"{first}1.weight", f"{first}1.running_mean"} <= changed
    assert any(name.startswith("library.decoder.") for name in changed)

    schedule_backbone(network, epoch=1)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_parameters_that_no_output_depends_on_do_not_learn_and_stay_so() -> None:
    """``pspnet`` looks at an encoder's first three halvings alone; processes would wait for the rest."""
    network = smp_network("smp:pspnet/mobilenet_v2", frozen_backbone_epochs=1)
    idle = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert "library.encoder.features.17.conv.0.0.weight" in idle
    schedule_backbone(network, epoch=0)
    schedule_backbone(network, epoch=1)
    assert {name for name, parameter in network.named_parameters() if not parameter.requires_grad} == idle


def test_a_step_of_a_single_image_works_where_the_decoder_pools_it_whole() -> None:
    network = smp_network("smp:deeplabv3/tu-test_efficientnet").train()
    network(random_image(1, 3, 1)).sum().backward()


def test_a_single_value_is_normalised_by_the_running_statistics_and_more_by_their_own() -> None:
    steady, plain = SteadyBatchNorm(4), nn.BatchNorm2d(4)
    for layer in (steady, plain):
        layer.train()
        layer(random_image(3, 4, 1))
    single = random_image(1, 4, 1)[..., :1, :1]
    with pytest.raises(ValueError, match="more than 1 value"):
        plain(single)
    found = steady(single)
    torch.testing.assert_close(found, plain.eval()(single))
    torch.testing.assert_close(steady.running_mean, plain.running_mean)
