"""Layers that several networks share: blocks of convolutions, and pooling into label cells."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esdseg.config.section import CellPooling as CellPoolingMode

DATA_STEP_PX = 5
"""Spacing of the pixels by which an image without data is known."""


def convolution_block(in_channels: int, out_channels: int, depth: int, kernel_size: int) -> nn.Sequential:
    """Make ``depth`` convolutions, each followed by batch normalisation and a ReLU; the size is kept.

    Batch normalisation rather than group normalisation: night light and haze are nearly constant over a
    subtile, and normalising each image by itself would take out the very level that tells lit from dark. A
    batch of a few subtiles has tens of thousands of pixels a channel at full resolution, enough for its
    statistics; in training, both cost the same on a CPU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of every convolution's output.
        depth: Number of convolutions.
        kernel_size: Side of the kernels in pixels, odd.
    """
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [
            nn.Conv2d(
                out_channels if index else in_channels,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class ContextBlock(nn.Module):
    """Two convolutions on the label grid beside a shortcut (He et al. 2016, arXiv:1512.03385)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *convolution_block(width, width, 1, 3),
            nn.Dropout2d(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Map features (N, width, k, k) to features of the same shape."""
        return F.relu(cells + self.convolutions(cells))


class PooledConvolution(nn.Module):
    """A convolution, a maximum over squares of pixels, batch normalisation and a ReLU, in this order.

    A roof is one or two pixels, so it must be met before pixels are pooled. Normalising behind the maximum
    takes a fraction of the time.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel in pixels, odd.
        stride: Side of the squares in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.normalization = nn.BatchNorm2d(out_channels)
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """Map pixels (N, C, height, width) to features (N, D, height / stride, width / stride)."""
        return F.relu(self.normalization(F.max_pool2d(self.convolution(image), self.stride)))


@contextmanager
def running_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch normalisation work as in prediction for a while, with its running statistics, and keep them.

    Args:
        network: The network; its other layers stay as they are.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.training]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


def has_data(image: Tensor) -> Tensor:
    """Say which images (N, c, H, W) have data, (N, 1, 1, 1): no data is the same number everywhere."""
    # Some pixels tell, and cost no time.
    pixels = image[..., ::DATA_STEP_PX, ::DATA_STEP_PX]
    return (pixels.amax((2, 3), keepdim=True) > pixels.amin((2, 3), keepdim=True)).any(1, keepdim=True)


def pool_cells(logits: Tensor, cell_size_px: int, mode: CellPoolingMode) -> Tensor:
    """Reduce every square of ``cell_size_px`` pixels to one value a class.

    Args:
        logits: Logits (N, K, height, width); both sides are multiples of ``cell_size_px``.
        cell_size_px: Side of a label cell in pixels of ``logits``.
        mode: ``mean``; ``max``; or ``logsumexp``, a smooth maximum:
            ``log(mean(exp(logits)))``, which like the other two leaves a constant map at its value.

    Returns:
        Logits (N, K, height / cell_size_px, width / cell_size_px), float32.

    Raises:
        ValueError: A side is not a multiple of ``cell_size_px``.
    """
    batch, classes, height, width = logits.shape
    if height % cell_size_px or width % cell_size_px:
        raise ValueError(f"{height} x {width} px do not divide into label cells of {cell_size_px} px")
    logits = logits.float()
    if mode == "mean":
        return F.avg_pool2d(logits, cell_size_px)
    if mode == "max":
        return F.max_pool2d(logits, cell_size_px)
    rows, columns = height // cell_size_px, width // cell_size_px
    cells = logits.reshape(batch, classes, rows, cell_size_px, columns, cell_size_px)
    return torch.logsumexp(cells, dim=(3, 5)) - 2 * math.log(cell_size_px)


class CellPooling(nn.Module):
    """The last layer of a network: see :func:`pool_cells`."""

    def __init__(self, cell_size_px: int, mode: CellPoolingMode) -> None:
        super().__init__()
        self.cell_size_px = cell_size_px
        self.mode: CellPoolingMode = mode

    def forward(self, logits: Tensor) -> Tensor:
        """Pool pixel logits (N, K, height, width) into cell logits."""
        return pool_cells(logits, self.cell_size_px, self.mode)

    def extra_repr(self) -> str:
        """Show the settings where the network is printed."""
        return f"{self.cell_size_px} px, {self.mode}"
