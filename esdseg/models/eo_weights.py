"""First layers that were trained on satellite images, turned to the channels and the scale of a network."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from esdseg.config.eo_weights import EOWeights, ExpectedBand
from esdseg.errors import ConfigError
from esdseg.models.normalization import NetworkInput
from esdseg.sensors.channels import bands_of, sensor_names


def turn_encoder(
    state: Mapping[str, Tensor], first_layer: str, weights: EOWeights, seen: NetworkInput
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Turn an encoder's tensors to the channels and the scale of a network.

    Args:
        state: The encoder's tensors by name, with filters for the bands that ``weights`` expects.
        first_layer: Name of the filters that see the image: a convolution with a bias, or a ResNet's
            ``conv1.weight`` with batch normalisation behind it.
        weights: Whose tensors they are.
        seen: What the network sees.

    Returns:
        The tensors, and sentences for the user on bands and sensors that do not meet.

    Raises:
        ConfigError: The data hold no band that the weights know, or in other units.
    """
    seen.check_units(weights.name, weights.sensor, weights.conversion)
    positions = seen.positions_by_band(weights.sensor)
    if not any(band.name in positions for band in weights.bands):
        held = bands_of(seen.channels).get(weights.sensor)
        found = f"the bands {', '.join(held)}" if held else f"only {', '.join(sensor_names(seen.channels))}"
        raise ConfigError(
            f"{weights.name} reads the bands {_names(weights.bands)} of {weights.sensor}; the data have "
            f"{found}. Select such bands with --set data.bands, or use --set model.weights=none."
        )
    turned = dict(state)
    turned[first_layer], added = turn_first_layer(state[first_layer], weights.bands, positions, seen)
    bias = f"{first_layer.removesuffix('weight')}bias"
    if bias in turned:
        turned[bias] = turned[bias] + added
    else:
        mean = first_layer.replace("conv1.weight", "bn1.running_mean")
        turned[mean] = turned[mean] - added
    return turned, _notes(weights, positions, seen)


def turn_first_layer(
    weight: Tensor,
    expected: Sequence[ExpectedBand],
    positions: Mapping[str, Sequence[int]],
    seen: NetworkInput,
) -> tuple[Tensor, Tensor]:
    """Turn filters for certain bands in certain units into filters for normalised channels.

    The filter of a band goes to its channels on all dates in equal parts: the network begins with the mean
    image. A band without channels counts as its mean over SSL4EO-S12. Other channels get zeros.

    Args:
        weight: Filters (out, bands, height, width).
        expected: The bands, in the order of the filters.
        positions: The positions of each band's channels.
        seen: What the network sees.

    Returns:
        Filters (out, C, height, width), and what is to be added to their outputs (out,). With both, an
        image gives the outputs that the original filters give of its mean over dates in their units.
    """
    gain, offset = seen.stored_scale()
    turned = weight.new_zeros((weight.shape[0], len(gain), *weight.shape[2:]))
    added = torch.zeros(weight.shape[0], dtype=torch.float64)
    for index, band in enumerate(expected):
        filters = weight[:, index].double() / band.divisor
        own = list(positions.get(band.name, ()))
        for position in own:
            turned[:, position] = (filters * gain[position] / len(own)).to(weight.dtype)
        stored = float(offset[own].mean()) if own else band.mean
        added += filters.sum(dim=(1, 2)) * (stored - band.subtracted)
    return turned, added.to(weight.dtype)


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
