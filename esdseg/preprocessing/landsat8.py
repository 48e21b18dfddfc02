"""Landsat-8: digital numbers, scaled to the range where half precision is fine."""

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]

SCALE = 10_000
"""Digital numbers to a scaled 1.

Level-1 numbers are affine in top-of-atmosphere reflectance (bands 1-9) and radiance (bands 10, 11) with the
same coefficients in every scene, so a fixed divisor keeps what was measured. Half precision then resolves 5
numbers at 5000-10 000 and 20 at 20 000-40 000, where the thermal bands lie: about 0.05 K.
"""

NO_DATA = 0
"""Fill value of level-1 bands. Source: Landsat 8 Data Users Handbook, quality and fill values."""

LARGEST_NUMBER = 65_535
"""Level-1 bands are 16-bit numbers; the contest's files hold them as float32."""


def to_scaled_numbers(numbers: npt.NDArray[np.floating]) -> FloatImage:
    """Scale level-1 digital numbers.

    Args:
        numbers: Digital numbers, any shape; 0 and NaN are no data.

    Returns:
        ``numbers / 10 000``, float32, same shape, up to 6.5535; NaN for no data and for what cannot be a
        16-bit number.
    """
    valid = (numbers > NO_DATA) & (numbers <= LARGEST_NUMBER)
    scaled = np.full(numbers.shape, np.nan, np.float32)
    return np.divide(numbers, np.float32(SCALE), out=scaled, where=valid, casting="same_kind")
