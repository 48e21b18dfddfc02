"""Predicting tiles with and without groups of channels, each tile read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from esdseg.ablation.night_projections import night_channels, project
from esdseg.ablation.prepared_tile import prepare_tile
from esdseg.ablation.removals import NO_EFFECT, Effect, Removal
from esdseg.metrics.confusion import FloatArray
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import Device, Passes, place_model, read_ahead
from esdseg.sensors.channels import Channel
from esdseg.store.store import Store


@dataclass(frozen=True)
class TileVariants:
    """What a network says of one tile, with all channels and without some.

    Attributes:
        whole: With all channels.
        reduced: After each removal.
        seconds: Time of the network's pass, with all channels first, shape (1 + removals,).
    """

    whole: TilePrediction
    reduced: tuple[TilePrediction, ...]
    seconds: FloatArray


def predict_variants(
    checkpoint: LoadedCheckpoint,
    store: Store,
    tiles: Sequence[str],
    removals: Sequence[Removal],
    device: Device,
    batch_size: int | None,
    passes: Passes,
) -> Iterator[TileVariants]:
    """Predict tiles one after the other, each as it is and after each removal.

    One tile and its copy are held at a time, whatever the number of removals. Removals of equal effect are
    predicted once.

    Args:
        checkpoint: What predicts; its model is moved to the device.
        store: A store that holds its channels, and the nights that projections are computed from anew.
        tiles: Names of the tiles.
        removals: What is taken away.
        device: Where to compute.
        batch_size: Windows of a tile predicted at once; by default as many as make a tile.
        passes: Turns and flips, and the overlap of the windows.

    Raises:
        InputDataError: A tile cannot be read, or the network gives numbers that are not finite.
    """
    place_model(checkpoint, device)
    effects = tuple(dict.fromkeys((NO_EFFECT, *(removal.effect for removal in removals))))
    read = _channels_to_read(checkpoint.channels, effects)
    positions = [store.channels.index(channel) for channel in read]
    for tile, image in read_ahead(store, tiles, positions):
        truth = store.labels(tile)
        prepared = prepare_tile(checkpoint, image[: len(checkpoint.channels)], device, batch_size, passes)
        timed: dict[Effect, tuple[TilePrediction, float]] = {}
        for effect in effects:
            replaced = _projected(effect, checkpoint.channels, read, image)
            absent = [checkpoint.channels.index(channel) for channel in effect.absent]
            begun = perf_counter()
            plain, tempered = (one.numpy() for one in prepared.predict(absent, replaced))
            seconds = perf_counter() - begun
            timed[effect] = TilePrediction(tile, truth, tempered, plain, (str(checkpoint.path),)), seconds
        whole, reduced = timed[NO_EFFECT], [timed[removal.effect] for removal in removals]
        yield TileVariants(
            whole[0], tuple(one for one, _ in reduced), np.array([cost for _, cost in (whole, *reduced)])
        )


def _channels_to_read(channels: Sequence[Channel], effects: Sequence[Effect]) -> tuple[Channel, ...]:
    """Return the network's channels, then those nights that it does not see but a projection looks at."""
    nights = {night for effect in effects for night in effect.nights or ()}
    return (*channels, *(night for night in night_channels(sorted(nights)) if night not in channels))


def _projected(
    effect: Effect, channels: Sequence[Channel], read: Sequence[Channel], image: Tensor
) -> dict[int, Tensor]:
    """Compute the projections that an effect changes, by their positions among the network's channels."""
    if effect.nights is None:
        return {}
    nights = image[[read.index(night) for night in night_channels(effect.nights)]].numpy()
    return {
        position: torch.from_numpy(project(nights, channel.band))
        for position, channel in enumerate(channels)
        if channel.acquired is None
    }
