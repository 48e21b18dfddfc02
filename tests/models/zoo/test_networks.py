"""Every decoder, with encoders of the kinds there are: the checks that all networks inherit."""

import copy
import functools
from typing import ClassVar

import torch
from torch import nn

from esdseg.config.models import AnyModelConfig
from esdseg.config.zoo import DECODERS
from esdseg.config.zoo_model import SMPConfig
from esdseg.models import build_network
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

    def build(self, n_channels: int = 3) -> nn.Module:
        return copy.deepcopy(network_of(self.config.name, n_channels, self.smallest))

    def test_every_parameter_gets_a_gradient(self) -> None:
        """Dropped paths and rectifiers leave some at zero in one step; what no output depends on is idle."""
        network = self.build().train()
        network(random_image(2, 3, self.smallest)).square().sum().backward()
        learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients = [parameter.grad for parameter in learned if parameter.grad is not None]
        assert len(gradients) == len(learned)
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        assert sum(bool(gradient.any()) for gradient in gradients) > 0.8 * len(learned)


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
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:pspnet/tu-test_efficientnet")


class TestDeepLabV3(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:deeplabv3/tu-test_efficientnet")


class TestDeepLabV3Plus(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:deeplabv3plus/tu-test_efficientnet")


class TestPAN(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:pan/tu-test_efficientnet")
    subtile_sizes: ClassVar[tuple[int, ...]] = (4,)


class TestUPerNet(ZooChecks):
    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:upernet/tu-test_efficientnet")


class TestSegformer(ZooChecks):
    """A transformer of the library itself."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:segformer/mit_b0")


class TestDPT(ZooChecks, CompileChecks):
    """Tokens instead of maps, for images of any size."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:dpt/tu-test_vit")


class TestAnEncoderOfOneSize(ZooChecks):
    """A transformer that is made for the size of the windows, with positions that no checkpoint holds."""

    config: ClassVar[AnyModelConfig] = SMPConfig(name="smp:unet/tu-test_maxvit")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1,)


def test_every_decoder_inherits_the_checks() -> None:
    checked = {
        check.config.decoder for check in ZooChecks.__subclasses__() if isinstance(check.config, SMPConfig)
    }
    assert checked == set(DECODERS)
