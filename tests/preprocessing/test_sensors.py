"""Conversions of Sentinel-1, Sentinel-2 and Landsat-8, each against values worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esdseg.preprocessing.conversions import to_decibels, to_reflectance, to_scaled_numbers


def test_decibels_of_known_powers() -> None:
    power = np.array([1, 10, 0.01, 0.5], np.float32)
    np.testing.assert_allclose(to_decibels(power), [0, 10, -20, -3.0103], rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_decibels_of_zero_negative_and_unknown_power_are_no_data_there_alone() -> None:
    power = np.array([[0, -1, np.nan], [np.inf, 1, 100]], np.float32)
    # NaN must be in the same places; the logarithms of processors differ in the last digit.
    np.testing.assert_allclose(to_decibels(power), [[np.nan, np.nan, np.nan], [np.nan, 0, 20]], rtol=1e-6)


@given(arrays(np.float32, (3, 4), elements=st.floats(2**-20, 2**10, width=32)))
def test_decibels_turn_back_into_power(power: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    np.testing.assert_allclose(10 ** (to_decibels(power).astype(float) / 10), power, rtol=1e-4)


def test_reflectance_is_a_ten_thousandth_and_0_is_no_data() -> None:
    reflectance = to_reflectance(np.array([0, 1, 600, 10_000, 15_928], np.uint16))
    assert reflectance.dtype == np.float32
    np.testing.assert_allclose(reflectance, [np.nan, 0.0001, 0.06, 1.0, 1.5928], rtol=1e-6)


def test_landsat_is_a_ten_thousandth_and_what_is_no_16_bit_number_is_no_data() -> None:
    numbers = np.array([0, -5, 65_536, np.nan, np.inf, 5005, 34_941, 65_535], np.float32)
    scaled = to_scaled_numbers(numbers)
    assert scaled.dtype == np.float32
    expected = [np.nan] * 5 + [0.5005, 3.4941, 6.5535]
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_half_precision_keeps_landsat_to_the_promised_step() -> None:
    numbers = np.arange(20_000, 40_000, dtype=np.float32)
    stored = to_scaled_numbers(numbers).astype(np.float16).astype(np.float64) * 10_000
    assert np.abs(stored - numbers).max() <= 10
