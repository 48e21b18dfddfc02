"""Channels, statistics and models that the tests of this folder share."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.channels import Channel, channel_table
from esdseg.config.preprocessing import Recipe
from esdseg.models import Normalization
from esdseg.sensors import SENSORS
from esdseg.store import ChannelStatistics
from esdseg.store.statistics import count_codes

FULL_TABLE = channel_table({sensor.name: sensor.dates for sensor in SENSORS})
"""All 100 channels of a full tile."""


def some_channels(count: int) -> tuple[Channel, ...]:
    """Sentinel-2 and then Landsat bands of one date each."""
    channels = channel_table({"sentinel2": (date(2020, 8, 16),), "landsat8": (date(2020, 8, 14),)})
    return channels[:count]


def statistics_of(values: npt.NDArray[np.float16]) -> ChannelStatistics:
    """Exact statistics of channels (C, ...)."""
    return ChannelStatistics(np.stack([count_codes(channel) for channel in values]))


def normalization_for(
    values: npt.NDArray[np.float16], channels: Sequence[Channel], recipe: Recipe | None = None
) -> Normalization:
    """The layer that the values (C, ...) of all training tiles lead to."""
    return Normalization.from_statistics(statistics_of(values), channels, recipe or Recipe())


def random_image(batch: int, channels: int, subtile_size: int, seed: int = 0) -> Tensor:
    """Normalised images (N, C, 50k, 50k)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, 50 * subtile_size, 50 * subtile_size, generator=generator)
