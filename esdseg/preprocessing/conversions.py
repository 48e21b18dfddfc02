"""From raw numbers to what the store holds: physical values of each sensor, rounded to half precision.

Sentinel-1 is stored in decibels, Sentinel-2 as reflectance, Landsat-8 as scaled digital numbers, and VIIRS
night light as log radiance, after glitches are taken out and nights are projected.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esdseg.store.statistics import HalfArray

FloatImage = npt.NDArray[np.float32]

Conversion = Callable[[npt.NDArray[Any]], FloatImage]
"""A function from raw values to physical ones, pixel by pixel."""

REFLECTANCE_SCALE = 10_000
"""Sentinel-2 digital numbers to a reflectance of 1. Source: Sentinel-2 Products Specification Document, level
2A, which calls it the quantification value."""

REFLECTANCE_NO_DATA = 0
"""Sentinel-2 digital number of a pixel that was not imaged. Source: as above."""

LANDSAT_SCALE = 10_000
"""Landsat-8 digital numbers to a scaled 1.

Level-1 numbers are affine in top-of-atmosphere reflectance (bands 1-9) and radiance (bands 10, 11) with the
same coefficients in every scene, so a fixed divisor keeps what was measured. Half precision then resolves 5
numbers at 5000-10 000 and 20 at 20 000-40 000, where the thermal bands lie: about 0.05 K.
"""

LANDSAT_NO_DATA = 0
"""Fill value of level-1 bands. Source: Landsat 8 Data Users Handbook, quality and fill values."""

LANDSAT_LARGEST = 65_535
"""Level-1 bands are 16-bit numbers; the contest's files hold them as float32."""

VIIRS_FILL_VALUE = 65_535
"""Number of a VIIRS pixel without data. Source: Black Marble User Guide, VNP46A1."""

GLITCH_MARGIN = 20.0
"""Numbers by which a glitch stands above what stray moonlight and clouds do between dates."""

GLITCH_RATIO = 4.0
"""How many times brighter than on any other date a pixel must be to count as a glitch, not as a town."""

MIN_DATES_FOR_GLITCHES = 3
"""Dates with data that a pixel needs; with fewer, no date can be told to be the odd one."""

_ALL_NUMBERS = np.arange(1 << 16, dtype=np.uint16)


