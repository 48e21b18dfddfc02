from datetime import date

import pytest

from esdseg.errors import ConfigError, InputDataError
from esdseg.sensors.channels import Channel, check_bands, select_channels
from esdseg.sensors.sensors import contest_sensors
from tests.contest import SENSORS, channel_from_name, channel_table

CONTEST = channel_table({sensor.name: sensor.dates for sensor in SENSORS})


def test_the_contest_has_98_measured_channels_and_two_projections() -> None:
    assert len(CONTEST) == 100
    assert [channel.name for channel in CONTEST if channel.acquired is None] == [
        "viirs_DNB_max",
        "viirs_DNB_median",
    ]
    assert len({channel.name for channel in CONTEST}) == 100


def test_channels_go_by_sensor_then_date_then_band() -> None:
    names = [channel.name for channel in CONTEST]
    assert names[0] == "viirs_2020-08-08_DNB"
    assert names[8:13] == [
        "viirs_2020-08-24_DNB",
        "viirs_DNB_max",
        "viirs_DNB_median",
        "sentinel1_2020-07-23_VV",
        "sentinel1_2020-07-23_VH",
    ]
    assert names[19] == "sentinel2_2020-08-11_B01"
    assert names[26:28] == ["sentinel2_2020-08-11_B08", "sentinel2_2020-08-11_B8A"]
    assert names[-2:] == ["landsat8_2020-08-30_B10", "landsat8_2020-08-30_B11"]


def test_the_table_sorts_dates_and_leaves_out_absent_sensors() -> None:
    table = channel_table({"sentinel1": [date(2020, 9, 1), date(2020, 8, 1)], "viirs": []})
    assert [channel.name for channel in table] == [
        "sentinel1_2020-08-01_VV",
        "sentinel1_2020-08-01_VH",
        "sentinel1_2020-09-01_VV",
        "sentinel1_2020-09-01_VH",
    ]


@pytest.mark.parametrize("channel", CONTEST, ids=lambda channel: channel.name)
def test_names_identify_channels(channel: Channel) -> None:
    assert channel_from_name(channel.name) == channel


@pytest.mark.parametrize(
    "name",
    [
        "sentinel2_B04",
        "viirs_DNB",
        "viirs_2020-08-08_DNB_max",
        "sentinel2_2020-08-16_B10",
        "sentinel2_2020-13-16_B04",
        "sentinel3_2020-08-16_B04",
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputDataError, match="not the name of a channel"):
        channel_from_name(name)


def test_a_projection_has_no_sensor_band() -> None:
    assert channel_from_name("viirs_DNB_max").sensor_band is None
    red = channel_from_name("sentinel2_2020-08-16_B04").sensor_band
    assert red is not None
    assert red.role == "red"


def test_selecting_nothing_in_particular_keeps_all() -> None:
    assert select_channels(CONTEST, None, None) == CONTEST


def test_selected_bands_keep_the_order_of_the_table() -> None:
    picked = select_channels(CONTEST, {"sentinel2": ["B08", "B04"], "viirs": ["DNB_max"]}, None)
    assert [channel.name for channel in picked[:3]] == [
        "viirs_DNB_max",
        "sentinel2_2020-08-11_B04",
        "sentinel2_2020-08-11_B08",
    ]
    assert len(picked) == 1 + 4 * 2


def test_dates_are_picked_by_value_and_by_position_from_either_end() -> None:
    by_value = select_channels(CONTEST, {"sentinel1": ["VV"]}, {"sentinel1": [date(2020, 8, 28)]})
    by_position = select_channels(CONTEST, {"sentinel1": ["VV"]}, {"sentinel1": [-1]})
    assert by_value == by_position
    assert [channel.name for channel in by_value] == ["sentinel1_2020-08-28_VV"]


def test_picking_dates_leaves_projections_and_other_sensors() -> None:
    picked = select_channels(CONTEST, {"viirs": ["DNB", "DNB_max"], "sentinel1": ["VH"]}, {"viirs": [0]})
    assert [channel.name for channel in picked[:2]] == ["viirs_2020-08-08_DNB", "viirs_DNB_max"]
    assert len(picked) == 2 + 4


def test_an_absent_band_is_refused_by_name() -> None:
    with pytest.raises(InputDataError, match=r"Band B10 of sentinel2 .* B01"):
        select_channels(CONTEST, {"sentinel2": ["B10"]}, None)


@pytest.mark.parametrize("chosen", [4, -5, date(2020, 8, 5)])
def test_an_absent_date_is_refused_with_those_there(chosen: date | int) -> None:
    with pytest.raises(InputDataError, match=rf"Date {chosen} of sentinel1 .* 2020-07-23"):
        select_channels(CONTEST, None, {"sentinel1": [chosen]})


def test_a_selection_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputDataError, match="leave no channel"):
        select_channels(CONTEST, {}, None)


def test_all_bands_of_a_sensor_are_picked_by_one_word() -> None:
    picked = select_channels(CONTEST, {"viirs": ["all"]}, {"viirs": [0]})
    assert [channel.name for channel in picked] == [
        "viirs_2020-08-08_DNB",
        "viirs_DNB_max",
        "viirs_DNB_median",
    ]


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (
            {"sentinel3": ["B04"]},
            r"bands: unknown sensor 'sentinel3'; did you mean 'sentinel2' or 'sentinel1'\?",
        ),
        (
            {"sentinel2": ["B8"]},
            r"bands\.sentinel2: sentinel2 has no band B8; did you mean 'B8A' or 'B08'\? Its bands: B01",
        ),
        ({"sentinel2": ["B02", "B77"]}, "sentinel2 has no band B77"),
    ],
)
def test_names_that_are_not_described_are_refused_with_the_nearest(
    bands: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_bands(contest_sensors(), bands, "bands")
