"""From raw numbers to physical values in half precision, by a table where the numbers are whole."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from esdseg.store.statistics import HalfArray

Conversion = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
"""From raw values to physical ones, each by itself."""

_ALL_NUMBERS = np.arange(1 << 16, dtype=np.uint16)


def convert_to_half(raw: npt.NDArray[Any], conversion: Conversion, out: HalfArray) -> None:
    """Convert raw values and round them to half precision.

    Rounding a float takes longer than looking it up, and most rasters hold 16-bit numbers, some of them as
    floats: those are converted by a table of all such numbers. The result is the same, bit by bit.

    Args:
        raw: Raw values, any shape.
        conversion: A function at the top of a module.
        out: Where the result goes, same shape.
    """
    numbers = _whole_numbers(raw)
    if numbers is None:
        out[...] = conversion(raw)
    else:
        # Sixteen bits never lie outside the table; "clip" alone writes to `out` without another copy.
        np.take(_table(conversion, raw.dtype), numbers, out=out, mode="clip")


def _whole_numbers(raw: npt.NDArray[Any]) -> npt.NDArray[np.uint16] | None:
    """Return values that are all whole numbers from 0 to 65535 as such, else ``None``."""
    if raw.dtype == np.uint16:
        return raw
    # What is no such number comes back as another one, and is told by that.
    with np.errstate(invalid="ignore"):
        numbers = raw.astype(np.uint16)
    return numbers if np.array_equal(numbers, raw) else None


@lru_cache
def _table(conversion: Conversion, dtype: np.dtype[Any]) -> HalfArray:
    return conversion(_ALL_NUMBERS.astype(dtype)).astype(np.float16)
