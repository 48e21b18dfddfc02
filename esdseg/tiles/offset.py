"""Whether the values of newer products carry an offset, by their date and by their lowest values.

Sentinel-2's processing baseline 04.00 adds 1000 to every value, so that reflectances below zero can be told.
The description of sensors says from which date on. The date alone does not settle it: archives of older
images were processed again and carry the offset too, and some providers take it away ("harmonised" images).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from esdseg.config.preprocessing import ReflectanceOffset
from esdseg.sensors.sensors import Sensor, SensorTable
from esdseg.tiles.check_report import Note
from esdseg.tiles.reading import RasterArray, TileFileError

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
                f"{sensor.title} of {_listed(newer)}: products from {sensor.conversion.offset_since} on have "
                f"an offset of {sensor.offset:g} added to their values (here, the darkest band starts at "
                f"{darkest:.0f}). preprocess subtracts it.",
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
        f"{sensor.title} of {_listed(days)}: hardly a value lies below {sensor.offset:g}, as if an offset of "
        f"{sensor.offset:g} was added, which newer products have, and older ones that were processed again. "
        f"If so, preprocess with {SUBTRACT}."
    )


def subtracted_offsets(
    dates: Mapping[str, Sequence[date]], sensors: SensorTable, wanted: ReflectanceOffset
) -> Iterator[str]:
    """Yield a sentence a sensor on the dates from whose values preprocessing subtracts an offset."""
    for sensor in filter(changes_offset, sensors.all):
        days = [day for day in dates.get(sensor.name, ()) if subtracts_offset(sensor, day, wanted)]
        if days:
            yield (
                f"{sensor.title} of {_listed(days)}: the offset of {sensor.offset:g} was subtracted from the "
                "values."
            )


def _listed(days: Sequence[date]) -> str:
    return ", ".join(map(str, days))
