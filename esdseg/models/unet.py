"""UNet from scratch, after Ronneberger et al. 2015 (arXiv:1505.04597), with its output on the label grid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import UNetConfig
from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.layers import CellPooling, PooledConvolution, convolution_block
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES

CONVOLUTIONS_A_LEVEL = 2
KERNEL_SIZE_PX = 3


class UNet(nn.Module):
    """Encoders that halve the resolution, a bottleneck, and decoders that get the encoders' maps as well.

    A side that a level cannot halve evenly is padded inside: its pooling rounds up, so the last row or
    column is pooled from the pixels there are, and the decoder cuts what is too much. No size has to divide
    by a power of two and no pixels are made up.

    Args:
        in_channels: Channels of the image.
        n_encoders: Halvings of the resolution.
        embedding_size: Channels of the first encoder; each further one doubles them.
        cell_pooling: How the logits of a cell's pixels become the cell's.
        input_stride: Pixels of the image along each side of one of the first encoder's, a divisor of 50.
            Above 1 a convolution at full resolution and a maximum come first.
    """

    first_filters: str
    """Name of the weights that see the image's channels."""

    def __init__(
        self,
        in_channels: int,
        n_encoders: int,
        embedding_size: int,
        cell_pooling: CellPoolingMode,
        input_stride: int,
    ) -> None:
        super().__init__()
        self.stem: nn.Module = nn.Identity()
        if input_stride > 1:
            self.stem = PooledConvolution(in_channels, embedding_size, KERNEL_SIZE_PX, input_stride)
            in_channels = embedding_size
        widths = [embedding_size * 2**level for level in range(n_encoders + 1)]
        self.encoders = nn.ModuleList(
            convolution_block(in_width, width, CONVOLUTIONS_A_LEVEL, KERNEL_SIZE_PX)
            for in_width, width in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.bottleneck = convolution_block(widths[-2], widths[-1], CONVOLUTIONS_A_LEVEL, KERNEL_SIZE_PX)
        self.upsamplings = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in reversed(widths[:-1])
        )
        self.decoders = nn.ModuleList(
            convolution_block(2 * width, width, CONVOLUTIONS_A_LEVEL, KERNEL_SIZE_PX)
            for width in reversed(widths[:-1])
        )
        self.first_filters = "stem.convolution.weight" if input_stride > 1 else "encoders.0.0.weight"
        self.head = nn.Conv2d(embedding_size, NUM_CLASSES, 1)
        self.cell_pooling = CellPooling(CELL_SIZE_PX // input_stride, cell_pooling)

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        features, skips = self.stem(image), []
        for encoder in self.encoders:
            skip = encoder(features)
            skips.append(skip)
            features = F.max_pool2d(skip, 2, ceil_mode=True)
        features = self.bottleneck(features)
        for upsampling, decoder, skip in zip(self.upsamplings, self.decoders, reversed(skips), strict=True):
            height, width = skip.shape[-2:]
            upsampled = upsampling(features)[..., :height, :width]
            features = decoder(torch.cat([skip, upsampled], dim=1))
        logits: Tensor = self.cell_pooling(self.head(features))
        return logits


def build_unet(config: UNetConfig, channels: Sequence[Channel], subtile_size: int) -> UNet:
    """Build the network from its settings; the depth was checked against ``subtile_size``."""
    return UNet(
        len(channels), config.n_encoders, config.embedding_size, config.cell_pooling, config.input_stride
    )
