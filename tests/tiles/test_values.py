import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from esdseg.tiles.values import count_values, merge_counts
from tests.contest import get_sensor

FRACTIONS = (0.01, 0.25, 0.5, 0.99, 1.0)

whole = arrays(np.uint16, st.integers(1, 200), elements=st.integers(0, 65_533))
power = arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@settings(deadline=None)
@given(whole)
def test_quantiles_of_whole_numbers_are_exact(values: npt.NDArray[np.uint16]) -> None:
    counted = count_values(values, get_sensor("viirs"))
    for fraction in FRACTIONS:
        assert counted.quantile(fraction) == np.quantile(values, fraction, method="inverted_cdf")


@settings(deadline=None)
@given(power)
def test_quantiles_of_floats_are_within_half_a_code(values: npt.NDArray[np.float32]) -> None:
    counted = count_values(values, get_sensor("sentinel1"))
    for fraction in FRACTIONS:
        exact = np.quantile(values.astype(np.float64), fraction, method="inverted_cdf")
        assert counted.quantile(fraction) == pytest.approx(exact, rel=0.0040, abs=1e-30)


@settings(deadline=None)
@given(st.lists(whole, min_size=1, max_size=4))
def test_merged_counts_are_those_of_all_values(parts: list[npt.NDArray[np.uint16]]) -> None:
    sensor = get_sensor("sentinel2")
    merged = merge_counts(count_values(part, sensor) for part in parts)
    together = count_values(np.concatenate(parts), sensor)
    np.testing.assert_array_equal(merged.counts, together.counts)
    assert merged.to_json() == {**together.to_json(), "rasters": len(parts)}


def test_night_light_fill_is_counted_and_left_out_of_limits() -> None:
    values = np.array([0, 0, 5, 9, 65534, 65535, 65535, 65535], dtype=np.uint16)
    counted = count_values(values, get_sensor("viirs"))
    assert (counted.minimum, counted.maximum, counted.measured) == (0, 65534, 5)
    shares = counted.to_json()
    assert shares["zero_share"] == 2 / 8
    assert shares["fill_share"] == 3 / 8
    assert shares["saturated_share"] == 1 / 8
    assert shares["median"] == 5


def test_zero_is_fill_for_the_optical_sensors() -> None:
    counted = count_values(np.array([0, 7, 8, 65535], dtype=np.uint16), get_sensor("sentinel2"))
    assert (counted.zero, counted.fill, counted.saturated, counted.minimum) == (1, 1, 1, 7)


def test_numbers_of_landsat_are_counted_as_whole_ones() -> None:
    values = np.array([6379.0, 6379.4, 41377.0, 0.0, np.nan, -3.0, 70000.0], dtype=np.float32)
    counted = count_values(values, get_sensor("landsat8"))
    assert counted.counts[6379] == 2
    assert counted.not_finite == 1
    # What cannot be a number of the sensor is counted at the ends; -3 joins the fill value 0 there.
    assert (counted.zero, counted.saturated) == (2, 1)
    assert counted.maximum == 70000.0


def test_infinite_and_missing_power_is_not_finite() -> None:
    values = np.array([0.1, np.nan, np.inf, -np.inf, 0.0], dtype=np.float32)
    counted = count_values(values, get_sensor("sentinel1"))
    assert (counted.not_finite, counted.zero, counted.measured) == (3, 1, 2)
    assert counted.to_json()["nan_share"] == 3 / 5
    assert counted.maximum == np.float32(0.1)


@pytest.mark.parametrize(
    ("sensor", "values"),
    [
        ("viirs", np.full(9, 65535, dtype=np.uint16)),
        ("sentinel1", np.full(9, np.nan, dtype=np.float32)),
        ("landsat8", np.full(9, np.nan, dtype=np.float32)),
    ],
)
def test_a_raster_without_measurement_has_no_limits(sensor: str, values: np.ndarray) -> None:
    counted = count_values(values, get_sensor(sensor))
    assert counted.measured == 0
    assert not counted.is_constant
    limits = counted.to_json()
    assert [limits[key] for key in ("minimum", "p01", "median", "p99", "maximum")] == [None] * 5


def test_an_empty_raster_does_not_spoil_the_limits_of_others() -> None:
    sensor = get_sensor("sentinel1")
    full = count_values(np.array([0.25, 0.5], dtype=np.float32), sensor)
    empty = count_values(np.array([np.nan], dtype=np.float32), sensor)
    for order in ([full, empty], [empty, full]):
        merged = merge_counts(order)
        assert (merged.minimum, merged.maximum, merged.pixels) == (0.25, 0.5, 3)


def test_a_constant_raster_is_known() -> None:
    assert count_values(np.full(9, 4, dtype=np.uint16), get_sensor("viirs")).is_constant
    assert not count_values(np.array([4, 5], dtype=np.uint16), get_sensor("viirs")).is_constant
