"""What can be taken away from a network's images, and predicting tiles without it.

A sensor, all sensors but one, a place of a sensor, or a band at all places is taken away. Its channels become
no data, which networks see as the mean of the training tiles; those that summarise dates see the other dates.
A place is a tile's first, second or further acquisition in the network's order; which date fills it differs
between tiles.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.baselines.cell_features import describe_cells
from esdseg.baselines.checkpoint import BaselineCheckpoint
from esdseg.config.evaluation import Level
from esdseg.config.preprocessing import Recipe
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.metrics.scores import FloatArray
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint
from esdseg.prediction.channel_share import leave_out_unseen, measure_channel_share
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import (
    Corners,
    Device,
    Passes,
    WindowMeans,
    cut_windows,
    normalized_windows,
    place_model,
    read_ahead,
)
from esdseg.preprocessing.conversions import project_median, to_log_radiance
from esdseg.sensors.channels import Channel, places_of, sensor_names
from esdseg.store.statistics import HalfArray
from esdseg.store.store import Store

RemovalKind = Literal["sensor", "alone", "place", "band"]
"""A level, or ``alone`` where all sensors but one are taken away."""

Probabilities = tuple[Tensor, Tensor]
"""Class probabilities (4, 16, 16), float32, without and with the checkpoint's temperature."""


@dataclass(frozen=True)
class Effect:
    """What a removal changes in an image; removals of equal effect give equal predictions.

    Attributes:
        absent: The channels that become no data.
        without_night: The place of the night that projections over nights are computed anew without; ``None``
            where the projections stay as they are stored.
    """

    absent: frozenset[Channel] = frozenset()
    without_night: int | None = None


NO_EFFECT = Effect()


@dataclass(frozen=True)
class Removal:
    """A group of channels that is taken away together.

    Attributes:
        kind: What makes the group.
        sensor: The sensor that the group belongs to; with ``alone`` the one that stays.
        place: The place of a ``place``, counted from 1.
        band: The band of a ``band``.
        effect: What the removal changes in an image.
    """

    kind: RemovalKind
    sensor: str
    place: int | None
    band: str | None
    effect: Effect

    @property
    def label(self) -> str:
        """Its name: ``sentinel2``, ``sentinel2 alone``, ``sentinel2 B04`` or ``viirs 2``."""
        parts = (self.sensor, self.place, self.band, "alone" if self.kind == "alone" else None)
        return " ".join(str(part) for part in parts if part)


def list_removals(
    channels: Sequence[Channel],
    levels: Sequence[Level],
    sensors: Sequence[str],
    stored_nights: int | None,
) -> tuple[Removal, ...]:
    """List every group of channels that can be taken away and leaves at least one.

    Args:
        channels: The channels of a network's images.
        levels: What to take away; ``sensor`` also gives each sensor alone.
        sensors: From which sensors.
        stored_nights: How many nights projections over nights can be computed anew from; ``None`` where they
            cannot, so that they stay as they are.

    Returns:
        Sensors, sensors alone, places and bands; within each in the order of the sensors' channels.
    """
    by_sensor = {
        sensor: [channel for channel in channels if channel.sensor.name == sensor]
        for sensor in sensor_names(channels)
        if sensor in sensors
    }
    everything = frozenset(channels)
    removals: list[Removal] = []
    if "sensor" in levels:
        for sensor, own in by_sensor.items():
            removals.append(Removal("sensor", sensor, None, None, Effect(frozenset(own))))
        for sensor, own in by_sensor.items():
            removals.append(Removal("alone", sensor, None, None, Effect(everything - frozenset(own))))
    if "place" in levels:
        for sensor, own in by_sensor.items():
            removals += _list_places(sensor, own, stored_nights)
    if "band" in levels:
        for sensor, own in by_sensor.items():
            for band in dict.fromkeys(channel.band for channel in own):
                absent = frozenset(channel for channel in own if channel.band == band)
                removals.append(Removal("band", sensor, None, band, Effect(absent)))
    return tuple(
        removal for removal in removals if removal.effect != NO_EFFECT and removal.effect.absent != everything
    )


def _list_places(sensor: str, channels: Sequence[Channel], stored_nights: int | None) -> list[Removal]:
    projections = frozenset(channel for channel in channels if channel.place is None)
    count = places_of(channels)[sensor]
    is_recomputed = bool(projections) and stored_nights is not None
    if is_recomputed:
        count = max(count, stored_nights or 0)
    removals = []
    for place in range(1, count + 1):
        absent = frozenset(channel for channel in channels if channel.place == place)
        without_night = place if is_recomputed else None
        if without_night is not None and count == 1:
            # Without its only night a projection has nothing to look at.
            absent, without_night = absent | projections, None
        removals.append(Removal("place", sensor, place, None, Effect(absent, without_night)))
    return removals


