"""What a checkpoint holds: the normalisation of the channels, and the network behind it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from esdseg.datasets.pixel_grid import PixelGrid, whole_image, whole_image_of
from esdseg.models.normalization import Normalization

Pixels = tuple[Tensor, ...]
"""What a network takes of a batch of images: one tensor (N, c, pk, pk) for each of its pixel grids."""


@runtime_checkable
class SamplesPixels(Protocol):
    """A network that takes only some of an image's pixels, so that no others are augmented and normalised."""

    grids: tuple[PixelGrid, ...]

    def classify(self, *pixels: Tensor) -> Tensor:
        """Map the grids' normalised pixels to logits (N, 4, k, k)."""


class SegmentationModel(nn.Module):
    """A network that takes images as the store holds them.

    Args:
        normalization: The first layer; it scales channels and treats no data.
        network: Maps normalised images (N, C, 50k, 50k) to logits (N, 4, k, k).
        grids: What is taken of an image, from which a network that looks at whole images gets them back; all
            of it unless given. A network that samples pixels itself has its own.

    Attributes:
        grids: What is taken of an image.
    """

    def __init__(
        self, normalization: Normalization, network: nn.Module, grids: Sequence[PixelGrid] | None = None
    ) -> None:
        super().__init__()
        self.normalization = normalization
        self.network = network
        if isinstance(network, SamplesPixels):
            grids = network.grids
        self.grids = (whole_image(len(normalization.shift)),) if grids is None else tuple(grids)

    def sample(self, image: Tensor) -> Pixels:
        """Take the pixels of :attr:`grids` from stored images (N, C, 50k, 50k)."""
        return tuple(grid.sample(image) for grid in self.grids)

    def normalize(self, pixels: Sequence[Tensor]) -> Pixels:
        """Scale stored pixels of :meth:`sample`, NaN where there is no data, to finite float32."""
        if self.grids == (whole_image(len(self.normalization.shift)),):
            return tuple(self.normalization(image) for image in pixels)
        return tuple(
            self.normalization(image, grid.channels) for image, grid in zip(pixels, self.grids, strict=True)
        )

    def classify(self, normalized: Sequence[Tensor]) -> Tensor:
        """Map normalised pixels to logits (N, 4, k, k), float32; training augments before this step."""
        if isinstance(self.network, SamplesPixels):
            logits = self.network.classify(*normalized)
        else:
            logits = self.network(whole_image_of(normalized, self.grids))
        assert isinstance(logits, Tensor)
        return logits.float()

    def forward(self, image: Tensor) -> Tensor:
        """Map stored images (N, C, 50k, 50k), NaN where there is no data, to logits (N, 4, k, k)."""
        return self.classify_stored(self.sample(image))

    def classify_stored(self, pixels: Sequence[Tensor]) -> Tensor:
        """Map stored pixels of :meth:`sample` to logits (N, 4, k, k), as :meth:`forward` does images."""
        return self.classify(self.normalize(pixels))
