"""Pretrained first layers for images of many bands: filters for red, green and blue, spread by band role."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from esdseg.sensors.channels import Channel

COLORS = ("red", "green", "blue")
"""Inputs of a pretrained first layer, in its order."""


def inflate_first_layer(weight: Tensor, channels: Sequence[Channel]) -> Tensor:
    """Spread the filters of a first convolution for RGB images over the channels of an image.

    Each colour's filter goes to every channel of that colour (any sensor, any date) in equal parts, so an
    RGB image that stands in all red, green and blue channels, with nothing in the others, gives exactly the
    original response; standing in one of ``n`` dates alone, it gives ``1 / n`` of it. The other channels
    share the mean of the three filters in equal parts: once, so that together they weigh as much as one
    colour, or once for each colour that has no channel at all. Where no channel is a colour, the
    same grey picture in all channels still gives the original response. Either way the response of
    standardised channels keeps the size that the layers behind it were trained on.

    Args:
        weight: Filters (out, 3, height, width) for red, green and blue.
        channels: The C channels of the image.

    Returns:
        Filters (out, C, height, width), same type and device.

    Raises:
        ValueError: The filters are not for three colours.
    """
    if weight.ndim != 4 or weight.shape[1] != len(COLORS):
        raise ValueError(f"expected filters (out, 3, height, width), found {tuple(weight.shape)}")
    roles = [channel.sensor_band.role if channel.sensor_band else "other" for channel in channels]
    missing = sum(color not in roles for color in COLORS)
    others = sum(role not in COLORS for role in roles)
    inflated = weight.new_empty((weight.shape[0], len(channels), *weight.shape[2:]))
    for index, role in enumerate(roles):
        if role in COLORS:
            inflated[:, index] = weight[:, COLORS.index(role)] / roles.count(role)
        else:
            inflated[:, index] = weight.mean(dim=1) * max(missing, 1) / others
    return inflated


def inflate_first_layers(
    state: Mapping[str, Tensor], first_layers: Collection[str], channels: Sequence[Channel]
) -> dict[str, Tensor]:
    """Spread all first filters of a network for RGB images, of which some have several side by side.

    Args:
        state: The network's tensors by name.
        first_layers: Names of the filters that see the image.
        channels: The channels of the image.

    Returns:
        The tensors, those of the first layers as :func:`inflate_first_layer` spreads them.

    Raises:
        ValueError: A first layer is no convolution over three colours.
    """
    return {
        name: inflate_first_layer(value, channels) if name in first_layers else value
        for name, value in state.items()
    }
