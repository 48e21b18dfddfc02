from collections.abc import Iterable
from datetime import date

import pytest

from esdseg.errors import ConfigError, InputDataError
from esdseg.sensors import channels
from esdseg.sensors.acquisitions import Acquisition, AcquisitionChoice, in_order
from esdseg.sensors.channels import (
    Channel,
    check_bands,
    few_acquisitions,
    few_bands,
    layer_table,
    resolve,
    select_channels,
)
from esdseg.sensors.sensors import SensorTable
from tests.contest import CONTEST, FULL_TABLE, channel_from_name, channel_table

TWO = AcquisitionChoice(count=2)
TABLE = channel_table({"viirs": 3, "sentinel1": 2, "sentinel2": 4, "landsat8": 3})
DAYS = tuple(date(2021, 7, day) for day in (3, 8, 13, 18))


def names_of(channels: Iterable[Channel]) -> list[str]:
    return [channel.name for channel in channels]


def sky(day: date, cloud: float = 0.0, shadow: float = 0.0, **more: float) -> Acquisition:
    return Acquisition(
        sensor="sentinel2", acquired=day, is_optical=True, cloud_share=cloud, shadow_share=shadow, **more
    )


def test_a_full_tile_has_100_channels() -> None:
    assert len(FULL_TABLE) == 9 + 2 + 8 + 48 + 33
    assert names_of(FULL_TABLE)[:2] == ["viirs_1_DNB", "viirs_2_DNB"]
    assert names_of(channel for channel in FULL_TABLE if channel.place is None) == [
        "viirs_DNB_max",
        "viirs_DNB_median",
    ]
    assert names_of(FULL_TABLE)[-2:] == ["landsat8_3_B10", "landsat8_3_B11"]


def test_layers_go_by_sensor_date_and_band() -> None:
    layers = layer_table({"sentinel1": [date(2020, 9, 1), date(2020, 8, 1)], "viirs": []}, CONTEST)
    assert [layer.name for layer in layers] == [
        "sentinel1_2020-08-01_VV",
        "sentinel1_2020-08-01_VH",
        "sentinel1_2020-09-01_VV",
        "sentinel1_2020-09-01_VH",
    ]


@pytest.mark.parametrize("channel", FULL_TABLE, ids=lambda channel: channel.name)
def test_a_channel_is_read_back_from_its_name(channel: Channel) -> None:
    assert channel_from_name(channel.name) == channel


def test_a_channel_keeps_the_order_in_which_places_are_counted() -> None:
    name = "sentinel2_2_B04"
    assert channel_from_name(name).order == "clearest"
    assert channels.channel_from_name(name, CONTEST, {"sentinel2": "date"}).order == "date"
    assert channels.channel_from_name(name, CONTEST, {"sentinel2": "date"}) != channel_from_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "viirs_1_DNB_max",
        "viirs_DNB",
        "sentinel2_1_B10",
        "sentinel2_0_B04",
        "sentinel2_2020-08-16_B04",
        "sentinel3_1_B04",
        "sentinel2_B04",
        "sentinel2_1_B04 ",
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputDataError, match="is not the name of a channel"):
        channel_from_name(name)


def test_a_channel_knows_its_band() -> None:
    assert channel_from_name("viirs_DNB_max").sensor_band is None
    red = channel_from_name("sentinel2_1_B04").sensor_band
    assert red is not None
    assert (red.native_size_m, red.role) == (10.0, "red")


def test_without_a_selection_all_are_picked_but_projections_and_the_brightest_nights() -> None:
    left_out = {f"viirs_{place}_DNB" for place in (6, 7, 8, 9)} | {"viirs_DNB_max", "viirs_DNB_median"}
    assert names_of(select_channels(FULL_TABLE)) == [
        name for name in names_of(FULL_TABLE) if name not in left_out
    ]
    by_date = select_channels(FULL_TABLE, {"viirs": ["all"]}, {"viirs": AcquisitionChoice(order="date")})
    assert len(by_date) == 11


def test_projections_are_picked_where_no_night_is_stored() -> None:
    projections = tuple(
        channel for channel in FULL_TABLE if channel.place is None and channel.sensor.name == "viirs"
    )
    assert select_channels(projections) == projections


def test_bands_are_picked_in_table_order() -> None:
    picked = select_channels(TABLE, {"sentinel2": ["B08", "B04"], "viirs": ["DNB_max"]}, {"sentinel2": TWO})
    assert names_of(picked) == [
        "viirs_DNB_max",
        *("sentinel2_1_B04", "sentinel2_1_B08", "sentinel2_2_B04", "sentinel2_2_B08"),
    ]


def test_all_bands_of_a_sensor_are_picked_by_one_word() -> None:
    picked = select_channels(TABLE, {"viirs": ["all"]}, {"viirs": AcquisitionChoice(count=1)})
    assert names_of(picked) == ["viirs_1_DNB", "viirs_DNB_max", "viirs_DNB_median"]


def test_an_order_is_that_of_all_channels_of_its_sensor() -> None:
    picked = select_channels(
        TABLE, {name: ["all"] for name in CONTEST.names}, {"sentinel2": AcquisitionChoice(order="date")}
    )
    assert {channel.order for channel in picked if channel.sensor.name == "sentinel2"} == {"date"}
    assert {channel.order for channel in picked if channel.sensor.name == "landsat8"} == {"clearest"}
    assert names_of(picked) == names_of(TABLE)


