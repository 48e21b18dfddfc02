"""A network of segmentation_models.pytorch on the label grid."""

from collections.abc import Collection
from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.cell_pooling import CellPooling
from esdseg.models.zoo.library import Recipe
from esdseg.sensors.grid import CELL_SIZE_PX

SIDE_MULTIPLE_PX = 32
"""Of what the library's networks see: encoders halve five times at most, patches have 32 px at most."""

BATCH_STATISTICS_SHARE = 0.1
"""Share of a step's batch in the statistics that batch normalisation keeps for evaluation: PyTorch's default.

Encoders of EfficientNet's kind take 0.01, made for a million images: after the few hundred steps of few tiles
they would be judged by the statistics of the random network that they began as.
"""

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class SMPNetwork(nn.Module):
    """An encoder and a decoder of the library, padded inside and pooled into label cells.

    A side that the encoder cannot halve evenly is padded on both sides with its outermost pixels, and the
    logits are cropped again: a window of 50 px becomes one of 64 px in between.

    Args:
        library: The library's network for four classes.
        recipe: What made it, and makes it for images of three channels where weights are loaded.
        first_layers: Names of the weights in ``library.encoder`` that see the image's channels.
        unused: Names of the parameters in ``library`` that no output depends on.
        cell_pooling: How the logits of a cell's pixels become the cell's.
        frozen_backbone_epochs: Epochs at the start in which the encoder does not learn, apart from its first
            layers; see :func:`esdseg.models.backbone.schedule_backbone`.
    """

    def __init__(
        self,
        library: nn.Module,
        recipe: Recipe,
        first_layers: Collection[str],
        unused: Collection[str],
        cell_pooling: CellPoolingMode,
        frozen_backbone_epochs: int,
    ) -> None:
        super().__init__()
        self.library = library
        self.recipe = recipe
        self.first_layers = tuple(first_layers)
        self.cell_pooling = CellPooling(CELL_SIZE_PX, cell_pooling)
        self.frozen_backbone_epochs = frozen_backbone_epochs
        self._is_frozen = False
        self._unused = frozenset(unused)
        for name, parameter in library.named_parameters():
            parameter.requires_grad_(name not in self._unused)
        for module in library.modules():
            if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
                module.momentum = max(module.momentum, BATCH_STATISTICS_SHARE)

    @property
    def encoder(self) -> nn.Module:
        """The library's encoder."""
        return self.library.get_submodule("encoder")

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        height, width = image.shape[-2:]
        above, below = _margins(height)
        left, right = _margins(width)
        if above or below or left or right:
            image = F.pad(image, (left, right, above, below), mode="replicate")
        logits = self.library(image)[..., above : above + height, left : left + width]
        pooled: Tensor = self.cell_pooling(logits)
        return pooled

    def freeze_backbone(self) -> None:
        """Let only the encoder's first layers and the decoder learn; statistics of the rest are kept too."""
        self._set_frozen(True)

    def unfreeze_backbone(self) -> None:
        """Let all layers learn."""
        self._set_frozen(False)

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen encoder keeps its batch statistics in both."""
        super().train(mode)
        if self._is_frozen:
            self.encoder.eval()
            for layer in self._new_layers():
                layer.train(mode)
        return self

    def _set_frozen(self, frozen: bool) -> None:
        self._is_frozen = frozen
        for name, parameter in self.library.named_parameters():
            is_kept = frozen and name.startswith("encoder.")
            parameter.requires_grad_(name not in self._unused and not is_kept)
        if frozen:
            for layer in self._new_layers():
                layer.requires_grad_(True)
        self.train(self.training)

    def _new_layers(self) -> list[nn.Module]:
        """The encoder's layers that see the image's bands, each with the normalisation behind it."""
        owners = {name.rpartition(".")[0] for name in self.first_layers}
        layers: list[nn.Module] = []
        waiting = False
        for name, module in self.encoder.named_modules():
            if name in owners:
                layers.append(module)
                waiting = True
            elif waiting and isinstance(module, _NORMALISATIONS):
                layers.append(module)
                waiting = False
        return layers


def padded_side(side_px: int) -> int:
    """Return the side of what the library's network sees of an image."""
    return side_px + sum(_margins(side_px))


def _margins(side_px: int) -> tuple[int, int]:
    missing = -side_px % SIDE_MULTIPLE_PX
    return missing // 2, missing - missing // 2
