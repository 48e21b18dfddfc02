from collections.abc import Sequence
from datetime import date

import pytest

from esdseg.ablation.removals import Removal, list_removals
from esdseg.ablation.retraining_plan import can_be_retrained
from esdseg.config.evaluation import LEVELS, Level
from esdseg.sensors.channels import channel_from_name, channel_table
from esdseg.sensors.sensors import SENSOR_NAMES, SENSORS
from tests.ablation.conftest import CHANNELS

TINY = tuple(channel_from_name(name) for name in CHANNELS)
NIGHTS = tuple(channel.acquired for channel in TINY if channel.sensor == "viirs" and channel.acquired)


def listed(
    levels: Sequence[Level], nights: Sequence[date] | None = None, names: Sequence[str] = CHANNELS
) -> dict[str, Removal]:
    channels = tuple(channel_from_name(name) for name in names)
    return {one.label: one for one in list_removals(channels, levels, SENSOR_NAMES, nights)}


def gone(removal: Removal) -> set[str]:
    return {channel.name for channel in removal.effect.absent}


def test_sensors_dates_and_bands_are_all_there() -> None:
    assert list(listed(LEVELS)) == [
        *("viirs", "sentinel1", "sentinel2"),
        *("viirs alone", "sentinel1 alone", "sentinel2 alone"),
        *("viirs 2020-08-08", "viirs 2020-08-11", "viirs 2020-08-12", "sentinel1 2020-08-04"),
        *("sentinel2 2020-08-11", "sentinel2 2020-08-16"),
        *("viirs DNB", "viirs DNB_max", "viirs DNB_median", "sentinel1 VV", "sentinel2 B02", "sentinel2 B04"),
    ]


def test_a_full_tile_has_a_row_for_everything() -> None:
    channels = channel_table({sensor.name: sensor.dates for sensor in SENSORS})
    removals = list_removals(channels, LEVELS, SENSOR_NAMES, SENSORS[0].dates)
    counts = {kind: sum(one.kind == kind for one in removals) for kind in ("sensor", "alone", "date", "band")}
    assert counts == {"sensor": 4, "alone": 4, "date": 9 + 4 + 4 + 3, "band": 3 + 2 + 12 + 11}


def test_each_removal_takes_what_its_name_says() -> None:
    removals = listed(LEVELS)
    assert gone(removals["sentinel2"]) == {name for name in CHANNELS if name.startswith("sentinel2")}
    assert gone(removals["viirs"]) == {name for name in CHANNELS if name.startswith("viirs")}
    assert gone(removals["sentinel1 alone"]) == {name for name in CHANNELS if "sentinel1" not in name}
    assert gone(removals["sentinel2 B02"]) == {"sentinel2_2020-08-11_B02", "sentinel2_2020-08-16_B02"}
    assert gone(removals["sentinel2 2020-08-16"]) == {"sentinel2_2020-08-16_B02", "sentinel2_2020-08-16_B04"}
    assert gone(removals["viirs DNB_max"]) == {"viirs_DNB_max"}


def test_a_night_is_taken_out_of_projections_where_that_is_possible() -> None:
    label = f"viirs {NIGHTS[1]}"
    assert listed(LEVELS)[label].effect.nights is None
    removal = listed(LEVELS, NIGHTS)[label]
    assert gone(removal) == {f"viirs_{NIGHTS[1]}_DNB"}
    assert removal.effect.nights == (NIGHTS[0], NIGHTS[2])


def test_the_only_night_takes_its_projections_along() -> None:
    names = (f"viirs_{NIGHTS[0]}_DNB", "viirs_DNB_max", "sentinel1_2020-08-04_VV")
    removal = listed(("date",), NIGHTS[:1], names)[f"viirs {NIGHTS[0]}"]
    assert gone(removal) == {f"viirs_{NIGHTS[0]}_DNB", "viirs_DNB_max"}
    assert removal.effect.nights is None


def test_groups_of_the_same_channels_have_equal_effects() -> None:
    removals = listed(LEVELS)
    alike = {removals[name].effect for name in ("sentinel1", "sentinel1 2020-08-04", "sentinel1 VV")}
    assert len(alike) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_listed_that_leaves_no_channel(level: Level) -> None:
    assert listed((level,), names=("sentinel1_2020-08-04_VV",)) == {}


def test_a_single_sensor_is_neither_taken_away_nor_left_alone() -> None:
    names = ("sentinel2_2020-08-11_B02", "sentinel2_2020-08-16_B02")
    assert list(listed(LEVELS, names=names)) == ["sentinel2 2020-08-11", "sentinel2 2020-08-16"]


def test_only_the_chosen_sensors_lose_anything() -> None:
    removals = list_removals(TINY, LEVELS, ("sentinel1",), NIGHTS)
    assert {one.sensor for one in removals} == {"sentinel1"}
    assert [one.kind for one in removals] == ["sensor", "alone", "date", "band"]


@pytest.mark.parametrize("nights", [NIGHTS, None])
def test_no_network_is_trained_without_a_night_that_projections_hold(nights: Sequence[date] | None) -> None:
    possible = {name: can_be_retrained(one, TINY) for name, one in listed(LEVELS, nights).items()}
    assert not any(possible[f"viirs {night}"] for night in NIGHTS)
    assert not any(possible[name] for name in possible if name.endswith("alone"))
    assert possible["sentinel2 2020-08-16"]
    assert possible["viirs"]
    assert possible["viirs DNB"]
    plain = tuple(channel for channel in TINY if channel.acquired)
    first = list_removals(plain, ("date",), SENSOR_NAMES, nights)[0]
    assert can_be_retrained(first, plain)
