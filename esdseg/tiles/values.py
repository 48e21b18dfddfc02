"""Counting the values of rasters: one pass a raster, merged over bands, dates and tiles."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import nan

import numpy as np
import numpy.typing as npt

from esdseg.sensors.sensors import Sensor
from esdseg.tiles.reading import RasterArray

NUM_CODES = 1 << 16


@dataclass(frozen=True)
class ValueCounts:
    """How often each value occurs in one raster, or in many of one sensor.

    Attributes:
        counts: Pixels a code, (65536,) int64, without NaN and fill. Where the sensor's values are whole
            numbers the code is the value; else it is the upper half of the value as float32 in ascending
            order, which tells values apart to within 0.8 %.
        whole_numbers: Which of the two codes it is.
        minimum: Smallest finite value that is no fill; NaN where there is none.
        maximum: Largest such value.
        pixels: All pixels.
        not_finite: Pixels that are NaN or infinite.
        zero: Pixels that are 0.
        fill: Pixels that hold the sensor's fill value (0 counts as fill where the product says so).
        saturated: Pixels at the sensor's saturated value.
        rasters: Rasters that were counted.
    """

    counts: npt.NDArray[np.int64]
    whole_numbers: bool
    minimum: float
    maximum: float
    pixels: int
    not_finite: int
    zero: int
    fill: int
    saturated: int
    rasters: int = 1

    @property
    def measured(self) -> int:
        """Pixels that hold a measurement: neither NaN nor fill."""
        return self.pixels - self.not_finite - self.fill

    @property
    def is_constant(self) -> bool:
        """Whether every measured pixel holds the same value."""
        return self.minimum == self.maximum

    def quantile(self, fraction: float) -> float:
        """Return the value below which a fraction of the measured pixels lies; NaN where there are none.

        Exact for whole numbers (as NumPy's ``inverted_cdf``), else to within 0.4 %.
        """
        if self.measured == 0:
            return nan
        cumulated = np.cumsum(self.counts)
        code = int(np.searchsorted(cumulated, fraction * self.measured))
        value = float(code) if self.whole_numbers else _float_of_code(code)
        return min(max(value, self.minimum), self.maximum)

    def to_json(self) -> dict[str, float | int | None]:
        """Return limits, quantiles and shares under stable names; ``None`` where nothing was measured."""
        limits = {
            "minimum": self.minimum,
            "p01": self.quantile(0.01),
            "median": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "maximum": self.maximum,
        }
        total = max(self.pixels, 1)
        return {
            **{key: None if np.isnan(value) else value for key, value in limits.items()},
            "zero_share": self.zero / total,
            "nan_share": self.not_finite / total,
            "fill_share": self.fill / total,
            "saturated_share": self.saturated / total,
            "rasters": self.rasters,
        }


def count_values(values: RasterArray, sensor: Sensor) -> ValueCounts:
    """Count the values of one raster.

    Args:
        values: Raw values of the sensor, any shape, uint16 or float32. Where the sensor's are whole
            numbers, others are rounded and those beyond 0 to 65 535 are counted at the ends.
        sensor: Row of the sensor table that says how to read them.
    """
    pixels = values.size
    measured = values.ravel()
    if measured.dtype.kind == "f":
        finite = np.isfinite(measured)
        if not finite.all():
            measured = measured[finite]
    not_finite = pixels - measured.size
    low, high = (float(measured.min()), float(measured.max())) if measured.size else (nan, nan)
    if not sensor.whole_numbers:
        zero = int(measured.size - np.count_nonzero(measured))
        counts = _count_floats(measured)
        return ValueCounts(counts, False, low, high, pixels, not_finite, zero, fill=0, saturated=0)
    counts = _count_whole_numbers(measured, low, high)
    zero, saturated = int(counts[0]), _count_of(counts, sensor.saturated_value)
    fill = _count_of(counts, sensor.fill_value)
    if fill and sensor.fill_value is not None:
        counts[sensor.fill_value] = 0
        kept = measured[measured != sensor.fill_value]
        low, high = (float(kept.min()), float(kept.max())) if kept.size else (nan, nan)
    return ValueCounts(counts, True, low, high, pixels, not_finite, zero, fill, saturated)


def merge_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """Add up the counts of several rasters of one sensor; there must be at least one."""
    return reduce(_add, parts)


def _add(first: ValueCounts, second: ValueCounts) -> ValueCounts:
    return ValueCounts(
        counts=first.counts + second.counts,
        whole_numbers=first.whole_numbers,
        minimum=float(np.fmin(first.minimum, second.minimum)),
        maximum=float(np.fmax(first.maximum, second.maximum)),
        pixels=first.pixels + second.pixels,
        not_finite=first.not_finite + second.not_finite,
        zero=first.zero + second.zero,
        fill=first.fill + second.fill,
        saturated=first.saturated + second.saturated,
        rasters=first.rasters + second.rasters,
    )


def _count_of(counts: npt.NDArray[np.int64], value: int | None) -> int:
    return 0 if value is None else int(counts[value])


def _count_whole_numbers(values: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.int64]:
    if values.dtype != np.uint16:
        rounded = np.rint(values)
        if low < 0 or high > NUM_CODES - 1:
            rounded = rounded.clip(0, NUM_CODES - 1)
        values = rounded.astype(np.uint16)
    return np.bincount(values, minlength=NUM_CODES)


def _count_floats(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    halves = values.astype(np.float32, copy=False).view(np.uint32) >> 16
    counted = np.bincount(halves, minlength=NUM_CODES)
    # As bits, negative floats come after the positive ones and grow with their distance from zero.
    positive, negative = np.split(counted, 2)
    return np.concatenate([negative[::-1], positive])


def _float_of_code(code: int) -> float:
    half = NUM_CODES // 2
    bits = code - half if code >= half else NUM_CODES - 1 - code
    middle_of_bin = np.array(bits << 16 | 1 << 15, dtype=np.uint32)
    return float(middle_of_bin.view(np.float32))
