"""The block of convolutions that the networks from scratch are made of."""

from torch import nn


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
