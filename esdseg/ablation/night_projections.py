"""Projections of VIIRS without one of their nights, from the nights that a store holds."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from esdseg.config.preprocessing import Recipe
from esdseg.preprocessing.conversions import project_median, to_log_radiance
from esdseg.sensors.channels import Channel
from esdseg.store.statistics import HalfArray
from esdseg.store.store import Store


def recomputable_nights(store: Store) -> tuple[date, ...] | None:
    """Return the nights that the store's projections were computed from, where they can be again.

    Preprocessing projects over the very nights that it stores, once glitches are out, which it tells by all
    nights of the raw tile. Smoothing or scaling each tile would have changed the nights since.

    Returns:
        The nights in order; ``None`` where the store lacks them or holds them changed.
    """
    nights = tuple(
        channel.acquired for channel in store.channels if channel.sensor == "viirs" and channel.acquired
    )
    return nights if nights and _are_untouched(store.manifest.config.recipe) else None


def _are_untouched(recipe: Recipe) -> bool:
    return recipe.scale_by == "training_tiles" and recipe.viirs.smoothing_sigma_px == 0


def night_channels(nights: Sequence[date]) -> tuple[Channel, ...]:
    """Return the channels of single nights."""
    return tuple(Channel("viirs", "DNB", night) for night in nights)


def project(nights: HalfArray, band: str) -> HalfArray:
    """Compute a projection as preprocessing would have with these nights alone.

    Logarithm and rounding keep the order of numbers, so the maximum is exact. The median of an even count
    lies between two numbers; they are whole, and up to 255 half precision tells them apart, so up to there
    it is exact too, and above it is off by one step of half precision at most.

    Args:
        nights: Stored nights (nights, ...), ``log(1 + number)``; NaN is no data.
        band: ``DNB_max`` or ``DNB_median``.

    Returns:
        The projection (...) in half precision.
    """
    if band == "DNB_max":
        return np.fmax.reduce(nights, axis=0)
    numbers = np.rint(np.expm1(nights.astype(np.float32)))
    return to_log_radiance(project_median(numbers)).astype(np.float16)
