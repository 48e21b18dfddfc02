from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from esdseg.sample.dates import contest_dates
from esdseg.sample.night_lights import GLITCH_VALUES, NATIVE_HEIGHT_PX, NATIVE_WIDTH_PX
from esdseg.sample.tile import SampleTile, generate_tile
from esdseg.sensors.sensors import Sensor
from tests.contest import SENSORS, get_sensor

REAL_LABELS_NUMBER = 4
"""A tile of seed 0 with a large town, so that all classes occur."""

NO_DATES: dict[str, tuple[()]] = dict.fromkeys(contest_dates(), ())

QUANTILES = (0.25, 0.5, 0.75, 0.98)

SUMS = {"viirs": 35432769.0, "sentinel1": 296279.5695, "sentinel2": 66111204244.0, "landsat8": 306551032808.0}
"""Sum of all values of a sensor in that tile."""


@pytest.fixture(scope="module")
def tile() -> SampleTile:
    return generate_tile(0, REAL_LABELS_NUMBER)


@pytest.fixture(scope="module")
def dark_tile() -> SampleTile:
    dark = next(number for number in (2, 3) if np.all(generate_tile(0, number, NO_DATES).labels <= 2))
    return generate_tile(0, dark)


def _read(folder: Path, sensor: Sensor, band: str) -> list[npt.NDArray[np.float64]]:
    rasters = []
    for acquired in sensor.dates:
        with rasterio.open(folder / sensor.file_name(acquired, band)) as file:
            rasters.append(file.read(1).astype(np.float64))
    return rasters


def test_every_raster_is_there_in_its_sensors_type(tile: SampleTile) -> None:
    expected = {(s.name, day, band): s.dtypes[0] for s in SENSORS for day in s.dates for band in s.band_names}
    assert {key: raster.dtype.name for key, raster in tile.rasters.items()} == expected
    assert len(tile.rasters) == 98
    assert {raster.shape for raster in tile.rasters.values()} == {(800, 800)}
    assert tile.labels.shape == (16, 16)
    assert tile.labels.dtype == np.uint16


def test_a_tile_is_the_same_whenever_it_is_made(tile: SampleTile) -> None:
    """Whatever else is made: with fewer dates, its first dates are the same."""
    again = generate_tile(0, REAL_LABELS_NUMBER, {name: days[:1] for name, days in contest_dates().items()})
    np.testing.assert_array_equal(again.labels, tile.labels)
    for key, raster in again.rasters.items():
        np.testing.assert_array_equal(raster, tile.rasters[key])


def test_a_tile_of_a_seed_stays_what_it_was(tile: SampleTile) -> None:
    # Scores that were published are of these tiles; raise GENERATOR_VERSION to change them.
    assert np.bincount(tile.labels.ravel()).tolist() == [0, 129, 38, 70, 19]
    sums = dict.fromkeys((sensor.name for sensor in SENSORS), 0.0)
    for (sensor, _, _), raster in tile.rasters.items():
        sums[sensor] += float(raster.sum(dtype=np.float64))
    assert sums == pytest.approx(SUMS, rel=1e-6)


def test_tiles_and_seeds_differ(tile: SampleTile) -> None:
    key = ("sentinel2", get_sensor("sentinel2").dates[0], "B02")
    dates = {**NO_DATES, "sentinel2": contest_dates()["sentinel2"][:1]}
    for seed, number in ((0, REAL_LABELS_NUMBER + 1), (1, REAL_LABELS_NUMBER)):
        other = generate_tile(seed, number, dates)
        assert np.mean(other.rasters[key] == tile.rasters[key]) < 0.05


def test_all_classes_occur_in_a_tile_with_a_town(tile: SampleTile) -> None:
    assert set(np.unique(tile.labels)) == {1, 2, 3, 4}


def test_values_lie_where_those_of_the_real_tile_lie(dark_tile: SampleTile, real_tile: Path) -> None:
    for sensor in SENSORS:
        for band in sensor.band_names:
            real = _read(real_tile, sensor, band)
            made = [dark_tile.rasters[sensor.name, day, band] for day in sensor.dates]
            for day, there, here in zip(sensor.dates, real, made, strict=True):
                place = f"{sensor.name} {day} {band}"
                # Every third row and column has the same quantiles.
                low, median, high, top = np.quantile(there[::3, ::3], QUANTILES)
                made_low, made_median, made_high, made_top = np.quantile(here[::3, ::3], QUANTILES)
                if sensor.name == "viirs":
                    assert abs(made_median - median) <= 1, place
                    assert made_top <= top + 2, place
                    continue
                assert made_median == pytest.approx(median, rel=0.35), place
                assert 0.4 * (high - low) < made_high - made_low < 2.5 * (high - low), place
                assert here.max() < 2.5 * there.max(), place


