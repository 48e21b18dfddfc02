"""Sentinel-2: surface reflectance."""

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]

QUANTIFICATION_VALUE = 10_000
"""Digital numbers to a reflectance of 1. Source: Sentinel-2 Products Specification Document, level 2A."""

NO_DATA = 0
"""Digital number of a pixel that was not imaged. Source: as above."""


def to_reflectance(numbers: npt.NDArray[np.uint16]) -> FloatImage:
    """Convert level-2A digital numbers to surface reflectance.

    Args:
        numbers: Digital numbers, any shape; 0 is no data.

    Returns:
        Reflectance, float32, same shape, mostly 0 to 1 (clouds and glint go higher); NaN for no data.
    """
    reflectance = numbers.astype(np.float32) / np.float32(QUANTIFICATION_VALUE)
    reflectance[numbers == NO_DATA] = np.nan
    return reflectance
