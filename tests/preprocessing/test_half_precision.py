from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esdseg.preprocessing.conversions import Conversion, convert_to_half
from esdseg.preprocessing.tile_image import CONVERSIONS

ALL_NUMBERS = np.arange(1 << 16, dtype=np.uint16)


def converted(raw: npt.NDArray[Any], conversion: Conversion) -> npt.NDArray[np.uint16]:
    """The codes of the result, so that NaN and the sign of zero are compared too."""
    out = np.empty(raw.shape, np.float16)
    convert_to_half(raw, conversion, out)
    return out.view(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("sensor", ["viirs", "sentinel1", "sentinel2", "landsat8"])
def test_every_whole_number_becomes_what_the_conversion_makes_of_it(sensor: Any, dtype: type) -> None:
    raw: npt.NDArray[Any] = ALL_NUMBERS.astype(dtype).reshape(256, 256)
    expected = CONVERSIONS[sensor](raw).astype(np.float16)
    np.testing.assert_array_equal(converted(raw, CONVERSIONS[sensor]), expected.view(np.uint16))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sensor", ["sentinel1", "landsat8"])
@given(arrays(np.float32, (2, 3), elements=st.floats(-(2**18), 2**18, width=32) | st.just(np.nan)))
def test_other_numbers_are_converted_one_by_one(sensor: Any, raw: npt.NDArray[np.float32]) -> None:
    expected = CONVERSIONS[sensor](raw).astype(np.float16)
    np.testing.assert_array_equal(converted(raw, CONVERSIONS[sensor]), expected.view(np.uint16))


def test_a_single_fraction_among_whole_numbers_is_kept() -> None:
    raw = np.full((2, 2), 20_000, np.float32)
    raw[1, 1] = 20_000.5 * 1.01
    assert converted(raw, CONVERSIONS["landsat8"])[1, 1] != converted(raw, CONVERSIONS["landsat8"])[0, 0]
