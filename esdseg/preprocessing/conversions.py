"""From raw numbers to what the store holds: physical values of each sensor, rounded to half precision.

The description of a sensor names its conversion: the contest's store Sentinel-1 in decibels, Sentinel-2 as
reflectance, Landsat-8 as scaled digital numbers, and VIIRS night light as log radiance, after glitches are
taken out and nights are projected.
"""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import ReflectanceOffset
from esdseg.sensors.sensors import ConversionName, Sensor
from esdseg.store.statistics import HalfArray
from esdseg.tiles.values import subtracts_offset

FloatImage = npt.NDArray[np.float32]

LARGEST_NUMBER = 65_535
"""Of 16 bits; the contest's Landsat files hold such numbers as float32."""

GLITCH_MARGIN = 20.0
"""Numbers by which a glitch stands above what stray moonlight and clouds do between dates."""

GLITCH_RATIO = 4.0
"""How many times brighter than on any other date a pixel must be to count as a glitch, not as a town."""

MIN_DATES_FOR_GLITCHES = 3
"""Dates with data that a pixel needs; with fewer, no date can be told to be the odd one."""

Rectangle = tuple[slice, slice]
"""Rows and columns of an image, in pixels."""

WHOLE: Rectangle = (slice(None), slice(None))

_ALL_NUMBERS = np.arange(1 << 16, dtype=np.uint16)


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


def to_reflectance(
    numbers: npt.NDArray[Any], scale: float, offset: float, fill_value: int | None
) -> FloatImage:
    """Convert digital numbers of an optical sensor to reflectance.

    Args:
        numbers: Digital numbers, any shape.
        scale: Number of a reflectance of 1, such as 10 000 for Sentinel-2.
        offset: Added to the numbers first, such as -1000 for Sentinel-2 since processing baseline 04.00.
        fill_value: Number of a pixel that was not imaged.

    Returns:
        Reflectance, float32, same shape, mostly 0 to 1 (clouds and glint go higher, and without the offset
        dark ground may go below); NaN for no data.
    """
    reflectance = (numbers.astype(np.float32) + np.float32(offset)) / np.float32(scale)
    reflectance[numbers == fill_value] = np.nan
    return reflectance


def to_scaled_numbers(numbers: npt.NDArray[Any], scale: float) -> FloatImage:
    """Scale 16-bit digital numbers to the range where half precision is fine.

    Args:
        numbers: Digital numbers, any shape; 0 and NaN are no data.
        scale: What they are divided by.

    Returns:
        ``numbers / scale``, float32, same shape; NaN for no data and for what cannot be a 16-bit number.
    """
    valid = (numbers > 0) & (numbers <= LARGEST_NUMBER)
    scaled = np.full(numbers.shape, np.nan, np.float32)
    return np.divide(numbers, np.float32(scale), out=scaled, where=valid, casting="same_kind")


def to_floats(raw: npt.NDArray[Any], fill_value: int | None) -> FloatImage:
    """Return raw values of any shape as float32, with NaN for the fill value."""
    values = raw.astype(np.float32)
    if fill_value is not None:
        values[raw == fill_value] = np.nan
    return values


@dataclass(frozen=True)
class Conversion:
    """The conversion of one sensor's rasters on one date; equal ones share their tables.

    Attributes:
        name: The kind of conversion.
        scale: See :class:`esdseg.sensors.sensors.Conversion`.
        offset: What is added to the numbers on that date.
        fill_value: What the product writes where nothing was measured.
    """

    name: ConversionName
    scale: float = 1.0
    offset: float = 0.0
    fill_value: int | None = None

    @classmethod
    def of(
        cls, sensor: Sensor, acquired: date | None, reflectance_offset: ReflectanceOffset = "by_date"
    ) -> "Conversion":
        """Return the conversion of a sensor's rasters; of projections, which have no date, without offset."""
        settings = sensor.conversion
        acts = acquired is not None and subtracts_offset(sensor, acquired, reflectance_offset)
        return cls(settings.name, settings.scale, settings.offset if acts else 0.0, sensor.fill_value)

    def __call__(self, raw: npt.NDArray[Any]) -> FloatImage:
        """Map raw values of any shape to physical ones, float32; NaN is no data."""
        match self.name:
            case "decibel":
                return to_decibels(raw if self.fill_value is None else to_floats(raw, self.fill_value))
            case "reflectance":
                return to_reflectance(raw, self.scale, self.offset, self.fill_value)
            case "digital_number":
                return to_scaled_numbers(raw, self.scale)
            case "log1p":
                return to_log_radiance(to_floats(raw, self.fill_value))
            case "none":
                return to_floats(raw, self.fill_value)


def find_glitches(numbers: FloatImage, core: Rectangle = WHOLE) -> npt.NDArray[np.bool_]:
    """Find the pixels of night light that flash up on a single date.

    A glitch fills a whole native cell, so neighbours cannot tell it from a village; other dates can. From
    each date its median over the core is taken away, so that a moonlit night does not count as light. A
    pixel's brightest date is a glitch where it then exceeds ``GLITCH_MARGIN + GLITCH_RATIO * s``, with ``s``
    the second-brightest date's value there (at least 0). A town that is lit on two dates or more is never
    one.

    Args:
        numbers: Numbers (dates, height, width) of one place; NaN is no data.
        core: The part whose medians say how bright a night usually is; all of it unless given.

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
    above -= np.array([_median(image[core]) for image in numbers], numbers.dtype)[:, np.newaxis]
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


def remove_glitches(numbers: FloatImage, core: Rectangle = WHOLE) -> FloatImage:
    """Return numbers (dates, height, width) with the glitches of :func:`find_glitches` as NaN."""
    return np.where(find_glitches(numbers, core), np.float32(np.nan), numbers)


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
        conversion: What maps raw values to physical ones.
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
