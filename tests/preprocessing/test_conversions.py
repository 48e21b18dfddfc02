"""Conversions of each sensor against values worked by hand, and their rounding to half precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esdseg.config.preprocessing import Recipe
from esdseg.preprocessing import conversions
from esdseg.preprocessing.conversions import (
    Conversion,
    convert_to_half,
    to_decibels,
)
from esdseg.sensors.channels import layer_table
from esdseg.sensors.sensors import RasterName, SensorTable
from tests.contest import SENSORS

CONVERSIONS = {sensor.name: Conversion.of(sensor, None) for sensor in SENSORS}

nights = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.just(3), st.just(2)),
    elements=st.one_of(st.integers(0, 250).map(float), st.just(np.nan)),
)
Nights = npt.NDArray[np.float32]


def dark_nights() -> Nights:
    """Nine nights like those of the contest's Tile1: the first moonlit, the others 0 to 5."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 6, (9, 40, 40)).astype(np.float32)
    numbers[0] = rng.integers(9, 16, (40, 40))
    return numbers


@pytest.mark.parametrize("value", [75, 110, 222])
def test_a_flash_that_fills_a_native_cell_on_one_night_is_a_glitch(value: float) -> None:
    numbers = dark_nights()
    numbers[5, 10:30, 10:30] = value
    expected = np.zeros(numbers.shape, bool)
    expected[5, 10:30, 10:30] = True
    np.testing.assert_array_equal(conversions.find_glitches(numbers), expected)
    cleaned = conversions.remove_glitches(numbers)
    assert np.isnan(cleaned[expected]).all()
    np.testing.assert_array_equal(cleaned[~expected], numbers[~expected])


def test_nights_without_flashes_have_no_glitches() -> None:
    assert not conversions.find_glitches(dark_nights()).any()


def test_a_town_that_is_lit_on_several_nights_stays() -> None:
    numbers = dark_nights()
    numbers[:, 5:15, 5:15] = np.array([90, 70, 20, 65, 80, 222, 30, 75, 60])[:, None, None]
    assert not conversions.find_glitches(numbers).any()


def test_a_moonlit_night_alone_is_no_glitch() -> None:
    numbers = dark_nights()
    numbers[0] += 100
    assert not conversions.find_glitches(numbers).any()


def test_two_nights_cannot_tell_a_glitch() -> None:
    numbers = np.zeros((2, 4, 4), np.float32)
    numbers[0, 0, 0] = 200
    assert not conversions.find_glitches(numbers).any()
    three = np.concatenate([numbers, np.full((1, 4, 4), np.nan, np.float32)])
    assert not conversions.find_glitches(three).any()
    three[2] = 0
    assert conversions.find_glitches(three)[0, 0, 0]


def test_fill_value_is_no_data() -> None:
    numbers = conversions.to_floats(np.array([0, 12, 65_535], np.uint16), 65_535)
    np.testing.assert_array_equal(numbers, [0, 12, np.nan])


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@given(nights)
def test_projections_are_those_of_numpy_over_the_nights_with_data(numbers: Nights) -> None:
    np.testing.assert_array_equal(conversions.project_max(numbers), np.nanmax(numbers, axis=0))
    np.testing.assert_array_equal(conversions.project_median(numbers), np.nanmedian(numbers, axis=0))


@given(nights, st.integers(1, 4), st.integers(1, 4))
def test_the_median_of_large_native_cells_is_that_of_their_pixels(
    numbers: Nights, height: int, width: int
) -> None:
    pixels = numbers.repeat(height, axis=1).repeat(width, axis=2)
    expected = conversions.project_median(numbers).repeat(height, axis=0).repeat(width, axis=1)
    np.testing.assert_array_equal(conversions.project_median(pixels), expected)


