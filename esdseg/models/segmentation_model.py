"""What a checkpoint holds: the normalisation of the channels, and the network behind it."""

from torch import Tensor, nn

from esdseg.models.normalization import Normalization


class SegmentationModel(nn.Module):
    """A network that takes images as the store holds them.

    Args:
        normalization: The first layer; it scales channels and treats no data.
        network: Maps normalised images (N, C, 50k, 50k) to logits (N, 4, k, k).
    """

    def __init__(self, normalization: Normalization, network: nn.Module) -> None:
        super().__init__()
        self.normalization = normalization
        self.network = network

    def normalize(self, image: Tensor) -> Tensor:
        """Scale stored images (N, C, 50k, 50k), NaN where there is no data, to finite float32."""
        normalized: Tensor = self.normalization(image)
        return normalized

    def classify(self, normalized: Tensor) -> Tensor:
        """Map normalised images to logits (N, 4, k, k), float32; training augments before this step."""
        logits: Tensor = self.network(normalized)
        return logits.float()

    def forward(self, image: Tensor) -> Tensor:
        """Map stored images (N, C, 50k, 50k), NaN where there is no data, to logits (N, 4, k, k)."""
        return self.classify(self.normalize(image))
