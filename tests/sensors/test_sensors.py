from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.loading import load_sensors
from esdseg.errors import ConfigError
from esdseg.sensors.sensors import CONTEST_FILE, RasterName, Sensor, SensorTable, contest_sensors
from tests.contest import SENSORS, get_sensor, parse_raster_name

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
    ("file_name", "sensor", "acquired", "band"),
    [
        ("S1C_IW_GRDH_20250804_VH.tif", "sentinel1", date(2025, 8, 4), "VH"),
        (
            "S1B_IW_GRDH_1SDV_20210512T031111_20210512T031136_026850_033509_A1B2_VV.tif",
            "sentinel1",
            date(2021, 5, 12),
            "VV",
        ),
        ("S1A_IW_20210512T031111_DVP_RTC10_G_gpuned_1F3A_VV.tif", "sentinel1", date(2021, 5, 12), "VV"),
        (
            "s1a-iw-grd-vh-20210512t031111-20210512t031136-037850-047799-002.tiff",
            "sentinel1",
            date(2021, 5, 12),
            "VH",
        ),
        ("T36LYH_20210512T074611_B04_10m.jp2", "sentinel2", date(2021, 5, 12), "B04"),
        ("T36LYH_20210512T074611_B8A.jp2", "sentinel2", date(2021, 5, 12), "B8A"),
        ("LC08_L1TP_169070_20210914_20210920_01_T1_B10.TIF", "landsat8", date(2021, 9, 14), "B10"),
        ("LC09_L1TP_169070_20220914_20220920_02_T1_B4.TIF", "landsat8", date(2022, 9, 14), "B4"),
        ("VNP46A2.A2021221.h21v10.001.2021234123456.tif", "viirs", date(2021, 8, 9), "DNB"),
        ("VJ146A1.A2021221.h21v10.002.2021234123456.tif", "viirs", date(2021, 8, 9), "DNB"),
    ],
)
def test_the_agencies_own_names_are_read(file_name: str, sensor: str, acquired: date, band: str) -> None:
    assert parse_raster_name(file_name) == RasterName(sensor, acquired, band)


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
        roles = [band.role for band in get_sensor(name).all_bands]
        assert [roles.count(color) for color in ("red", "green", "blue")] == [1, 1, 1]


def test_dates_are_in_order() -> None:
    for sensor in SENSORS:
        assert list(sensor.dates) == sorted(set(sensor.dates))


@pytest.mark.parametrize(("acquired", "has_offset"), [(date(2022, 1, 24), False), (date(2022, 1, 25), True)])
def test_sentinel2_has_an_offset_of_1000_from_25_january_2022_on(acquired: date, has_offset: bool) -> None:
    assert get_sensor("sentinel2").offset == 1000
    assert get_sensor("sentinel2").has_offset(acquired) is has_offset
    assert not any(sensor.has_offset(acquired) for sensor in SENSORS if sensor.name != "sentinel2")


OWN = """
title: One's own
sensors:
  planet:
    title: PlanetScope
    kind: optical
    files: [{name: "{date:%Y%m%d}_{version}_SR", bands: [B02, B04]}]
    dtypes: [uint16]
    conversion: {name: reflectance, scale: 10000, offset: -1000, offset_since: 2022-01-25}
    bands:
      B02: {native_size_m: 3, role: blue}
      B04: {native_size_m: 3, role: red}
"""


def described(folder: Path, text: str) -> SensorTable:
    (folder / "own.yml").write_text(text)
    return load_sensors(folder / "own.yml")


def test_a_file_describes_sensors(tmp_path: Path) -> None:
    table = described(tmp_path, OWN)
    assert table.names == ("planet",)
    assert table.read_file_name("20210512_081503_1_SR.tif") == (
        RasterName("planet", date(2021, 5, 12), "B02"),
        RasterName("planet", date(2021, 5, 12), "B04"),
    )
    assert table.read_file_name("L2A_20200816_B04.tif") == ()


@pytest.mark.parametrize("text", [OWN, CONTEST_FILE.read_text()])
def test_a_description_survives_as_json(text: str, tmp_path: Path) -> None:
    table = described(tmp_path, text)
    assert SensorTable.model_validate_json(table.model_dump_json()) == table
    assert (table == contest_sensors()) is (text != OWN)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "kind: optical",
            "knid: optical",
            r"own.yml:6:5: unknown key 'sensors.planet.knid'; did you mean 'sensors.planet.kind'",
        ),
        ("kind: optical", "kind: optic", r"own.yml:6:5: sensors.planet.kind = 'optic': should be 'optical'"),
        (
            "role: red",
            "rule: red",
            r"own.yml:12:31: unknown key 'sensors.planet.bands.B04.rule'; "
            r"did you mean 'sensors.planet.bands.B04.role'",
        ),
        (
            "B02, B04",
            "B02, B05",
            r"own.yml:4:3: sensors.planet: files: '.*' holds B05, which is none of the bands",
        ),
        ("%Y%m%d", "%Y%m", r"own.yml:7:\d+: sensors.planet.files.0.name: '%Y%m' does not say a day"),
        ("%Y%m%d", "%Y%m%d%Y", r"own.yml:7:\d+: .*'%Y%m%d%Y' holds %Y more than once; write each part"),
        ("{version}", "{orbit}", r"own.yml:7:\d+: .*holds {orbit}; a pattern knows {date:%Y%m%d}"),
        ("name: reflectance", "name: decibel", "the conversion decibel has no scale"),
        (
            "dtypes: [uint16]",
            "dtypes: [int16]\n    whole_numbers: true\n    fill_value: -9999",
            "fill_value -9999 is no whole number from 0 to 65535; correct it, or leave whole_numbers out",
        ),
        (
            "dtypes: [uint16]",
            "dtypes: [uint16]\n    whole_numbers: true\n    saturated_value: 65536",
            "saturated_value 65536 is no whole number",
        ),
        ("planet:", "my_planet:", "a sensor cannot be called 'my_planet'"),
        (", bands: [B02, B04]", "", "does not say which of 2 bands a file holds"),
    ],
)
def test_mistakes_in_a_description_are_told_with_their_place(
    right: str, wrong: str, message: str, tmp_path: Path
) -> None:
    assert right in OWN
    with pytest.raises(ConfigError, match=message):
        described(tmp_path, OWN.replace(right, wrong))
