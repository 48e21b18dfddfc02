from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import AnyModelConfig, UNetConfig
from esdseg.errors import ConfigError
from esdseg.models.course_networks import UNet
from esdseg.models.registry import build_network
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks, PrecisionChecks


class TestUNet(PrecisionChecks, CompileChecks, ExportChecks):
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
