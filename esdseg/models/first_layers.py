"""Pretrained filters of a network's first layer, matched to the bands and dates of the channels at hand."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from esdseg.config.eo_weights import EOWeights, ExpectedBand
from esdseg.errors import ConfigError
from esdseg.models.normalization import NetworkInput
from esdseg.sensors.channels import Channel, bands_of, sensor_names

COLORS = ("red", "green", "blue")
"""Inputs of a pretrained first layer, in its order."""


def inflate_first_layer(weight: Tensor, channels: Sequence[Channel]) -> Tensor:
    """Spread the filters of a first convolution for RGB images over the channels of an image.

    Each colour's filter goes to every channel of that colour (any sensor, any date) in equal parts. So an
    RGB image that is repeated on all dates, with zeros in the other channels, gives exactly the original
    response. On one of ``n`` dates alone, it gives ``1 / n`` of it.

    The other channels share the mean of the three filters in equal parts. Together they weigh as much as one
    colour, or as much as all colours that have no channel. Where no channel is a colour, the same grey
    picture in all channels still gives the original response. So the responses of standardised channels keep
    the size that the layers behind them were trained on.

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
    """Spread all first filters of a network for RGB images; some networks have several first layers.

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


def adapt_encoder(
    state: Mapping[str, Tensor], first_layer: str, weights: EOWeights, seen: NetworkInput
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Adapt an encoder's tensors to the channels and the scale of a network.

    Args:
        state: The encoder's tensors by name, with filters for the bands that ``weights`` expects.
        first_layer: Name of the filters that see the image: a convolution with a bias, or a ResNet's
            ``conv1.weight`` with batch normalisation behind it.
        weights: The description of these weights: the bands and units that they expect.
        seen: What the network sees.

    Returns:
        The tensors, and sentences for the user on bands that the data lack and channels that the weights do
        not know.

    Raises:
        ConfigError: The data hold no band that the weights know, or hold such bands in other units.
    """
    seen.check_units(weights.name, weights.sensor, weights.conversion)
    positions = seen.positions_by_band(weights.sensor)
    if not any(band.name in positions for band in weights.bands):
        held = bands_of(seen.channels).get(weights.sensor)
        found = f"the bands {', '.join(held)}" if held else f"only {', '.join(sensor_names(seen.channels))}"
        raise ConfigError(
            f"{weights.name} reads the bands {_names(weights.bands)} of {weights.sensor}; the data have "
            f"{found}. Select such bands with --set 'data.selected_bands={{{weights.sensor}: all}}', or use "
            "--set model.weights=none."
        )
    adapted = dict(state)
    adapted[first_layer], added = adapt_first_layer(state[first_layer], weights.bands, positions, seen)
    bias = f"{first_layer.removesuffix('weight')}bias"
    if bias in adapted:
        adapted[bias] = adapted[bias] + added
    else:
        mean = first_layer.replace("conv1.weight", "bn1.running_mean")
        adapted[mean] = adapted[mean] - added
    return adapted, _notes(weights, positions, seen)


def adapt_first_layer(
    weight: Tensor,
    expected: Sequence[ExpectedBand],
    positions: Mapping[str, Sequence[int]],
    seen: NetworkInput,
) -> tuple[Tensor, Tensor]:
    """Make filters for normalised channels from filters for certain bands in certain units.

    The filter of a band goes to its channels on all dates in equal parts, so the network starts from the mean
    image over dates. A band without channels counts as its mean over SSL4EO-S12. Channels of other bands get
    zeros.

    Args:
        weight: Filters (out, bands, height, width).
        expected: The bands, in the order of the filters.
        positions: The positions of each band's channels.
        seen: What the network sees.

    Returns:
        Filters (out, C, height, width), and numbers (out,) to be added to their outputs. With both, the
        output for an image is that of the original filters for its mean over dates in their units.
    """
    gain, offset = seen.stored_scale()
    adapted = weight.new_zeros((weight.shape[0], len(gain), *weight.shape[2:]))
    added = torch.zeros(weight.shape[0], dtype=torch.float64)
    for index, band in enumerate(expected):
        filters = weight[:, index].double() / band.divisor
        own = list(positions.get(band.name, ()))
        for position in own:
            adapted[:, position] = (filters * gain[position] / len(own)).to(weight.dtype)
        stored = float(offset[own].mean()) if own else band.mean
        added += filters.sum(dim=(1, 2)) * (stored - band.subtracted)
    return adapted, added.to(weight.dtype)


def _names(bands: Sequence[ExpectedBand]) -> str:
    return ", ".join(band.name for band in bands)


def _notes(weights: EOWeights, positions: Mapping[str, Sequence[int]], seen: NetworkInput) -> tuple[str, ...]:
    missing = [band for band in weights.bands if band.name not in positions]
    known = {band.name for band in weights.bands}
    others = [sensor for sensor in sensor_names(seen.channels) if sensor != weights.sensor]
    others += [f"{weights.sensor}'s {band}" for band in positions if band not in known]
    notes = []
    if missing:
        notes.append(
            f"{weights.name} expects {len(weights.bands)} bands of {weights.sensor}; the data lack "
            f"{_names(missing)}. A missing band counts as its mean over SSL4EO-S12."
        )
    if others:
        notes.append(
            f"{weights.name} does not know {', '.join(others)}: their filters begin at zero and learn."
        )
    return tuple(notes)


def match_filters(weight: Tensor, known: Sequence[Channel], wanted: Sequence[Channel]) -> Tensor:
    """Make filters for some channels from filters for others, by sensor and band.

    Where both have a band on as many dates, its filters are copied date by date. Otherwise each channel of
    the band gets an equal part of their sum, so that the same picture on all dates gives the same response.
    A band that the filters do not know starts at 0.

    Args:
        weight: Filters (out, c, height, width) for the c ``known`` channels.
        known: Channels of the network that was trained.
        wanted: The d channels of the network that starts.

    Returns:
        Filters (out, d, height, width).
    """
    matched = weight.new_zeros((weight.shape[0], len(wanted), *weight.shape[2:]))
    for band in dict.fromkeys(map(_band, wanted)):
        sources, targets = _positions(known, band), _positions(wanted, band)
        if len(sources) == len(targets):
            matched[:, targets] = weight[:, sources]
        elif sources:
            matched[:, targets] = weight[:, sources].sum(dim=1, keepdim=True) / len(targets)
    return matched


def _band(channel: Channel) -> tuple[str, str]:
    return channel.sensor.name, channel.band


def _positions(channels: Sequence[Channel], band: tuple[str, str]) -> list[int]:
    """Return where the channels of a band are, by their places."""
    held = [position for position, channel in enumerate(channels) if _band(channel) == band]
    return sorted(held, key=lambda position: channels[position].place or 0)
