import copy
import functools
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import AnyModelConfig, FCNResNet101Config, SegmentationCNNConfig, UNetConfig
from esdseg.errors import ConfigError
from esdseg.models.course_networks import FCNResNet101, UNet
from esdseg.models.pretrained_weights import schedule_backbone
from esdseg.models.registry import build_network
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks, PrecisionChecks


class TestSegmentationCNN(PrecisionChecks, CompileChecks):
    config: ClassVar[AnyModelConfig] = SegmentationCNNConfig(embedding_size=4)


class TestSegmentationCNNWithOtherPools(PrecisionChecks, ExportChecks):
    config: ClassVar[AnyModelConfig] = SegmentationCNNConfig(
        depth=1, embedding_size=4, pool_sizes=(5, 1, 10), kernel_size=5, cell_pooling="logsumexp"
    )


def test_each_block_has_depth_convolutions_and_doubles_the_channels() -> None:
    config = SegmentationCNNConfig(depth=3, embedding_size=6, pool_sizes=(5, 5, 2))
    network = build_network(config, some_channels(2), 4)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [6] * 3 + [12] * 3 + [24] * 3 + [4]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3)] * 9 + [(1, 1)]


@pytest.mark.parametrize("pool_sizes", [(50,), (2, 25), (5, 5, 2)])
def test_cells_do_not_see_beyond_what_the_convolutions_reach(pool_sizes: tuple[int, ...]) -> None:
    config = SegmentationCNNConfig(depth=1, embedding_size=2, pool_sizes=pool_sizes)
    torch.manual_seed(0)
    network = build_network(config, some_channels(1), 4).eval()
    image = random_image(1, 1, 4)
    changed = image.clone()
    changed[..., 150:, 150:] += 1
    with torch.no_grad():
        difference = (network(changed) - network(image)).abs().amax(dim=(0, 1))
    assert difference[3, 3] > 0
    assert (difference[:2, :2] == 0).all()


class TestUNet(PrecisionChecks):
    config: ClassVar[AnyModelConfig] = UNetConfig(n_encoders=4, embedding_size=4, input_stride=1)


class TestShallowUNetWithMaximumPooling(PrecisionChecks):
    config: ClassVar[AnyModelConfig] = UNetConfig(
        n_encoders=1, embedding_size=3, input_stride=1, cell_pooling="max"
    )


class TestUNetAtTwentyMetres(CompileChecks, ExportChecks):
    config: ClassVar[AnyModelConfig] = UNetConfig(n_encoders=2, embedding_size=3)


def test_a_stride_lets_the_encoders_work_on_coarser_pixels_and_keeps_what_is_brightest() -> None:
    network = UNet(in_channels=2, n_encoders=2, embedding_size=2, cell_pooling="mean", input_stride=5).eval()
    seen: list[Tensor] = []
    network.head.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    network(random_image(1, 2, 2))
    assert seen[0].shape == (1, 4, 20, 20)
    nn.init.dirac_(network.get_parameter("stem.convolution.weight"))
    roof = torch.zeros(1, 2, 100, 100)
    roof[0, :, 42, 57] = 1
    assert network.stem(roof).nonzero().tolist() == [[0, 0, 8, 11], [0, 1, 8, 11]]


def test_encoders_double_the_channels_and_decoders_halve_them() -> None:
    network = UNet(in_channels=5, n_encoders=3, embedding_size=4, cell_pooling="mean", input_stride=1)
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters() if value.ndim == 4}
    assert [shapes[f"encoders.{level}.0.weight"][:2] for level in range(3)] == [(4, 5), (8, 4), (16, 8)]
    assert shapes["bottleneck.0.weight"][:2] == (32, 16)
    assert [shapes[f"decoders.{level}.0.weight"][:2] for level in range(3)] == [(16, 32), (8, 16), (4, 8)]
    assert shapes["head.weight"] == (4, 4, 1, 1)


def test_pixel_logits_have_the_full_resolution() -> None:
    network = UNet(in_channels=2, n_encoders=3, embedding_size=2, cell_pooling="mean", input_stride=1)
    seen: list[Tensor] = []
    network.head.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    network(random_image(1, 2, 2))
    assert seen[0].shape == (1, 4, 100, 100)


def test_skip_connections_carry_detail_past_the_bottleneck() -> None:
    network = UNet(in_channels=1, n_encoders=2, embedding_size=2, cell_pooling="mean", input_stride=1).eval()
    for parameter in network.upsamplings.parameters():
        nn.init.zeros_(parameter)
    image = random_image(1, 1, 1)
    with torch.no_grad():
        assert not torch.equal(network(image), network(F.avg_pool2d(image, 5, 1, 2)))


def test_padding_inside_keeps_what_an_evenly_divided_image_gives() -> None:
    """Far from the edges, a size that halves evenly and one that does not give the same pixel logits."""
    torch.manual_seed(0)
    network = UNet(in_channels=1, n_encoders=2, embedding_size=2, cell_pooling="mean", input_stride=1).eval()
    seen: list[Tensor] = []
    network.head.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    image = random_image(1, 1, 2)
    with torch.no_grad():
        network(image)
        network(image[..., :50, :50])
    torch.testing.assert_close(seen[1][..., :20, :20], seen[0][..., :20, :20])


def test_a_depth_that_the_subtile_cannot_carry_is_refused_with_those_it_can() -> None:
    with pytest.raises(ConfigError, match=r"model unet: 5 encoders halve the 50 px of 10 m .* use 1 to 4"):
        build_network(UNetConfig(n_encoders=5, input_stride=1), some_channels(2), 1)
    build_network(UNetConfig(n_encoders=4, embedding_size=1, input_stride=1), some_channels(2), 1)
    with pytest.raises(ConfigError, match=r"model unet: 4 encoders halve the 25 px of 20 m .* use 1 to 3"):
        build_network(UNetConfig(n_encoders=4, input_stride=2), some_channels(2), 1)


class TestFCNResNet101(CompileChecks, ExportChecks):
    """A hundred layers take seconds, and much longer in emulated bfloat16, so fewer sizes are looked at."""

    config: ClassVar[AnyModelConfig] = FCNResNet101Config(weights="none")
    subtile_sizes: ClassVar[tuple[int, ...]] = (1, 2)
    channel_counts: ClassVar[tuple[int, ...]] = (3,)

    def build(self, n_channels: int = 3, subtile_size: int = 1) -> nn.Module:
        return copy.deepcopy(_network(n_channels))

    def build_to_trace(self) -> nn.Module:
        """Leave out all but the first block of each stage: the others have nothing that it lacks."""
        network = self.build()
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            setattr(network.backbone, stage, getattr(network.backbone, stage)[:1])
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
