"""Channels, statistics and models that the tests of this folder share."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from esdseg.config.preprocessing import COURSE_RECIPE, Recipe
from esdseg.config.training import ESDConfig
from esdseg.models.checkpoint import CheckpointMetadata, SegmentationModel
from esdseg.models.normalization import NetworkInput, Normalization
from esdseg.sensors.channels import Channel, describe_acquisitions
from esdseg.store.statistics import ChannelStatistics, count_codes
from tests.contest import CONTEST, channel_table

NEEDS_OLMOEARTH = pytest.mark.skipif(
    find_spec("olmoearth_pretrain_minimal") is None, reason="the extra eo is not installed"
)


def some_channels(count: int) -> tuple[Channel, ...]:
    """Sentinel-2 and then Landsat bands of one date each."""
    channels = channel_table({"sentinel2": 1, "landsat8": 1})
    return channels[:count]


def statistics_of(values: npt.NDArray[np.float16]) -> ChannelStatistics:
    """Exact statistics of channels (C, ...)."""
    return ChannelStatistics(np.stack([count_codes(channel) for channel in values]))


def normalization_for(
    values: npt.NDArray[np.float16], channels: Sequence[Channel], recipe: Recipe | None = None
) -> Normalization:
    """The layer that the values (C, ...) of all training tiles lead to."""
    return Normalization.from_statistics(statistics_of(values), channels, recipe or Recipe())


def unscaled(channels: Sequence[Channel]) -> NetworkInput:
    """What a network sees of a store whose channels have mean 0 and standard deviation 1."""
    return NetworkInput(tuple(channels), Normalization(len(channels)), Recipe())


def checkpoint_content(
    model: SegmentationModel, config: ESDConfig, channels: Sequence[Channel], subtile_size: int
) -> dict[str, Any]:
    """A checkpoint as the training loop writes it: the model is one of the module's parts."""
    metadata = CheckpointMetadata(
        config=config,
        sensors=CONTEST,
        acquisitions=describe_acquisitions(channels),
        channels=tuple(channel.name for channel in channels),
        subtile_size=subtile_size,
        recipe=COURSE_RECIPE,
        manifest_hash="0" * 64,
        run_name="unet-test",
        train_tiles=("Tile1", "Tile2"),
        val_tiles=("Tile3",),
    )
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    return {
        "epoch": 3,
        "state_dict": {**state, "class_weights": torch.ones(4)},
        "optimizer_states": [{"state": {0: torch.zeros(2)}}],
        "esdseg": metadata.model_dump(mode="json"),
    }


def random_image(batch: int, channels: int, subtile_size: int, seed: int = 0) -> Tensor:
    """Normalised images (N, C, 50k, 50k)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, 50 * subtile_size, 50 * subtile_size, generator=generator)
