"""Sentinel-1: radar backscatter in decibels."""

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]


def to_decibels(power: npt.NDArray[np.floating]) -> FloatImage:
    """Convert linear radar backscatter to decibels.

    Args:
        power: Backscatter as linear power, any shape. NaN is no data.

    Returns:
        ``10 * log10(power)`` in dB, float32, same shape; NaN where ``power`` is NaN, infinite or <= 0.
    """
    valid = np.isfinite(power) & (power > 0)
    decibels = np.full(power.shape, np.nan, np.float32)
    # In double precision, since the last digit of a single logarithm differs between processors.
    decibels[valid] = 10 * np.log10(power[valid].astype(np.float64))
    return decibels
