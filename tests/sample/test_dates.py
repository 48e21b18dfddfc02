from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from esdseg.errors import ConfigError, UsageError
from esdseg.sample.dates import (
    LOOKS,
    RANDOM_COUNTS,
    add_product_offset,
    contest_dates,
    load_dates,
    random_dates,
)
from esdseg.sample.tile import generate_tile
from esdseg.sample.writing import write_sample_tiles
from esdseg.tiles.checking import check_tile
from esdseg.tiles.discovery import find_tiles
from tests.contest import get_sensor

FILE = """
viirs: [2021-07-01, 2021-07-03, {date: 2021-07-24, sky: moonlit}]
sentinel1: [2021-07-05]
sentinel2:
  - {date: 2021-07-13, sky: cloudy}
  - 2021-07-03
  - {date: 2021-07-08}
landsat8: []
"""


def test_the_contests_dates_are_the_default() -> None:
    dates = contest_dates()
    assert [day.acquired for day in dates["viirs"]] == list(get_sensor("viirs").dates)
    assert [day.look for day in dates["sentinel2"]] == [0, 1, 2, 3]


def test_random_dates_differ_between_tiles_in_number_and_sky_and_come_again() -> None:
    drawn = [random_dates(0, number) for number in range(1, 49)]
    assert drawn == [random_dates(0, number) for number in range(1, 49)]
    for name, (fewest, most) in RANDOM_COUNTS.items():
        counts = {len(dates[name]) for dates in drawn}
        assert counts == set(range(fewest, most + 1))
        days = [day.acquired for dates in drawn for day in dates[name]]
        assert {day.year for day in days} == {2021}
        assert all(list(dates[name]) == sorted(dates[name], key=lambda day: day.acquired) for dates in drawn)
        assert {day.look for dates in drawn for day in dates[name]} == {
            look for looks in LOOKS[name].values() for look in looks
        }
    first_is_cloudy = [dates["sentinel2"][0].look in LOOKS["sentinel2"]["cloudy"] for dates in drawn]
    assert 12 < sum(first_is_cloudy) < 36, "any date may be the cloudy one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sentinel3: []\n", r"dates.yml:1:1: unknown key 'sentinel3'; did you mean 'sentinel[12]'"),
        ("sentinel2: [{date: 2021-07-03, sky: rainy}]\n", r"dates.yml:1:\d+: sentinel2.0.sky = 'rainy'"),
    ],
)
def test_mistakes_in_a_file_of_dates_are_told_with_their_place(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "dates.yml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_dates(tmp_path / "dates.yml")


def test_a_tile_has_the_dates_of_a_file_and_its_clouds_are_told(tmp_path: Path) -> None:
    (tmp_path / "dates.yml").write_text(FILE)
    settings = {"tiles": 1, "seed": 0, "crs": False, "workers": 1}
    write_sample_tiles(tmp_path / "raw", **settings, dates=tmp_path / "dates.yml")  # type: ignore[arg-type]
    (tile,) = find_tiles(tmp_path / "raw")
    assert tile.dates("sentinel2") == (date(2021, 7, 3), date(2021, 7, 8), date(2021, 7, 13))
    assert (len(tile.dates("viirs")), tile.dates("sentinel1")) == (3, (date(2021, 7, 5),))
    assert tile.dates("landsat8") == ()
    found = check_tile(tile).report.acquisitions
    clouds = [one.cloud_share for one in found if one.sensor == "sentinel2"]
    assert clouds[2] is not None
    assert clouds[2] > 0.03 > max(clouds[0] or 0, clouds[1] or 0)
    light = [one.light for one in found if one.sensor == "viirs"]
    assert light[2] is not None
    assert light[2] > 5 > max(light[0] or 0, light[1] or 0)
    with pytest.raises(UsageError, match="dates contest"):
        write_sample_tiles(tmp_path / "raw", **settings)  # type: ignore[arg-type]


def test_the_ground_and_the_labels_are_those_of_the_contests_dates() -> None:
    one_date = {name: days[1:2] for name, days in contest_dates().items()}
    usual = generate_tile(0, 2, one_date)
    other = generate_tile(0, 2, {**one_date, "landsat8": (), "sentinel1": ()})
    np.testing.assert_array_equal(usual.labels, other.labels)
    clear = ("sentinel2", get_sensor("sentinel2").dates[1], "B04")
    np.testing.assert_array_equal(usual.rasters[clear], other.rasters[clear])
    assert not any(sensor in ("landsat8", "sentinel1") for sensor, _, _ in other.rasters)


def test_sample_tiles_bear_the_names_of_a_description(tmp_path: Path) -> None:
    from esdseg.config.loading import load_sensors

    sensors = load_sensors(Path("s2-s1"))
    dates = tmp_path / "dates.yml"
    dates.write_text("sentinel1: [2020-08-04]\nsentinel2: [2020-08-11, 2020-08-16]\n")
    (folder,) = write_sample_tiles(
        tmp_path / "raw", tiles=1, seed=0, crs=False, workers=1, sensors=sensors, dates=dates
    )
    assert (folder / "T36LYH_20200816T000000_B04_10m.tif").is_file()
    with rasterio.open(folder / "S1A_IW_GRDH_1SDV_20200804T000000_RTC_VV.tif") as file:
        assert file.dtypes == ("float32",)
    (tile,) = find_tiles(tmp_path / "raw", sensors)
    assert tile.dates("sentinel2") == (date(2020, 8, 11), date(2020, 8, 16))
    assert len(tile.rasters) == 2 * 6 + 2


def test_newer_products_of_sentinel_2_have_the_agencys_offset() -> None:
    numbers = np.array([[0, 1, 600]], np.uint16)
    for acquired, expected in ((date(2022, 1, 24), [0, 1, 600]), (date(2022, 1, 25), [0, 1001, 1600])):
        product = add_product_offset(numbers, get_sensor("sentinel2"), acquired)
        assert product.dtype == np.uint16
        assert product.tolist() == [expected]
    nights = add_product_offset(numbers, get_sensor("viirs"), date(2023, 1, 1))
    assert nights.tolist() == numbers.tolist()
