"""Array helpers of the scores: division and means that leave out what is undefined, and JSON values."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from esdseg.sensors.classes import CLASS_NAMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Divide elementwise; NaN where the denominator is 0."""
    top, bottom = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Mean over the last axis of the values that are not NaN; NaN where all of them are."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def json_number(value: float | FloatArray) -> float | None:
    """Return a single value as a number for JSON, ``None`` where it is not finite."""
    number = float(value)
    return number if np.isfinite(number) else None


def keyed_by_class(values: Sequence[float] | FloatArray) -> dict[str, JsonValue]:
    """Return one value a class as a dict by class name, ``None`` where a value is not finite."""
    return {name: json_number(value) for name, value in zip(CLASS_NAMES, values, strict=True)}


def json_rows(counts: npt.NDArray[np.integer]) -> JsonValue:
    """Return a matrix of counts as nested lists of whole numbers."""
    return [[int(count) for count in row] for row in counts]
