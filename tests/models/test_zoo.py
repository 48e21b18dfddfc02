"""Every decoder, with encoders of the kinds there are: the checks that all networks inherit."""

import copy
import functools
from typing import ClassVar

import torch
from timm.layers import DropPath
from torch import nn

from esdseg.config.models import AnyModelConfig
from esdseg.config.zoo import SMPConfig, decoder_names
from esdseg.models.registry import build_network
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ModelChecks


@functools.cache
def network_of(name: str, n_channels: int, subtile_size: int) -> nn.Module:
    """Trying a pair out and drawing its weights takes longer than copying it."""
    torch.manual_seed(0)
    return build_network(SMPConfig(name=name, weights="none"), some_channels(n_channels), subtile_size)


class ZooChecks(ModelChecks):
    """Most decoders are tried with an encoder of timm that it made for tests."""

    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2)
    channel_counts: ClassVar[tuple[int, ...]] = (1, 7)
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


class TestUnet(ZooChecks, CompileChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unet/mobilenet_v2")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)


class TestUnetPlusPlus(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unetplusplus/tu-test_efficientnet")


class TestManet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:manet/tu-test_efficientnet")


class TestLinknet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:linknet/tu-test_efficientnet")


class TestFPN(ZooChecks, CompileChecks):
    """An encoder that starts at a quarter of the resolution."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:fpn/tu-test_convnext")


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


class TestDPT(ZooChecks, CompileChecks):
    """Tokens instead of maps, for images of any size; it leaves the layers behind the last block."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:dpt/tu-test_vit")
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


def test_kept_statistics_follow_within_a_few_dozen_steps() -> None:
    torch.manual_seed(0)
    network = build_network(SMPConfig(name="smp:fpn/efficientnet-b0", weights="none"), some_channels(3), 1)
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    image = random_image(2, 3, 1)
    network.train()
    with torch.no_grad():
        for _ in range(40):
            network(image)
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, seen[-1], rtol=0.02, atol=1e-6)
