"""The first layer of every model: scales channels by the training tiles and treats no data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from esdseg.config.preprocessing import Recipe
from esdseg.errors import ConfigError
from esdseg.preprocessing.recipe import scaling_limits
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import ConversionName
from esdseg.store.statistics import ChannelStatistics

FloatArray = npt.NDArray[np.float64]

LARGEST_OUTPUT = 10.0
"""Outputs are limited to this on both sides, in standard deviations of a channel where it is standardised.

A cloud edge, a glitch or an area unlike the training tiles then cannot outweigh all other channels, nor
overflow half precision in the layers behind.
"""


class Normalization(nn.Module):
    """Maps stored values to network input: ``clamp((x - shift) * scale, lower, upper) ** gamma``.

    No data (NaN) becomes ``fill``, the training mean once it is scaled. A channel without data or without
    spread in the training tiles gives 0 everywhere. All numbers are buffers, so a ``state_dict`` holds the
    whole layer; a new one passes values through, within +-:data:`LARGEST_OUTPUT`, and gives 0 for no data.

    Args:
        n_channels: Channels of the image.
    """

    shift: Tensor
    scale: Tensor
    lower: Tensor
    upper: Tensor
    gamma: Tensor
    fill: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        defaults = {
            "shift": 0.0,
            "scale": 1.0,
            "lower": -LARGEST_OUTPUT,
            "upper": LARGEST_OUTPUT,
            "gamma": 1.0,
            "fill": 0.0,
        }
        for name, value in defaults.items():
            self.register_buffer(name, torch.full((n_channels, 1, 1), value))
        self._is_linear = True
        self._is_limited_alike = True
        self.register_load_state_dict_post_hook(_choose_path_again)  # type: ignore[no-untyped-call]

    @classmethod
    def from_statistics(
        cls, statistics: ChannelStatistics, channels: Sequence[Channel], recipe: Recipe
    ) -> "Normalization":
        """Take the scale of each channel from the training tiles, by the steps of a recipe.

        Args:
            statistics: Of exactly these C channels, in their order, over the training tiles alone.
            channels: The C channels of the image.
            recipe: With ``scale_by: tile`` the store holds scaled values and the layer passes them through.

        Raises:
            ValueError: ``statistics`` is of another number of channels.
        """
        layer = cls(len(channels))
        if len(statistics.count) != len(channels):
            raise ValueError(
                f"statistics of {len(statistics.count)} channels do not fit {len(channels)} channels"
            )
        if recipe.scale_by == "training_tiles":
            layer._set_scale(statistics, channels, recipe)
        return layer

    def _set_scale(self, statistics: ChannelStatistics, channels: Sequence[Channel], recipe: Recipe) -> None:
        limits = scaling_limits(statistics, channels, recipe)
        gamma = np.array([recipe.steps(channel.sensor.name).gamma for channel in channels], np.float64)
        if recipe.rescale == "standardize":
            alive = limits.std > 0
            shift, scale = limits.mean, _reciprocal(limits.std, alive)
            fill = np.zeros(len(channels))
        else:
            span = limits.upper - limits.lower
            alive = span > 0
            shift, scale = limits.lower, _reciprocal(span, alive)
            fill = ((limits.mean - shift) * scale) ** gamma
        # A product of an infinite limit and the scale 0 of a channel without spread is masked by `alive`.
        with np.errstate(invalid="ignore"):
            lower = np.clip((limits.lower - shift) * scale, -LARGEST_OUTPUT, LARGEST_OUTPUT)
            upper = np.clip((limits.upper - shift) * scale, -LARGEST_OUTPUT, LARGEST_OUTPUT)
        numbers = {"shift": shift, "scale": scale, "lower": lower, "upper": upper, "fill": fill}
        for name, values in numbers.items():
            self._set(name, np.where(alive, values, 0.0))
        self._set("gamma", np.where(alive, gamma, 1.0))
        self._choose_path()

    def restandardize(self, channel: int, mean: float, std: float) -> None:
        """Standardise a channel by another mean and standard deviation; its limits stay as they are.

        Args:
            channel: Its position.
            mean: In stored values.
            std: In stored values, above 0.
        """
        self.shift[channel] = mean
        self.scale[channel] = 1 / std
        self._choose_path()

    def _set(self, name: str, values: FloatArray) -> None:
        self.get_buffer(name).copy_(torch.from_numpy(values)[:, None, None])

    def _choose_path(self) -> None:
        """Check once which steps can be skipped. Reading the numbers at every step would wait for a GPU."""
        self._is_linear = bool((self.gamma == 1).all() and (self.fill == 0).all())
        # What the scale 0 makes of a channel lies within any limits.
        alike = (self.lower == -LARGEST_OUTPUT) & (self.upper == LARGEST_OUTPUT)
        self._is_limited_alike = bool((alike | (self.scale == 0)).all())

    def forward(self, image: Tensor, channels: Sequence[int] | None = None) -> Tensor:
        """Scale an image.

        Args:
            image: Stored values (N, C, height, width) of any floating type; NaN is no data.
            channels: Positions of the image's channels among the layer's, where it has not all of them.

        Returns:
            Finite float32 values, same shape and memory format.

        Raises:
            ValueError: The image has another number of channels.
        """
        n_channels = self.shift.shape[0] if channels is None else len(channels)
        if image.shape[1] != n_channels:
            raise ValueError(f"the model takes {n_channels} channels, the image has {image.shape[1]}")
        # One copy, all else in place: on a CPU, fresh memory costs more than the arithmetic.
        scaled = image.to(torch.float32, copy=True)
        chosen = slice(None) if channels is None else list(channels)
        scaled = scaled.sub_(self.shift[chosen]).mul_(self.scale[chosen])
        if self._is_limited_alike:
            # Numbers take less than half the time of vectors.
            scaled = scaled.clamp_(-LARGEST_OUTPUT, LARGEST_OUTPUT)
        else:
            scaled = scaled.clamp_(self.lower[chosen], self.upper[chosen])
        if self._is_linear:
            return scaled.nan_to_num_(nan=0.0)
        return torch.where(torch.isnan(scaled), self.fill[chosen], scaled.pow(self.gamma[chosen]))

    def extra_repr(self) -> str:
        """Show the number of channels where the model is printed."""
        return f"{self.shift.shape[0]} channels"


def _choose_path_again(layer: nn.Module, _incompatible_keys: object) -> None:
    # A function of the module, since a lambda would keep a model from being sent to other processes.
    assert isinstance(layer, Normalization)
    layer._choose_path()


def _reciprocal(values: FloatArray, where: npt.NDArray[np.bool_]) -> FloatArray:
    return np.divide(1.0, values, out=np.zeros_like(values), where=where)


@dataclass(frozen=True)
class NetworkInput:
    """What a network sees of a store, so that pretrained weights can be turned to it.

    Attributes:
        channels: The C channels of its images.
        normalization: The layer before it.
        recipe: How the store's values came about.
    """

    channels: tuple[Channel, ...]
    normalization: Normalization
    recipe: Recipe

    def positions_by_band(self, sensor: str) -> dict[str, list[int]]:
        """Return the positions of a sensor's channels by band, but for those that are constant in training.

        Projections over nights are no bands.
        """
        positions: dict[str, list[int]] = {}
        for position, channel in enumerate(self.channels):
            if (
                channel.sensor.name == sensor
                and channel.place is not None
                and self.normalization.scale[position]
            ):
                positions.setdefault(channel.band, []).append(position)
        return positions

    def stored_scale(self) -> tuple[Tensor, Tensor]:
        """Return what turns normalised values back: ``stored = gain * normalised + offset``.

        Returns:
            Gain and offset (C,), float64; a gain of 0 where a channel is constant. They hold for sensors
            that :meth:`check_units` lets pass.
        """
        scale = self.normalization.scale.flatten().double()
        return torch.where(scale != 0, 1 / scale, 0.0), self.normalization.shift.flatten().double()

    def check_units(
        self,
        owner: str,
        sensor: str,
        conversion: ConversionName,
        otherwise: str = "use --set model.weights=none",
    ) -> None:
        """Refuse values that do not tell a physical unit.

        Args:
            owner: Whose weights expect the unit, for messages.
            sensor: The sensor whose channels they read; nothing is refused where there are none.
            conversion: How they expect its numbers to have been converted.
            otherwise: What works with other values, for the message.

        Raises:
            ConfigError: The store holds other values.
        """
        described = next((channel.sensor for channel in self.channels if channel.sensor.name == sensor), None)
        if described is None:
            return
        found = described.conversion.name
        if found != conversion:
            raise ConfigError(
                f"{owner} expects {sensor} converted by '{conversion}', and its description says '{found}'; "
                f"{otherwise}, or correct the description."
            )
        gamma = self.recipe.steps(sensor).gamma
        if self.recipe.scale_by == "tile" or gamma != 1:
            what = (
                "scales each tile by itself" if self.recipe.scale_by == "tile" else f"has gamma {gamma:.3g}"
            )
            raise ConfigError(
                f"{owner} expects physical values of {sensor}, and the store's recipe {what}; preprocess "
                f"again with --set recipe=physical, or {otherwise}."
            )