def recomputable_nights(store: Store) -> int | None:
    """Return how many nights a tile has at most that the store's projections over nights are computed from.

    Returns:
        ``None`` where the projections cannot be computed anew: the store lacks single nights, or its recipe
        changed the nights after they were projected, by smoothing them or by scaling each tile.
    """
    nights = [channel for channel in store.channels if channel.sensor.kind == "night_light" and channel.place]
    names = {channel.sensor.name for channel in store.channels if channel.sensor.kind == "night_light"}
    if not nights or not _keeps_nights(store.manifest.config.recipe, names):
        return None
    return max(channel.place or 0 for channel in nights)


def _keeps_nights(recipe: Recipe, sensors: Collection[str]) -> bool:
    is_smoothed = any(recipe.steps(sensor).smoothing_sigma_px for sensor in sensors)
    return recipe.scale_by == "training_tiles" and not is_smoothed


def project(nights: HalfArray, band: str) -> HalfArray:
    """Compute a projection as preprocessing would have with these nights alone.

    Logarithm and rounding keep the order of numbers, so the maximum is exact. The median of an even count
    lies between two whole numbers. It is exact up to 255, and off by one step of half precision above.

    Args:
        nights: Stored nights (nights, ...), ``log(1 + number)``; NaN is no data.
        band: The projection's name, such as ``DNB_max`` or ``DNB_median``.

    Returns:
        The projection (...) in half precision.
    """
    if band.endswith("_max"):
        return np.fmax.reduce(nights, axis=0)
    numbers = np.rint(np.expm1(nights.astype(np.float32)))
    return to_log_radiance(project_median(numbers)).astype(np.float16)


@dataclass(frozen=True)
class TileVariants:
    """A network's predictions of one tile, with all channels and without some.

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

    Each tile is read and normalised once. Removals of equal effect are predicted once. Cells that have too
    few of the network's channels before anything is taken away are no data, as in an evaluation.

    Args:
        checkpoint: The network; its model is moved to the device.
        store: Holds the network's channels, and the nights that projections are computed anew from.
        tiles: Names of the tiles.
        removals: What is taken away.
        device: Where to compute.
        batch_size: Windows of a tile predicted at once; by default as many as make a tile.
        passes: Turns and flips, and the overlap of the windows.

    Raises:
        InputDataError: A tile cannot be read, or the network gives numbers that are not finite.
    """
    place_model(checkpoint, device)
    channels = checkpoint.channels
    effects = tuple(dict.fromkeys((NO_EFFECT, *(removal.effect for removal in removals))))
    is_recomputed = any(effect.without_night is not None for effect in effects)
    nights = _night_channels(channels, recomputable_nights(store) or 0) if is_recomputed else ()
    # After the network's channels the nights that it does not see but a projection looks at.
    read = (*channels, *(night for night in nights if night not in channels))
    for tile, image in read_ahead(store, tiles, read):
        own = image[: len(channels)]
        share = measure_channel_share(own.numpy(force=True))
        prepared: PixelTile | CellTile
        if isinstance(checkpoint, BaselineCheckpoint):
            prepared = CellTile(checkpoint, own)
        else:
            assert isinstance(checkpoint, NetworkCheckpoint)
            prepared = PixelTile(checkpoint, own, device, batch_size, passes)
        timed: dict[Effect, tuple[TilePrediction, float]] = {}
        for effect in effects:
            absent = [channels.index(channel) for channel in effect.absent]
            projected = _projected(effect, channels, nights, read, image)
            begun = perf_counter()
            predicted = prepared.predict(absent, projected)
            seconds = perf_counter() - begun
            plain, tempered = (leave_out_unseen(values.numpy(), share) for values in predicted)
            prediction = TilePrediction(tile, store.labels(tile), tempered, plain, (str(checkpoint.path),))
            timed[effect] = prediction, seconds
        variants = [timed[NO_EFFECT], *(timed[removal.effect] for removal in removals)]
        predictions = tuple(prediction for prediction, _ in variants)
        yield TileVariants(predictions[0], predictions[1:], np.array([seconds for _, seconds in variants]))


def _night_channels(channels: Sequence[Channel], nights: int) -> tuple[Channel, ...]:
    """Return the single nights of the sensor whose projections are among some channels."""
    projection = next(channel for channel in channels if channel.place is None)
    sensor = projection.sensor
    return tuple(
        Channel(sensor, sensor.band_names[0], place, projection.order) for place in range(1, nights + 1)
    )


def _projected(
    effect: Effect,
    channels: Sequence[Channel],
    nights: Sequence[Channel],
    read: Sequence[Channel],
    image: Tensor,
) -> dict[int, Tensor]:
    """Compute the projections that an effect changes, by their positions among the network's channels."""
    if effect.without_night is None:
        return {}
    kept = [read.index(night) for night in nights if night.place != effect.without_night]
    return {
        position: torch.from_numpy(project(image[kept].numpy(), channel.band))
        for position, channel in enumerate(channels)
        if channel.place is None
    }