def test_more_places_than_the_data_have_can_be_taken() -> None:
    picked = select_channels(TABLE, {"sentinel1": ["VV"]}, {"sentinel1": AcquisitionChoice(count=3)})
    assert names_of(picked) == ["sentinel1_1_VV", "sentinel1_2_VV", "sentinel1_3_VV"]


def test_what_is_not_in_the_data_is_refused() -> None:
    with pytest.raises(InputDataError, match="Band B10 of sentinel2 is not in the data"):
        select_channels(TABLE, {"sentinel2": ["B10"]})
    radar = channel_table({"sentinel1": 2})
    with pytest.raises(InputDataError, match="Sensor viirs is not in the data; sensors there: sentinel1"):
        select_channels(radar, None, {"viirs": TWO})
    with pytest.raises(InputDataError, match="leave no channel"):
        select_channels(TABLE, {})


def test_the_clearest_dates_fill_the_first_places_whatever_their_dates() -> None:
    skies = [sky(DAYS[0], 0.3), sky(DAYS[1], 0.004), sky(DAYS[2], 0.0, shadow=0.1), sky(DAYS[3])]
    channels = [channel_from_name(f"sentinel2_{place}_B04") for place in (1, 2, 3, 4, 5)]
    found = resolve(channels, skies)
    assert [layer and layer.acquired for layer in found] == [DAYS[1], DAYS[3], DAYS[2], DAYS[0], None]
    assert resolve(channels, skies[::-1]) == found, "the order depends on nothing but the acquisitions"


def test_missing_pixels_and_haze_hide_the_ground_too() -> None:
    skies = [sky(DAYS[0], missing_share=0.5), sky(DAYS[1], cirrus_reflectance=0.02), sky(DAYS[2], 0.02)]
    assert [found.acquired for found in in_order(skies, "clearest")] == [DAYS[2], DAYS[1], DAYS[0]]


def test_a_date_whose_sky_is_not_known_comes_last() -> None:
    unknown = Acquisition(sensor="sentinel2", acquired=DAYS[0])
    found = in_order([unknown, sky(DAYS[1], 0.9), sky(DAYS[2])], "clearest")
    assert [one.acquired for one in found] == [DAYS[2], DAYS[1], DAYS[0]]


def test_orders_by_date_and_by_light() -> None:
    nights = [
        Acquisition(sensor="viirs", acquired=day, light=light)
        for day, light in zip(DAYS, (11.0, 0.5, 3.0, 0.5), strict=True)
    ]
    darkest = [night.acquired for night in in_order(nights, "darkest")]
    assert darkest == [DAYS[1], DAYS[3], DAYS[2]], "the moonlit night is left out"
    assert [night.acquired for night in in_order(nights[::-1], "date")] == list(DAYS)


def test_moonlit_nights_are_judged_by_the_darkest_of_their_tile() -> None:
    def nights(*lights: float | None) -> list[Acquisition]:
        pairs = zip(DAYS, lights, strict=False)
        return [Acquisition(sensor="viirs", acquired=day, light=light) for day, light in pairs]

    in_a_town = in_order(nights(21.0, 14.5, 16.0, 20.0), "darkest")
    assert [night.light for night in in_a_town] == [14.5, 16.0], "5 numbers more are moonlight"
    assert len(in_order(nights(None, 12.0, 11.0), "darkest")) == 3
    assert len(in_order(nights(None, None), "darkest")) == 2


def test_projections_are_of_all_nights_and_missing_without_any() -> None:
    night = Acquisition(sensor="viirs", acquired=DAYS[0])
    projection = channel_from_name("viirs_DNB_max")
    (layer,) = resolve([projection], [night])
    assert layer is not None
    assert layer.name == "viirs_DNB_max"
    assert resolve([projection], [sky(DAYS[0])]) == (None,)


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
        check_bands(CONTEST, bands, "bands")


def test_few_bands_are_the_telling_ones_of_the_finest_optical_sensor_and_all_of_the_other_kinds() -> None:
    assert few_bands(FULL_TABLE) == {
        "viirs": ("DNB",),
        "sentinel1": ("VV", "VH"),
        "sentinel2": ("B02", "B03", "B04", "B08", "B11"),
    }
    also = few_bands(FULL_TABLE, ["landsat8"])
    assert also == {**few_bands(FULL_TABLE), "landsat8": ("B2", "B3", "B4", "B5", "B6")}
    assert few_bands(channel_table({"landsat8": 1})) == {"landsat8": also["landsat8"]}


def test_few_acquisitions_are_two_of_each_sensor_and_the_darkest_nights() -> None:
    held = channel_table({"viirs": 9, "sentinel1": 4, "sentinel2": 1})
    assert few_acquisitions(held) == {
        "viirs": AcquisitionChoice(order="darkest", count=5),
        "sentinel1": AcquisitionChoice(order="date", count=2),
        "sentinel2": AcquisitionChoice(order="clearest", count=1),
    }


def test_sensors_whose_bands_have_no_telling_role_are_taken_whole() -> None:
    def optical(name: str, bands: list[str], size_m: float) -> dict[str, object]:
        return {
            "title": name,
            "kind": "optical",
            "files": [name + "_{date:%Y%m%d}_{band}"],
            "dtypes": ["uint16"],
            "conversion": "none",
            "bands": {band: {"native_size_m": size_m} for band in bands},
        }

    sensors = {"coarse": optical("coarse", ["a", "b"], 30), "fine": optical("fine", ["c"], 5)}
    table = SensorTable.model_validate({"sensors": sensors})
    held = channels.channel_table({"coarse": 1, "fine": 3}, table)
    assert few_bands(held) == {"coarse": ("a", "b"), "fine": ("c",)}