@given(nights)
def test_glitches_are_those_of_a_pixel_by_pixel_search(numbers: Nights) -> None:
    medians = [np.median(night[~np.isnan(night)]) if (~np.isnan(night)).any() else 0 for night in numbers]
    expected = np.zeros(numbers.shape, bool)
    for row, column in np.ndindex(numbers.shape[1:]):
        above = {d: float(numbers[d, row, column]) - medians[d] for d in range(len(numbers))}
        known = sorted((value, -d) for d, value in above.items() if not np.isnan(value))
        if len(known) >= conversions.MIN_DATES_FOR_GLITCHES:
            (peak, night), second = known[-1], max(known[-2][0], 0)
            expected[-night, row, column] = (
                peak > conversions.GLITCH_MARGIN + conversions.GLITCH_RATIO * second
            )
    np.testing.assert_array_equal(conversions.find_glitches(numbers), expected)


def test_log_radiance_of_known_numbers() -> None:
    numbers = np.array([0, np.e - 1, np.nan], np.float32)
    np.testing.assert_allclose(conversions.to_log_radiance(numbers), [0, 1, np.nan], rtol=1e-6)


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
    reflectance = CONVERSIONS["sentinel2"](np.array([0, 1, 600, 10_000, 15_928], np.uint16))
    assert reflectance.dtype == np.float32
    np.testing.assert_allclose(reflectance, [np.nan, 0.0001, 0.06, 1.0, 1.5928], rtol=1e-6)


def test_landsat_is_a_ten_thousandth_and_what_is_no_16_bit_number_is_no_data() -> None:
    numbers = np.array([0, -5, 65_536, np.nan, np.inf, 5005, 34_941, 65_535], np.float32)
    scaled = CONVERSIONS["landsat8"](numbers)
    assert scaled.dtype == np.float32
    expected = [np.nan] * 5 + [0.5005, 3.4941, 6.5535]
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_half_precision_keeps_landsat_to_the_promised_step() -> None:
    numbers = np.arange(20_000, 40_000, dtype=np.float32)
    stored = CONVERSIONS["landsat8"](numbers).astype(np.float16).astype(np.float64) * 10_000
    assert np.abs(stored - numbers).max() <= 10


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


@pytest.mark.parametrize(
    ("conversion", "raw", "expected"),
    [
        ("log1p", (0.5, 2.0, 900.0), (0.5, 2.0, 900.0)),
        ("none", (0.5, 2.0, 900.0), (0.5, 2.0, 900.0)),
        ({"name": "digital_number", "scale": 100}, (5.0, 50.0, 200.0), (5.0, 50.0, 200.0)),
    ],
)
def test_the_light_of_a_night_is_its_median_number_whatever_is_stored(
    conversion: object, raw: Sequence[float], expected: Sequence[float]
) -> None:
    night_light = {
        "title": "Light",
        "kind": "night_light",
        "files": ["L_{date:%Y%m%d}_{band}"],
        "dtypes": ["float32"],
        "conversion": conversion,
        "bands": {"DNB": {"native_size_m": 500}},
    }
    table = SensorTable.model_validate({"sensors": {"light": night_light}})
    days = [date(2023, 1, 1 + number) for number in range(len(raw))]
    nights = InMemory(
        table, {RasterName("light", day, "DNB"): value for day, value in zip(days, raw, strict=True)}
    )
    converter = conversions.LayerConverter(nights, Recipe())
    values = np.empty((50, 50), np.float16)
    for layer in layer_table({"light": days}, table):
        converter.convert(layer, values)
        converter.measure(layer, values)

    found = [acquisition.light for acquisition in converter.acquisitions({"light": days})]

    np.testing.assert_allclose(np.array(found, float), np.array(expected), rtol=5e-3, atol=0.26)


@dataclass(frozen=True)
class InMemory:
    """Rasters of one value each."""

    sensors: SensorTable
    values: Mapping[RasterName, float]

    @property
    def names(self) -> tuple[RasterName, ...]:
        return tuple(self.values)

    def read(self, name: RasterName) -> npt.NDArray[np.float32]:
        return np.full((50, 50), self.values[name], np.float32)

    def path(self, name: RasterName) -> Path:
        return Path(f"{name.band}.tif")
