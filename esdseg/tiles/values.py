"""The values of rasters: counted, and whether those of newer products carry an offset.

Sentinel-2's processing baseline 04.00 adds 1000 to every value, so that reflectances below zero can be told.
The description of sensors says from which date on. The date alone does not settle it: archives of older
images were processed again and carry the offset too, and some providers take it away ("harmonised" images).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esdseg.config.preprocessing import ReflectanceOffset
from esdseg.sensors.sensors import Sensor, SensorTable
from esdseg.tiles.problems import Note
from esdseg.tiles.reading import RasterArray, TileFileError

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
        values: Raw values of the sensor, any shape, of one of its types. Where the sensor's are whole
            numbers, others are rounded and those beyond 0 to 65 535 are counted at the ends.
        sensor: Row of the sensor table that says how to read them.
    """
    pixels = values.size
    finite = values.ravel()
    if finite.dtype.kind == "f" and not (is_finite := np.isfinite(finite)).all():
        finite = finite[is_finite]
    not_finite = pixels - finite.size
    kept = finite if sensor.fill_value is None else finite[finite != sensor.fill_value]
    low, high = (float(kept.min()), float(kept.max())) if kept.size else (nan, nan)
    if not sensor.whole_numbers:
        zero, fill = finite.size - int(np.count_nonzero(finite)), finite.size - kept.size
        is_saturated = finite == (nan if sensor.saturated_value is None else sensor.saturated_value)
        saturated = int(np.count_nonzero(is_saturated))
        return ValueCounts(_count_floats(kept), False, low, high, pixels, not_finite, zero, fill, saturated)
    counts = _count_whole_numbers(finite)
    zero, saturated = int(counts[0]), _count_of(counts, sensor.saturated_value)
    fill = _count_of(counts, sensor.fill_value)
    if sensor.fill_value is not None:
        counts[sensor.fill_value] = 0
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


def _count_whole_numbers(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    if values.dtype != np.uint16:
        values = np.rint(values).clip(0, NUM_CODES - 1).astype(np.uint16)
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


LOWEST_SHARE = 0.01
"""Share of the lowest pixels that is set aside: shadows, borders and faults of single pixels."""

LOWEST_REFLECTANCE = -0.01
"""Values that stand for less, as dark water hardly does, do not carry the offset."""

KEEP = "--reflectance-offset keep"
SUBTRACT = "--reflectance-offset subtract"


def changes_offset(sensor: Sensor) -> bool:
    """Return whether newer products of a sensor have an offset and older ones have none."""
    return sensor.conversion.offset_since is not None


def subtracts_offset(sensor: Sensor, acquired: date, wanted: ReflectanceOffset) -> bool:
    """Return whether preprocessing subtracts the offset from the values of a date."""
    if not changes_offset(sensor) or wanted == "by_date":
        return sensor.has_offset(acquired)
    return wanted == "subtract"


def missing_offset(path: Path, values: RasterArray, sensor: Sensor, acquired: date) -> TileFileError | None:
    """Return an error for a raster that by its date should carry an offset, and by its values does not.

    Args:
        path: The raster's file.
        values: Its raw values; the fill value is no data.
        sensor: Its sensor.
        acquired: Its date.

    Returns:
        ``None`` unless more than :data:`LOWEST_SHARE` of the values lie below what the offset allows.
    """
    if not (changes_offset(sensor) and sensor.has_offset(acquired)):
        return None
    lowest = sensor.offset + LOWEST_REFLECTANCE * sensor.conversion.scale
    measured = values != sensor.fill_value
    if np.count_nonzero(measured & (values < lowest)) <= LOWEST_SHARE * np.count_nonzero(measured):
        return None
    return TileFileError(
        path,
        "offset",
        f"Products of its date have an offset of {sensor.offset:g} added to their values. More than "
        f"{LOWEST_SHARE:.0%} of its values lie below {lowest:g}, so the offset seems to be gone already.",
        f"If it is, preprocess with {KEEP}, which subtracts nothing.",
    )


def offset_notes(
    lowest_values: Sequence[Mapping[tuple[str, date], float]], sensors: SensorTable
) -> Iterator[Note]:
    """Yield which dates carry an offset, and which seem to in spite of their date.

    Args:
        lowest_values: Of each tile, the 1 % quantile of the darkest band, by sensor and date.
        sensors: The sensors.
    """
    lowest: dict[tuple[str, date], list[float]] = {}
    for of_tile in lowest_values:
        for key, value in of_tile.items():
            lowest.setdefault(key, []).append(value)
    for sensor in filter(changes_offset, sensors.all):
        days = sorted(day for name, day in lowest if name == sensor.name)
        newer = [day for day in days if sensor.has_offset(day)]
        if newer:
            darkest = min(min(lowest[sensor.name, day]) for day in newer)
            yield Note(
                None,
                None,
                f"{sensor.title} of {', '.join(map(str, newer))}: products from "
                f"{sensor.conversion.offset_since} on have an offset of {sensor.offset:g} added to "
                f"their values (here, the darkest band starts at {darkest:.0f}). preprocess subtracts it.",
            )
        bright = [
            day
            for day in days
            if not sensor.has_offset(day) and np.median(lowest[sensor.name, day]) >= sensor.offset
        ]
        if bright:
            yield Note(None, None, suspected_offset(sensor, bright))


def suspected_offset(sensor: Sensor, days: Sequence[date]) -> str:
    """Say that older products seem to have an offset, and what to do about it."""
    return (
        f"{sensor.title} of {', '.join(map(str, days))}: hardly a value lies below {sensor.offset:g}, as "
        f"if an offset of {sensor.offset:g} was added, which newer products have, and older ones that were "
        f"processed again. If so, preprocess with {SUBTRACT}."
    )


def subtracted_offsets(
    dates: Mapping[str, Sequence[date]], sensors: SensorTable, wanted: ReflectanceOffset
) -> Iterator[str]:
    """Yield a sentence a sensor on the dates from whose values preprocessing subtracts an offset."""
    for sensor in filter(changes_offset, sensors.all):
        days = [day for day in dates.get(sensor.name, ()) if subtracts_offset(sensor, day, wanted)]
        if days:
            yield (
                f"{sensor.title} of {', '.join(map(str, days))}: the offset of {sensor.offset:g} was "
                "subtracted from the values."
            )
