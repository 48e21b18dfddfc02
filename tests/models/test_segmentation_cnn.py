from typing import ClassVar

import pytest
import torch
from torch import nn

from esdseg.config.models import AnyModelConfig, SegmentationCNNConfig
from esdseg.models.registry import build_network
from tests.models.helpers import random_image, some_channels
from tests.models.model_checks import CompileChecks, ExportChecks, PrecisionChecks


class TestSegmentationCNN(PrecisionChecks, CompileChecks, ExportChecks):
    config: ClassVar[AnyModelConfig] = SegmentationCNNConfig(embedding_size=4)


class TestSegmentationCNNWithOtherPools(PrecisionChecks):
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