class PixelTile:
    """A tile as normalised pixels, from which channels are taken away again and again.

    Normalisation is done a pixel at a time, so a normalised channel without data is the same number
    everywhere. A summary over dates is made anew from the dates that are left.

    Args:
        checkpoint: The network; its model lies on the device.
        image: The tile (C, 800, 800) as the store holds it, in the order of the checkpoint's channels.
        device: Where to compute.
        batch_size: Windows predicted at once; by default as many as make a tile.
        passes: Turns and flips, and the overlap of the windows.
    """

    @torch.inference_mode()
    def __init__(
        self,
        checkpoint: NetworkCheckpoint,
        image: Tensor,
        device: Device,
        batch_size: int | None,
        passes: Passes,
    ) -> None:
        self._checkpoint, self._device, self._passes = checkpoint, device, passes
        self._image, self._grids = image, checkpoint.model.grids
        corners = passes.tile_corners(checkpoint.window_size)
        self._batches = tuple(normalized_windows(checkpoint, image, corners, device, batch_size))
        self._no_data = tuple(
            checkpoint.model.normalization(
                torch.full((1, len(grid.channels), 1, 1), torch.nan, device=device.torch_device),
                grid.channels,
            )
            for grid in self._grids
        )

    @torch.inference_mode()
    def predict(self, absent: Sequence[int], replaced: Mapping[int, Tensor]) -> Probabilities:
        """Predict the tile with some channels changed.

        Args:
            absent: Positions of the channels that have no data.
            replaced: Other stored pixels (800, 800) of a channel, by its position.
        """
        means = WindowMeans(self._checkpoint, self._device, self._passes)
        changed = set(absent) | replaced.keys()
        for corners, windows in self._batches:
            cut = {
                position: cut_windows(stored[None], corners, self._checkpoint.window_size)
                for position, stored in replaced.items()
            }
            pixels = tuple(
                batch
                if changed.isdisjoint(grid.sources)
                else self._summarised_without(grid, corners, absent)
                if grid.dates
                else self._changed(grid, batch, no_data, absent, cut)
                for grid, batch, no_data in zip(self._grids, windows, self._no_data, strict=True)
            )
            means.add(pixels, corners)
        return means.result()

    def _summarised_without(self, grid: PixelGrid, corners: Corners, absent: Sequence[int]) -> Tensor:
        """Return windows (N, c, pk, pk) of a grid whose dates are summarised anew without some channels."""
        image = self._image[list(grid.sources)].to(self._device.torch_device)
        image[[position in absent for position in grid.sources]] = torch.nan
        windows = cut_windows(image, corners, self._checkpoint.window_size)
        pixels = grid.among(grid.sources).sample(windows).contiguous(memory_format=torch.channels_last)
        return self._checkpoint.model.normalization(pixels, grid.channels)

    def _changed(
        self,
        grid: PixelGrid,
        windows: Tensor,
        no_data: Tensor,
        absent: Sequence[int],
        replaced: Mapping[int, Tensor],
    ) -> Tensor:
        """Return a copy of windows (N, c, pk, pk) of one grid with some of its channels changed."""
        pixels = windows.clone()
        gone = [place for place, position in enumerate(grid.channels) if position in absent]
        pixels[:, gone] = no_data[:, gone]
        for place, position in enumerate(grid.channels):
            if position in replaced:
                stored = replaced[position].to(pixels.device)
                sampled = PixelGrid((0,), grid.pixels_per_cell).sample(stored)
                pixels[:, [place]] = self._checkpoint.model.normalization(sampled, (position,))
        return pixels


class CellTile:
    """A tile as statistics of its cells, from which channels are taken away again and again.

    Each statistic is of one channel. See :class:`PixelTile`.
    """

    def __init__(self, checkpoint: BaselineCheckpoint, image: Tensor) -> None:
        self._checkpoint = checkpoint
        self._features = _statistics(image)

    def predict(self, absent: Sequence[int], replaced: Mapping[int, Tensor]) -> Probabilities:
        """Predict the tile with some channels changed; see :meth:`PixelTile.predict`."""
        features = self._features.copy()
        features[..., list(absent)] = np.nan
        for position, stored in replaced.items():
            features[..., [position]] = _statistics(stored[None])
        return self._checkpoint.predict_cells(features.reshape(*features.shape[:2], -1))


def _statistics(image: Tensor) -> npt.NDArray[np.float32]:
    """Return statistics (16, 16, 3, C) of the cells of an image (C, 800, 800)."""
    features = describe_cells(image.numpy())
    return features.reshape(*features.shape[:2], -1, len(image))
