"""The steps of a recipe as pure functions: smoothing, clipping, gamma and rescaling.

They are the reference for both places where a recipe acts: writing a tile, and a network's first layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import Recipe, SensorSteps
from esdseg.sensors.channels import Channel, Layer
from esdseg.store.statistics import ChannelStatistics, FloatArray

FloatImage = npt.NDArray[np.float32]

KERNEL_RADIUS_SIGMAS = 4.0
"""Where the Gaussian kernel is cut off, in standard deviations; SciPy's own default."""


def smooth(image: FloatImage, sigma_px: float) -> FloatImage:
    """Smooth an image with a Gaussian that looks past missing pixels.

    Normalised convolution (Knutsson and Westin, 1993): values and their presence are smoothed alike and
    divided, so that a pixel becomes the weighted mean of those neighbours that have data.

    Args:
        image: Values (height, width); NaN is no data.
        sigma_px: Standard deviation in pixels; 0 returns the image as it is.

    Returns:
        Smoothed values, float32; NaN where ``image`` is NaN. Beyond its edges the image counts as mirrored.
    """
    if sigma_px == 0:
        return image
    # SciPy's image functions take a moment to import and most recipes do not smooth.
    from scipy.ndimage import gaussian_filter

    missing = np.isnan(image)
    if missing.all():
        return image
    values = np.where(missing, np.float32(0), image)
    smoothed: FloatImage = gaussian_filter(values, sigma_px, mode="reflect", truncate=KERNEL_RADIUS_SIGMAS)
    if missing.any():
        presence = (~missing).astype(np.float32)
        weights = gaussian_filter(presence, sigma_px, mode="reflect", truncate=KERNEL_RADIUS_SIGMAS)
        np.divide(smoothed, weights, out=smoothed, where=~missing)
        smoothed[missing] = np.nan
    return smoothed


@dataclass(frozen=True)
class ScalingLimits:
    """The numbers that scale C channels; NaN for a channel of which nothing is known.

    Attributes:
        lower: Values below are clipped to this (C,); minus infinity clips nothing.
        upper: Values above are clipped to this (C,); infinity clips nothing.
        mean: Mean (C,) of the clipped values.
        std: Standard deviation (C,) of the clipped values.
    """

    lower: FloatArray
    upper: FloatArray
    mean: FloatArray
    std: FloatArray

    def only(self, channels: npt.NDArray[np.intp]) -> "ScalingLimits":
        """Return the limits of some channels, by their positions."""
        return ScalingLimits(
            self.lower[channels], self.upper[channels], self.mean[channels], self.std[channels]
        )


def scaling_limits(
    statistics: ChannelStatistics, channels: Sequence[Channel] | Sequence[Layer], recipe: Recipe
) -> ScalingLimits:
    """Return the limits that scale each channel, from statistics and the steps of its sensor.

    The clipping limits are the quantiles at ``clip_fraction`` and at one minus it. Where that is 0,
    ``min_max`` clips to the smallest and largest value and ``standardize`` does not clip.

    Args:
        statistics: Statistics of the C channels over the tiles that set the scale.
        channels: The C channels, or the C layers of a tile.
        recipe: Steps a sensor, and the kind of rescaling.
    """
    fractions = np.array([recipe.steps(channel.sensor.name).clip_fraction for channel in channels])
    lower, upper = np.full(len(channels), -np.inf), np.full(len(channels), np.inf)
    for fraction in np.unique(fractions):
        if fraction > 0 or recipe.rescale == "min_max":
            chosen = fractions == fraction
            lower[chosen] = statistics.quantile(fraction)[chosen]
            upper[chosen] = statistics.quantile(1 - fraction)[chosen]
    clipped = statistics.clipped(lower, upper)
    return ScalingLimits(lower, upper, clipped.mean, clipped.std)


def apply_scaling(
    values: npt.NDArray[np.floating],
    limits: ScalingLimits,
    steps: SensorSteps,
    rescale: Literal["standardize", "min_max"],
) -> FloatImage:
    """Clip, rescale and apply gamma to channels of one sensor.

    ``min_max`` gives ``((clip(x) - lower) / (upper - lower)) ** gamma``, ``standardize`` gives
    ``(clip(x) - mean) / std``. A channel without spread becomes 0.

    Args:
        values: Values (C, ...); NaN is no data.
        limits: The limits of these C channels.
        steps: The sensor's steps, of which ``gamma`` is read here.
        rescale: One of the two.

    Returns:
        Scaled values, float32, same shape; NaN where ``values`` or the channel's limits are NaN.
    """
    shape = (-1, *(1,) * (values.ndim - 1))
    if rescale == "standardize":
        shift, spread = limits.mean, limits.std
    else:
        shift, spread = limits.lower, limits.upper - limits.lower
    divisor = np.where(spread == 0, 1.0, spread)
    scaled: FloatImage = values.astype(np.float32)
    np.clip(scaled, _column(limits.lower, shape), _column(limits.upper, shape), out=scaled)
    np.subtract(scaled, _column(shift, shape), out=scaled)
    np.divide(scaled, _column(divisor, shape), out=scaled)
    return scaled if steps.gamma == 1 else np.power(scaled, np.float32(steps.gamma), out=scaled)


def _column(numbers: FloatArray, shape: tuple[int, ...]) -> FloatImage:
    return numbers.astype(np.float32).reshape(shape)
