"""torchvision's FCN-ResNet101 (Long et al. 2015, arXiv:1411.4038) for any channels and the label grid."""

from collections.abc import Sequence
from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn

from esdseg.config.models import FCNResNet101Config
from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.layers import CellPooling
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, NUM_CLASSES


class FCNResNet101(nn.Module):
    """ResNet101 at 1/8 of the resolution, and a classifier of two convolutions.

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

    def freeze_backbone(self) -> None:
        """Let only the first layer and the classifier learn; statistics of the rest are kept too."""
        self._set_frozen(True)

    def unfreeze_backbone(self) -> None:
        """Let all layers learn."""
        self._set_frozen(False)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen backbone keeps its batch statistics in both."""
        super().train(mode)
        if self._is_frozen:
            for stage in self._pretrained_stages():
                stage.eval()
        return self

    def _set_frozen(self, frozen: bool) -> None:
        self._is_frozen = frozen
        for stage in self._pretrained_stages():
            stage.requires_grad_(not frozen)
        self.train(self.training)

    def _pretrained_stages(self) -> list[nn.Module]:
        """The backbone behind its first convolution and that one's normalisation, which see new bands."""
        return [stage for name, stage in self.backbone.named_children() if name.startswith("layer")]


def build_fcn_resnet101(
    config: FCNResNet101Config, channels: Sequence[Channel], subtile_size: int
) -> FCNResNet101:
    """Build the network from its settings, without pretrained weights; any ``subtile_size`` works."""
    return FCNResNet101(len(channels), config.cell_pooling, config.frozen_backbone_epochs)
