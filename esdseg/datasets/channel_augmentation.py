"""Random changes to whole channels of training batches: other gains, missing dates and sensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esdseg.config.training import AugmentationConfig
from esdseg.sensors.channels import Channel

Positions = tuple[int, ...]


@dataclass(frozen=True)
class SensorChannels:
    """Which channels of an image are missing together.

    Attributes:
        channels: Positions of a sensor's channels.
        dates: Those of each of its dates; projections over dates are in none.
    """

    channels: Positions
    dates: tuple[Positions, ...]


def sensors_of(channels: Sequence[Channel]) -> tuple[SensorChannels, ...]:
    """Group an image's channels by sensor, and by date within it."""
    sensors: dict[str, list[int]] = {}
    dates: dict[str, dict[object, list[int]]] = {}
    for position, channel in enumerate(channels):
        sensors.setdefault(channel.sensor, []).append(position)
        of_sensor = dates.setdefault(channel.sensor, {})
        if channel.acquired is not None:
            of_sensor.setdefault(channel.acquired, []).append(position)
    return tuple(
        SensorChannels(tuple(positions), tuple(map(tuple, dates[sensor].values())))
        for sensor, positions in sensors.items()
    )


def jitter_bands(
    pixels: Sequence[Tensor],
    channels: Sequence[Positions],
    shift: Tensor,
    scale: Tensor,
    config: AugmentationConfig,
    generator: torch.Generator,
) -> None:
    """Give every channel of every sample a gain and an offset of its own, in place.

    They are measured in scaled values, ``(x - shift) * scale``, but put on the stored ones, so that no data
    stays no data and what is beyond a channel's limits is cut off as ever.

    Args:
        pixels: Stored images of the same samples, of one or several resolutions, each (N, c, H, W).
        channels: For each of them, the positions of its channels in the image.
        shift: What the normalisation takes off each of the C channels (C, 1, 1).
        scale: What it multiplies them by (C, 1, 1); 0 for a channel without spread, which stays as it is.
        config: Strengths.
        generator: On the CPU.
    """
    if not config.band_gain_std and not config.band_offset_std:
        return
    drawn = torch.randn((2, pixels[0].shape[0], *scale.shape), generator=generator).to(scale.device)
    gain = 1 + config.band_gain_std * drawn[0]
    offset = torch.where(scale > 0, config.band_offset_std * drawn[1] / scale, 0.0)
    offset += shift * (1 - gain)
    for grid, positions in zip(pixels, channels, strict=True):
        own = list(positions)
        grid.mul_(gain[:, own].to(grid.dtype)).add_(offset[:, own].to(grid.dtype))


def draw_missing(
    sensors: Sequence[SensorChannels], count: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Draw which channels of each sample have no data.

    Args:
        sensors: The channels, by sensor and date.
        count: Samples N.
        config: Probabilities.
        generator: On the CPU.

    Returns:
        Whether a channel is missing (N, C), on the CPU; ``None`` where no channel of any sample is.
    """
    if not config.date_dropout and not config.sensor_dropout:
        return None
    missing = torch.zeros((count, sum(len(sensor.channels) for sensor in sensors)), dtype=torch.bool)
    if config.date_dropout:
        for sensor in sensors:
            _mark(missing, sensor.dates, config.date_dropout, generator)
    if config.sensor_dropout:
        _mark(missing, [sensor.channels for sensor in sensors], config.sensor_dropout, generator)
    return missing if missing.any() else None


def drop_channels(
    pixels: Sequence[Tensor], channels: Sequence[Positions], missing: Tensor, fill: Tensor
) -> None:
    """Let channels have no data, in place.

    Args:
        pixels: Normalised images of the same samples, of one or several resolutions, each (N, c, H, W).
        channels: For each of them, the positions of its channels in the image.
        missing: Whether a channel of a sample is missing (N, C), on the CPU.
        fill: What no data becomes in the normalisation (C, 1, 1).
    """
    for grid, positions in zip(pixels, channels, strict=True):
        own = list(positions)
        samples, places = missing[:, own].to(grid.device).nonzero(as_tuple=True)
        grid[samples, places] = fill[own][places].to(grid.dtype)


def _mark(
    missing: Tensor, groups: Sequence[Positions], probability: float, generator: torch.Generator
) -> None:
    """Mark groups of channels as missing, each by itself, but in no sample all of them."""
    if len(groups) < 2:
        return
    draws = torch.rand((len(missing), len(groups)), generator=generator)
    dropped = draws < probability
    # Where all would be gone, each is as likely to have the highest draw.
    rescued = draws.argmax(dim=1, keepdim=True)
    dropped.scatter_(1, rescued, dropped.gather(1, rescued) & ~dropped.all(dim=1, keepdim=True))
    for group, gone in zip(groups, dropped.T, strict=True):
        missing[:, list(group)] |= gone[:, None]
