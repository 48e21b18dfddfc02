"""Small checkpoints of chosen networks, in the format that training writes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from esdseg.config.models import AnyModelConfig, SegmentationCNNConfig
from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.models.checkpoint import METADATA_KEY, MODEL_PREFIX, CheckpointMetadata, SegmentationModel
from esdseg.models.course_networks import SegmentationCNN
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel, describe_acquisitions
from esdseg.store.statistics import ChannelStatistics
from esdseg.store.store import Store
from tests.contest import CONTEST

SHARPNESS = 20.0
"""Factor on the logits of hand-made networks: their classes are all but sure."""

LIFT = 12.0
"""Keeps normalised values, which are at least -10, above the bend of a ReLU."""


def write_network(
    path: Path,
    store: Store,
    model: AnyModelConfig,
    channels: Sequence[Channel],
    set_weights: Callable[[nn.Module, Normalization], None] | None = None,
) -> Path:
    """Write a checkpoint of a network with random weights, scaled by the store's training tiles.

    Args:
        path: The file.
        store: What it claims to be trained on.
        model: The network.
        channels: What it takes.
        set_weights: Gives the network other weights than random ones.
    """
    tiles = store.tile_names("train")
    metadata = CheckpointMetadata(
        config=ESDConfig(model=model, trainer=TrainerConfig(monitor="val_f1_macro")),
        sensors=CONTEST,
        acquisitions=describe_acquisitions(channels),
        channels=tuple(channel.name for channel in channels),
        subtile_size=store.subtile_size,
        window_size=model.default_window_size or store.subtile_size,
        recipe=store.manifest.config.recipe,
        manifest_hash=store.manifest_hash,
        run_name=path.parent.name,
        train_tiles=tiles,
        val_tiles=store.tile_names("val"),
    )
    torch.manual_seed(0)
    network = build_network(model, channels, metadata.window_size or store.subtile_size)
    # A channel that the store lacks is scaled as any other one.
    positions = [store.channels.index(channel) if channel in store.channels else 0 for channel in channels]
    statistics = ChannelStatistics(store.channel_statistics(tiles).code_counts[positions])
    normalization = Normalization.from_statistics(statistics, channels, metadata.recipe)
    if set_weights is not None:
        with torch.no_grad():
            set_weights(network, normalization)
    whole = SegmentationModel(normalization, network)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "state_dict": {f"{MODEL_PREFIX}{name}": value for name, value in whole.state_dict().items()},
            METADATA_KEY: metadata.model_dump(mode="json"),
        },
        path,
    )
    return path


def write_one_channel_network(path: Path, store: Store, channel: Channel) -> Path:
    """Write a convolutional network that sees one of the store's channels alone, and is right.

    The store's pixels are ``label * (position + 1)`` and noise; the largest of the linear scores
    ``k level - k^2 / 2`` is that of the label nearest to the level.
    """
    position = store.channels.index(channel)

    def set_weights(network: nn.Module, normalization: Normalization) -> None:
        assert isinstance(network, SegmentationCNN)
        convolution = next(one for one in network.features.modules() if isinstance(one, nn.Conv2d))
        norm = next(one for one in network.features.modules() if isinstance(one, nn.BatchNorm2d))
        assert network.head.bias is not None
        convolution.weight.zero_()
        convolution.weight[0, position, 1, 1] = 1
        norm.bias.fill_(LIFT)
        scale, shift = normalization.scale[position].item(), normalization.shift[position].item()
        label = torch.arange(4, dtype=torch.float32)
        slope = label / (scale * (position + 1))
        network.head.weight[:, 0, 0, 0] = SHARPNESS * slope
        level_at_zero = (shift - LIFT / scale) / (position + 1)
        network.head.bias[:] = SHARPNESS * (label * level_at_zero - label**2 / 2)

    model = SegmentationCNNConfig(depth=1, embedding_size=1, pool_sizes=(50,))
    return write_network(path, store, model, store.channels, set_weights)