def test_sentinel1_levels_are_those_of_the_real_tile(dark_tile: SampleTile, real_tile: Path) -> None:
    sensor = get_sensor("sentinel1")
    for band in sensor.band_names:
        there = np.mean(10 * np.log10(_read(real_tile, sensor, band)))
        here = np.mean([10 * np.log10(dark_tile.rasters["sentinel1", day, band]) for day in sensor.dates])
        assert here == pytest.approx(there, abs=1.5)


def test_clear_dates_agree_and_cloudy_dates_do_not(tile: SampleTile) -> None:
    rasters = [tile.rasters["sentinel2", day, "B04"].ravel() for day in get_sensor("sentinel2").dates]
    assert np.corrcoef(rasters[0], rasters[1])[0, 1] > 0.9
    assert abs(np.corrcoef(rasters[1], rasters[3])[0, 1]) < 0.6
    assert rasters[3].max() > 6000
    assert rasters[3].min() < 300


def test_part_of_the_first_row_is_no_data_in_the_60_m_bands_alone(tile: SampleTile) -> None:
    for (sensor, _, band), raster in tile.rasters.items():
        if sensor == "sentinel2":
            zeros = np.argwhere(raster == 0)
            assert (len(zeros) > 100) == (band in ("B01", "B09"))
            assert np.all(zeros[:, 0] == 0)


def test_landsat_holds_whole_numbers(tile: SampleTile) -> None:
    for (sensor, _, _), raster in tile.rasters.items():
        if sensor == "landsat8":
            np.testing.assert_array_equal(raster, np.rint(raster))


@pytest.mark.parametrize(
    ("sensor", "band", "change"),
    [
        # Share of neighbouring pixels that differ, measured on a real tile.
        ("sentinel1", "VV", 0.97),
        ("sentinel2", "B04", 0.96),
        ("sentinel2", "B11", 0.485),
        ("sentinel2", "B01", 0.159),
        ("landsat8", "B4", 0.325),
        ("landsat8", "B8", 0.647),
    ],
)
def test_native_pixels_show_as_blocks(tile: SampleTile, sensor: str, band: str, change: float) -> None:
    day = get_sensor(sensor).dates[1]
    raster = tile.rasters[sensor, day, band].astype(np.float64)
    for axis in (0, 1):
        assert np.mean(np.diff(raster, axis=axis) != 0) == pytest.approx(change, abs=0.02)


def test_viirs_cells_have_their_native_size_off_the_label_grid(tile: SampleTile) -> None:
    stack = np.stack([raster for (sensor, _, _), raster in tile.rasters.items() if sensor == "viirs"])
    for axis, size in ((1, NATIVE_HEIGHT_PX), (2, NATIVE_WIDTH_PX)):
        changed = np.diff(stack.astype(np.int64), axis=axis).any(axis=(0, 3 - axis))
        edges = np.flatnonzero(changed) + 1
        assert np.diff(edges).mean() == pytest.approx(size, abs=0.5)
        assert np.count_nonzero(edges % 50 == 0) <= 2


def test_moonlight_and_glitches_of_the_nights(dark_tile: SampleTile) -> None:
    nights = [dark_tile.rasters["viirs", day, "DNB"] for day in get_sensor("viirs").dates]
    assert np.quantile(nights[0], 0.02) >= 7
    assert nights[0].max() <= 17
    for index, night in enumerate(nights[1:], start=1):
        glitches = np.isin(night, GLITCH_VALUES)
        assert (0.001 < glitches.mean() < 0.02) if index == 5 else not glitches.any()
        assert night[~glitches].max() <= 7


def test_lit_cells_are_brighter_at_night_than_dark_ones(tile: SampleTile) -> None:
    nights = np.stack([tile.rasters["viirs", day, "DNB"] for day in get_sensor("viirs").dates[1:]])
    cells = np.median(nights, axis=0).reshape(16, 50, 16, 50).mean(axis=(1, 3))
    assert np.median(cells[tile.labels == 3]) > 8 * np.median(cells[tile.labels <= 2])
    assert cells[tile.labels == 3].min() > np.median(cells[tile.labels <= 2])


def test_roofs_are_bright_points_in_blue_and_echoes_in_radar(tile: SampleTile) -> None:
    buildings = tile.settlements.buildings
    metal = buildings.material == 0
    row, column = (np.floor(value[metal]).astype(int) for value in (buildings.row, buildings.column))
    blue = tile.rasters["sentinel2", get_sensor("sentinel2").dates[1], "B02"].astype(float)
    power = np.mean([tile.rasters["sentinel1", day, "VV"] for day in get_sensor("sentinel1").dates], axis=0)
    assert np.median(blue[row, column]) > np.median(blue) + 300
    assert np.median(power[row, column]) > 1.4 * np.median(power)
