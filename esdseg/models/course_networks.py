"""The networks of the course: a plain CNN, a UNet and torchvision's FCN-ResNet101, on the label grid."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import FCNResNet101Config, SegmentationCNNConfig, UNetConfig
from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.layers import CellPooling, PooledConvolution, convolution_block
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES


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


CONVOLUTIONS_A_LEVEL = 2
KERNEL_SIZE_PX = 3


class UNet(nn.Module):
    """Encoders that halve the resolution, a bottleneck, and decoders that get the encoders' maps as well.

    After Ronneberger et al. 2015 (arXiv:1505.04597), from scratch.

    An odd side is halved by rounding up: its last row or column is pooled from the pixels there are, and the
    decoder cuts off the surplus. So sides need not be divisible by a power of two, and no image is padded.

    Args:
        in_channels: Channels of the image.
        n_encoders: Halvings of the resolution.
        embedding_size: Channels of the first encoder; each further one doubles them.
        cell_pooling: How the logits of a cell's pixels become the cell's.
        input_stride: Side, in pixels of the image, of a pixel of the first encoder; a divisor of 50. Above 1,
            a convolution at full resolution and a maximum come before the encoders.
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


class FCNResNet101(nn.Module):
    """ResNet101 at 1/8 of the resolution, and a classifier of two convolutions.

    torchvision's, after Long et al. 2015 (arXiv:1411.4038), for any channels.

    Its logits are brought back to full resolution by bilinear interpolation, as torchvision does, before
    they are pooled: a label cell of 50 px is no whole number of steps of 8 px, and four maps of logits
    cost next to nothing beside the backbone.

    Args:
        in_channels: Channels of the image.
        cell_pooling: How the logits of a cell's pixels become the cell's.
        frozen_backbone_epochs: Epochs at the start in which the backbone does not learn; see
            :func:`esdseg.models.pretrained_weights.schedule_backbone`.
    """

    def __init__(
        self, in_channels: int, cell_pooling: CellPoolingMode, frozen_backbone_epochs: int = 0
    ) -> None:
        super().__init__()
        # torchvision takes a moment to import, and the other networks do without it.
        from torchvision.models.segmentation import fcn_resnet101

        network = fcn_resnet101(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
        self.backbone: nn.Module = network.backbone
        self.classifier: nn.Module = network.classifier
        for_rgb = self.backbone.conv1
        assert isinstance(for_rgb, nn.Conv2d)
        self.backbone.conv1 = nn.Conv2d(
            in_channels, for_rgb.out_channels, kernel_size=7, stride=2, padding=3, bias=False
        )
        nn.init.kaiming_normal_(self.backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.cell_pooling = CellPooling(CELL_SIZE_PX, cell_pooling)
        self.frozen_backbone_epochs = frozen_backbone_epochs
        self._is_frozen = False

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        logits = self.classifier(self.backbone(image)["out"])
        logits = F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)
        pooled: Tensor = self.cell_pooling(logits)
        return pooled

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen backbone keeps its batch statistics in both."""
        super().train(mode)
        if self._is_frozen:
            for stage in self._pretrained_stages():
                stage.eval()
        return self

    def set_frozen(self, frozen: bool) -> None:
        """Freeze the pretrained stages and their batch statistics, or let all layers learn."""
        self._is_frozen = frozen
        for stage in self._pretrained_stages():
            stage.requires_grad_(not frozen)
        self.train(self.training)

    def _pretrained_stages(self) -> list[nn.Module]:
        """Return the backbone without its first convolution and batch normalisation, which see new bands."""
        return [stage for name, stage in self.backbone.named_children() if name.startswith("layer")]


def build_fcn_resnet101(
    config: FCNResNet101Config, channels: Sequence[Channel], subtile_size: int
) -> FCNResNet101:
    """Build the network from its settings, without pretrained weights; any ``subtile_size`` works."""
    return FCNResNet101(len(channels), config.cell_pooling, config.frozen_backbone_epochs)
