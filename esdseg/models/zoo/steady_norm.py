"""Batch normalisation that also works where a step leaves a single value a channel."""

from torch import Tensor, nn
from torch.nn import functional as F


class SteadyBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where there is nothing to take new ones from.

    Decoders such as ``deeplabv3`` and ``pan`` pool a whole image into one value a channel. A step of a single
    image, such as the last of an epoch, then has no variance, and PyTorch refuses it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise features (N, C, height, width)."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def steady_norms(network: nn.Module) -> None:
    """Turn every plain batch normalisation in a network into a :class:`SteadyBatchNorm`, tensors and all."""
    for parent in network.modules():
        for name, layer in parent.named_children():
            if type(layer) is nn.BatchNorm2d:
                steady = SteadyBatchNorm(
                    layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
                )
                for kind in ("_parameters", "_buffers"):
                    getattr(steady, kind).update(getattr(layer, kind))
                setattr(parent, name, steady)
