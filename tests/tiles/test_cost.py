from pathlib import Path

from esdseg.preprocessing.planning import plan
from esdseg.tiles.checking import check_tiles
from esdseg.tiles.cost import WORKER_MEGABYTES, estimate_cost
from tests.contest import SENSORS, channel_table
from tests.preprocessing.raw_tiles import config_for, write_tiles

CONTEST_CHANNELS = channel_table({sensor.name: len(sensor.dates) for sensor in SENSORS})


def test_a_full_tile_takes_what_was_measured_on_the_real_one() -> None:
    cost = estimate_cost(1, CONTEST_CHANNELS, workers=1)
    assert 43e6 <= cost.disk_bytes <= 46e6
    assert 0.5 <= cost.seconds <= 2
    assert cost.memory_bytes == WORKER_MEGABYTES * 10**6


def test_disk_grows_with_tiles_and_time_shrinks_with_workers() -> None:
    one = estimate_cost(1, CONTEST_CHANNELS, workers=4)
    many = estimate_cost(60, CONTEST_CHANNELS, workers=4)
    assert one.workers == 1
    assert many.disk_bytes == 60 * one.disk_bytes
    assert many.seconds == 15 * one.seconds
    assert many.memory_bytes == 4 * one.memory_bytes


def test_absent_sensors_cost_nothing() -> None:
    full = estimate_cost(3, CONTEST_CHANNELS, workers=1)
    parts = [
        estimate_cost(3, channel_table({sensor.name: len(sensor.dates)}), workers=1) for sensor in SENSORS
    ]
    assert sum(part.disk_bytes for part in parts) == full.disk_bytes


def test_a_check_estimates_what_the_plan_of_preprocessing_does(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2", "Tile3"])
    planned = plan(config_for(tmp_path, workers=2)).cost
    assert check_tiles(tmp_path / "raw", workers=2).cost == planned
