from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.sensors.sensors import SENSORS, RasterName, Sensor, get_sensor, parse_raster_name

CONTEST_NAMES = [
    ("DNB_VNP46A1_A2020221.tif", RasterName("viirs", date(2020, 8, 8), "DNB")),
    ("S1A_IW_GRDH_20200804_VV.tif", RasterName("sentinel1", date(2020, 8, 4), "VV")),
    ("L2A_20200816_B8A.tif", RasterName("sentinel2", date(2020, 8, 16), "B8A")),
    ("LC08_L1TP_2020-08-30_B9.tif", RasterName("landsat8", date(2020, 8, 30), "B9")),
    ("LC08_L1TP_2020-08-30_B11.tif", RasterName("landsat8", date(2020, 8, 30), "B11")),
]


@pytest.mark.parametrize(("file_name", "expected"), CONTEST_NAMES)
def test_contest_names_are_read(file_name: str, expected: RasterName) -> None:
    assert parse_raster_name(file_name) == expected
    assert get_sensor(expected.sensor).file_name(expected.acquired, expected.band) == file_name


@given(
    sensor=st.sampled_from(SENSORS),
    acquired=st.dates(date(1972, 1, 1), date(2099, 12, 31)),
    data=st.data(),
)
def test_parsing_inverts_naming(sensor: Sensor, acquired: date, data: st.DataObject) -> None:
    band = data.draw(st.sampled_from(sensor.band_names))
    assert parse_raster_name(sensor.file_name(acquired, band)) == RasterName(sensor.name, acquired, band)


@pytest.mark.parametrize(
    "file_name",
    ["l2a_20200816_b8a.TIF", "L2A_20200816_B8A.tiff", "L2A_20200816_B8A.TIFF", "L2A_20200816_b8A.tif"],
)
def test_case_and_long_ending_do_not_matter(file_name: str) -> None:
    assert parse_raster_name(file_name) == RasterName("sentinel2", date(2020, 8, 16), "B8A")


@pytest.mark.parametrize(
    "file_name",
    [
        "groundTruth.tif",
        "L2A_20200816_B10.tif",
        "L2A_2020816_B02.tif",
        "L2A_20201316_B02.tif",
        "L2A_20200816_B02.tif.aux.xml",
        "L2A_20200816_B02 (1).tif",
        "LC08_L1TP_2020-8-30_B9.tif",
        "LC08_L1TP_2020-08-30_B09.tif",
        "DNB_VNP46A1_A2020400.tif",
        "S1A_IW_GRDH_20200804_HH.tif",
        "._L2A_20200816_B02.tif",
        "L2A_٢٠٢٠٠٨١٦_B02.tif",
        "",
    ],
)
def test_other_names_are_no_rasters(file_name: str) -> None:
    assert parse_raster_name(file_name) is None


def test_the_contest_has_98_rasters_a_tile() -> None:
    sizes = {sensor.name: (len(sensor.dates), len(sensor.bands)) for sensor in SENSORS}
    assert sizes == {"viirs": (9, 1), "sentinel1": (4, 2), "sentinel2": (4, 12), "landsat8": (3, 11)}
    assert sum(dates * bands for dates, bands in sizes.values()) == 98


def test_bands_are_in_the_order_of_the_sensor_not_of_the_alphabet() -> None:
    assert get_sensor("landsat8").band_names == tuple(f"B{number}" for number in range(1, 12))
    assert get_sensor("sentinel2").band_names == (
        *(f"B0{number}" for number in range(1, 9)),
        "B8A",
        "B09",
        "B11",
        "B12",
    )


def test_every_optical_sensor_has_one_band_of_each_colour() -> None:
    for name in ("sentinel2", "landsat8"):
        roles = [band.role for band in get_sensor(name).bands]
        assert [roles.count(color) for color in ("red", "green", "blue")] == [1, 1, 1]


def test_dates_are_in_order() -> None:
    for sensor in SENSORS:
        assert list(sensor.dates) == sorted(set(sensor.dates))


@pytest.mark.parametrize(("acquired", "has_offset"), [(date(2022, 1, 24), False), (date(2022, 1, 25), True)])
def test_sentinel2_has_an_offset_of_1000_from_25_january_2022_on(acquired: date, has_offset: bool) -> None:
    assert get_sensor("sentinel2").offset == 1000
    assert get_sensor("sentinel2").has_offset(acquired) is has_offset
    assert not any(sensor.has_offset(acquired) for sensor in SENSORS if sensor.name != "sentinel2")