def to_decibels(power: npt.NDArray[np.floating]) -> FloatImage:
    """Convert linear radar backscatter of Sentinel-1 to decibels.

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


def to_reflectance(numbers: npt.NDArray[np.uint16]) -> FloatImage:
    """Convert level-2A digital numbers of Sentinel-2 to surface reflectance.

    Args:
        numbers: Digital numbers, any shape; 0 is no data.

    Returns:
        Reflectance, float32, same shape, mostly 0 to 1 (clouds and glint go higher); NaN for no data.
    """
    reflectance = numbers.astype(np.float32) / np.float32(REFLECTANCE_SCALE)
    reflectance[numbers == REFLECTANCE_NO_DATA] = np.nan
    return reflectance


def to_scaled_numbers(numbers: npt.NDArray[np.floating]) -> FloatImage:
    """Scale level-1 digital numbers of Landsat-8 to the range where half precision is fine.

    Args:
        numbers: Digital numbers, any shape; 0 and NaN are no data.

    Returns:
        ``numbers / 10 000``, float32, same shape, up to 6.5535; NaN for no data and for what cannot be a
        16-bit number.
    """
    valid = (numbers > LANDSAT_NO_DATA) & (numbers <= LANDSAT_LARGEST)
    scaled = np.full(numbers.shape, np.nan, np.float32)
    return np.divide(numbers, np.float32(LANDSAT_SCALE), out=scaled, where=valid, casting="same_kind")


def to_night_numbers(raw: npt.NDArray[np.uint16]) -> FloatImage:
    """Return raw VIIRS pixels of any shape as float32 numbers, with NaN for the fill value."""
    numbers = raw.astype(np.float32)
    numbers[raw == VIIRS_FILL_VALUE] = np.nan
    return numbers


def find_glitches(numbers: FloatImage) -> npt.NDArray[np.bool_]:
    """Find the pixels of night light that flash up on a single date.

    A glitch fills a whole native cell, so neighbours cannot tell it from a village; other dates can. From
    each date its median over the tile is taken away, so that a moonlit night does not count as light. A
    pixel's brightest date is a glitch where it then exceeds ``GLITCH_MARGIN + GLITCH_RATIO * s``, with ``s``
    the second-brightest date's value there (at least 0). A town that is lit on two dates or more is never
    one.

    Args:
        numbers: Numbers (dates, height, width) of one tile; NaN is no data.

    Returns:
        Mask of the same shape; at most one date a pixel is true.
    """
    glitches = np.zeros(numbers.shape, np.bool_)
    # Medians are not negative, so only where a number exceeds the margin there may be a glitch.
    bright = (numbers > GLITCH_MARGIN).any(axis=0)
    if not bright.any():
        return glitches
    above = numbers[:, bright]
    missing = np.isnan(above)
    above -= np.array([_median(image) for image in numbers], numbers.dtype)[:, np.newaxis]
    above[missing] = -np.inf
    brightest = above.argmax(axis=0)[np.newaxis]
    peak = np.take_along_axis(above, brightest, axis=0)
    np.put_along_axis(above, brightest, -np.inf, axis=0)
    second = np.maximum(above.max(axis=0, keepdims=True), 0)
    enough_dates = len(numbers) - missing.sum(axis=0) >= MIN_DATES_FOR_GLITCHES
    is_glitch = np.zeros(above.shape, np.bool_)
    np.put_along_axis(
        is_glitch, brightest, enough_dates & (peak > GLITCH_MARGIN + GLITCH_RATIO * second), axis=0
    )
    glitches[:, bright] = is_glitch
    return glitches


def _median(image: FloatImage) -> float:
    """Return the median of the pixels with data; 0 where there are none."""
    missing = np.isnan(image)
    valid = image[~missing] if missing.any() else image
    return float(np.median(valid)) if valid.size else 0.0


def remove_glitches(numbers: FloatImage) -> FloatImage:
    """Return numbers (dates, height, width) with the glitches of :func:`find_glitches` as NaN."""
    return np.where(find_glitches(numbers), np.float32(np.nan), numbers)


def project_max(numbers: FloatImage) -> FloatImage:
    """Return the brightest number of each pixel over the dates that have data, (height, width)."""
    return np.fmax.reduce(numbers, axis=0)


def project_median(numbers: FloatImage) -> FloatImage:
    """Return the median number of each pixel over the dates that have data, (height, width).

    With an even number of such dates it is the mean of the two in the middle, and NaN where there is none.
    """
    # A native cell fills hundreds of pixels, whose median is computed once.
    rows, columns = _distinct_lines(numbers, axis=1), _distinct_lines(numbers, axis=2)
    # numpy.nanmedian does the same a pixel at a time; sorting puts NaN last and takes a tenth of the time.
    ordered = np.sort(numbers[:, rows.first][:, :, columns.first], axis=0)
    count = np.count_nonzero(~np.isnan(ordered), axis=0)[np.newaxis]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)[0]
    high = np.take_along_axis(ordered, count // 2, axis=0)[0]
    medians: FloatImage = (low + high) / np.float32(2)
    return medians[rows.number][:, columns.number]


def to_log_radiance(numbers: FloatImage) -> FloatImage:
    """Return ``log(1 + numbers)``, float32, same shape; NaN stays NaN."""
    return np.log1p(numbers)


class _Lines(NamedTuple):
    """Runs of equal rows or columns: the first line of each run, and the run's number of each line."""

    first: npt.NDArray[np.intp]
    number: npt.NDArray[np.intp]


def _distinct_lines(numbers: FloatImage, axis: int) -> _Lines:
    """Find the runs of equal rows (axis 1) or columns (axis 2) of an image (dates, height, width)."""
    lines = np.moveaxis(numbers.view(np.uint32), axis, 0)
    begins = np.ones(len(lines), np.bool_)
    begins[1:] = (lines[1:] != lines[:-1]).any(axis=(1, 2))
    return _Lines(np.flatnonzero(begins), np.cumsum(begins) - 1)


def convert_to_half(raw: npt.NDArray[Any], conversion: Conversion, out: HalfArray) -> None:
    """Convert raw values and round them to half precision.

    Rounding a float takes longer than looking it up, and most rasters hold 16-bit numbers, some of them as
    floats: those are converted by a table of all such numbers. The result is the same, bit by bit.

    Args:
        raw: Raw values, any shape.
        conversion: A function at the top of a module.
        out: Receives the result; same shape as ``raw``.
    """
    numbers = _whole_numbers(raw)
    if numbers is None:
        out[...] = conversion(raw)
    else:
        # Sixteen bits never lie outside the table; "clip" alone writes to `out` without another copy.
        np.take(_table(conversion, raw.dtype), numbers, out=out, mode="clip")


def _whole_numbers(raw: npt.NDArray[Any]) -> npt.NDArray[np.uint16] | None:
    """Return the values as uint16 if all are whole numbers from 0 to 65535, else ``None``."""
    if raw.dtype == np.uint16:
        return raw
    # Any other value comes back from the cast as another number.
    with np.errstate(invalid="ignore"):
        numbers = raw.astype(np.uint16)
    return numbers if np.array_equal(numbers, raw) else None


@lru_cache
def _table(conversion: Conversion, dtype: np.dtype[Any]) -> HalfArray:
    return conversion(_ALL_NUMBERS.astype(dtype)).astype(np.float16)
