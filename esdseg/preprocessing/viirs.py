"""VIIRS night lights: glitches out, projections over dates, log radiance."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]

FILL_VALUE = 65_535
"""Number of a pixel without data. Source: Black Marble User Guide, VNP46A1."""

GLITCH_MARGIN = 20.0
"""Numbers by which a glitch stands above what stray moonlight and clouds do between dates."""

GLITCH_RATIO = 4.0
"""How many times brighter than on any other date a pixel must be to count as a glitch, not as a town."""

MIN_DATES_FOR_GLITCHES = 3
"""With fewer dates of a pixel there is no telling which of them is the odd one."""


def to_numbers(raw: npt.NDArray[np.uint16]) -> FloatImage:
    """Read raw pixels as float32 numbers, with NaN for the fill value; any shape."""
    numbers = raw.astype(np.float32)
    numbers[raw == FILL_VALUE] = np.nan
    return numbers


def find_glitches(numbers: FloatImage) -> npt.NDArray[np.bool_]:
    """Find pixels that flash up on a single date.

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

    With an even number of such dates it is the mean of the two in the middle; NaN where there is none.
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
    """Runs of equal rows or columns: where each begins, and the number of the run that each line is in."""

    first: npt.NDArray[np.intp]
    number: npt.NDArray[np.intp]


def _distinct_lines(numbers: FloatImage, axis: int) -> _Lines:
    """Find the rows (axis 1) or columns (axis 2) of an image (dates, height, width) that are as the last."""
    lines = np.moveaxis(numbers.view(np.uint32), axis, 0)
    begins = np.ones(len(lines), np.bool_)
    begins[1:] = (lines[1:] != lines[:-1]).any(axis=(1, 2))
    return _Lines(np.flatnonzero(begins), np.cumsum(begins) - 1)
