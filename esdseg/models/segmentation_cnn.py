"""SegmentationCNN: convolutions from scratch that pool their way down to the label grid."""

from collections.abc import Sequence

from torch import Tensor, nn

from esdseg.config.models import SegmentationCNNConfig
from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.layers import CellPooling, convolution_block
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import NUM_CLASSES


class SegmentationCNN(nn.Module):
    """Blocks of convolutions, each followed by a pooling; the last one pools logits into label cells.

    Args:
        in_channels: Channels of the image.
        depth: Convolutions a block.
        embedding_size: Channels of the first block; each further block doubles them.
        pool_sizes: Pooling after each block; the product is the side of a label cell in pixels.
        kernel_size: Side of the convolutions in pixels, odd.
        cell_pooling: How the last pooling reduces logits; the ones before take the maximum.
    """

    def __init__(
        self,
        in_channels: int,
        depth: int,
        embedding_size: int,
        pool_sizes: Sequence[int],
        kernel_size: int,
        cell_pooling: CellPoolingMode,
    ) -> None:
        super().__init__()
        *inner_pools, last_pool = pool_sizes
        widths = [embedding_size * 2**block for block in range(len(pool_sizes))]
        layers: list[nn.Module] = []
        for in_width, width, pool in zip([in_channels, *widths], widths, [*inner_pools, None], strict=False):
            layers.append(convolution_block(in_width, width, depth, kernel_size))
            if pool is not None:
                layers.append(nn.MaxPool2d(pool))
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], NUM_CLASSES, 1)
        self.cell_pooling = CellPooling(last_pool, cell_pooling)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        logits: Tensor = self.cell_pooling(self.head(self.features(image)))
        return logits


def build_segmentation_cnn(
    config: SegmentationCNNConfig, channels: Sequence[Channel], subtile_size: int
) -> SegmentationCNN:
    """Build the network from its settings; any ``subtile_size`` works."""
    return SegmentationCNN(
        len(channels),
        config.depth,
        config.embedding_size,
        config.pool_sizes,
        config.kernel_size,
        config.cell_pooling,
    )
