import copy
import functools
from typing import ClassVar

import torch
from torch import nn

from esdseg.config.models import AnyModelConfig, FCNResNet101Config
from esdseg.models.course_networks import FCNResNet101
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.registry import build_network
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks


class TestFCNResNet101(CompileChecks, ExportChecks):
    """A hundred layers take seconds, and much longer in emulated bfloat16, so fewer sizes are looked at."""

    config: ClassVar[AnyModelConfig] = FCNResNet101Config(weights="none")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2)
    channel_counts: ClassVar[tuple[int, ...]] = (3,)

    def build(self, n_channels: int = 3, subtile_size: int = 1) -> nn.Module:
        return copy.deepcopy(_network(n_channels))

    def build_to_trace(self) -> nn.Module:
        """Leave out the blocks of each stage that repeat the second one."""
        network = self.build()
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            setattr(network.backbone, stage, getattr(network.backbone, stage)[:2])
        return network


@functools.cache
def _network(n_channels: int) -> nn.Module:
    """Drawing fifty million random weights takes longer than copying them."""
    torch.manual_seed(0)
    return build_network(FCNResNet101Config(weights="none"), some_channels(n_channels), 1)


def test_a_frozen_backbone_keeps_its_weights_and_statistics_until_its_epochs_are_over() -> None:
    network = copy.deepcopy(_network(3)).train()
    assert isinstance(network, FCNResNet101)
    network.frozen_backbone_epochs = 2

    schedule_backbone(network, epoch=1)
    network.eval().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(random_image(2, 3, 1)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("backbone.layer") for name in changed)
    assert {"backbone.conv1.weight", "backbone.bn1.weight", "backbone.bn1.running_mean"} <= changed
    assert {"classifier.0.weight", "classifier.1.running_var", "classifier.4.weight"} <= changed

    schedule_backbone(network, epoch=2)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())


def test_networks_without_a_backbone_are_left_as_they_are() -> None:
    network = nn.Conv2d(2, 2, 1)
    schedule_backbone(network, epoch=0)
    assert all(parameter.requires_grad for parameter in network.parameters())
