"""Small checkpoints for tests, in the format that training writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from esdseg.config.models import ModelConfig, UNetConfig
from esdseg.config.preprocessing import Recipe
from esdseg.config.training import ESDConfig, FoldsConfig, TrainerConfig
from esdseg.models.checkpoint import CheckpointMetadata, SegmentationModel, network_content
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network
from esdseg.sensors.channels import Channel, describe_acquisitions, select_channels
from esdseg.store.identity import place_of
from esdseg.store.store import Store
from tests.contest import CONTEST

SELECTED_BANDS: Mapping[str, tuple[str, ...]] = {
    "viirs": ("DNB_max",),
    "sentinel1": ("VV",),
    "sentinel2": ("B02", "B03", "B04", "B08"),
}


def write_checkpoint(
    path: Path,
    store: Store,
    *,
    run_name: str = "tiny-unet",
    channels: Sequence[Channel] | None = None,
    recipe: Recipe | None = None,
    train_tiles: tuple[str, ...] | None = None,
    val_tiles: tuple[str, ...] | None = None,
    held_out_tiles: tuple[str, ...] = (),
    fold: str | None = None,
    seed: int = 0,
    weight_scale: float = 1.0,
    knows_contents: bool = True,
    network: ModelConfig | None = None,
    window_size: int | None = None,
    temperature: float = 1.0,
    monitor: str | None = "val_f1_macro",
) -> Path:
    """Write a checkpoint of an untrained network that takes some of the store's channels.

    Args:
        path: The file to write.
        store: Where its normalisation comes from.
        run_name: The run that it claims to be of.
        channels: What it takes; some of the store's unless given.
        recipe: What it claims to be trained on; the store's unless given.
        train_tiles: What it claims to be trained on; the store's training tiles unless given.
        val_tiles: What it claims to be chosen on; the store's validation tiles unless given.
        held_out_tiles: What it claims not to have seen.
        fold: The fold that it claims to be of.
        seed: Of its weights.
        weight_scale: Factor on all weights; NaN makes a network that has diverged.
        knows_contents: Whether it says what its tiles hold, by which they are known.
        network: Its settings; those of a narrow UNet unless given.
        window_size: Label cells along each side of its windows; the store's subtiles unless given.
        temperature: What its logits are divided by.
        monitor: The metric that it claims to be chosen by, early stopping too.
    """
    taken = tuple(channels or select_channels(store.channels, SELECTED_BANDS, None))
    tiles = store.tile_names("train") if train_tiles is None else train_tiles
    entries = store.manifest.tiles if knows_contents else {}
    metadata = CheckpointMetadata(
        config=ESDConfig(
            model=network or UNetConfig(n_encoders=1, embedding_size=4, input_stride=5),
            folds=FoldsConfig(fold=fold),
            trainer=TrainerConfig(monitor=monitor, patience=None if monitor is None else 15),
        ),
        sensors=CONTEST,
        acquisitions=describe_acquisitions(taken),
        channels=tuple(channel.name for channel in taken),
        subtile_size=store.subtile_size,
        window_size=window_size,
        temperature=temperature,
        is_calibrated=temperature != 1,
        recipe=recipe or store.manifest.config.recipe,
        manifest_hash=store.manifest_hash,
        run_name=run_name,
        train_tiles=tiles,
        val_tiles=store.tile_names("val") if val_tiles is None else val_tiles,
        held_out_tiles=held_out_tiles,
        tile_contents={tile: entry.content for tile, entry in entries.items()},
        tile_places={tile: place_of(entry) for tile, entry in entries.items()},
    )
    torch.manual_seed(seed)
    model = SegmentationModel(
        _normalization(store, taken),
        build_network(metadata.config.model, taken, metadata.trained_window_size),
    )
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(weight_scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network_content(model, metadata), path)
    return path


def _normalization(store: Store, channels: Sequence[Channel]) -> Normalization:
    held = {channel: position for position, channel in enumerate(store.channels)}
    if not all(channel in held for channel in channels):
        return Normalization(len(channels))
    statistics = store.channel_statistics(tuple(store.manifest.tiles))
    positions = [held[channel] for channel in channels]
    layer = Normalization(len(channels))
    layer.shift.copy_(torch.from_numpy(statistics.mean[positions])[:, None, None])
    layer.scale.copy_(torch.from_numpy(1 / statistics.std[positions])[:, None, None])
    return layer
