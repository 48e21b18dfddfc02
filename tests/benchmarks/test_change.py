"""What networks lose in other worlds: tiles whose dates are exchanged, and differences with intervals."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from benchmarks.change import NETWORKS, ROWS, SCORES, WORLDS, estimate, shuffle_dates
from esdseg.metrics.scores import headline_scores
from esdseg.tiles.discovery import find_tiles
from tests.make_tiles import write_tile

DATES = {
    "viirs": [date(2020, 8, day) for day in (8, 11, 12, 14)],
    "sentinel1": [date(2020, 7, 23), date(2020, 8, 4), date(2020, 8, 16)],
}


def test_acquisitions_exchange_their_dates_with_all_their_bands(tmp_path: Path) -> None:
    write_tile(tmp_path / "raw/Tile1", dates=DATES)
    shuffle_dates(tmp_path / "raw", tmp_path / "shuffled", seed=1)
    (before,), (after,) = find_tiles(tmp_path / "raw"), find_tiles(tmp_path / "shuffled")
    assert before.rasters.keys() == after.rasters.keys()
    assert (after.folder / "groundTruth.tif").is_file()
    came_from = {
        name: next(old for old, file in before.rasters.items() if file.samefile(path))
        for name, path in after.rasters.items()
    }
    assert all((name.sensor, name.band) == (old.sensor, old.band) for name, old in came_from.items())
    moved = {(name.sensor, name.acquired): old.acquired for name, old in came_from.items()}
    assert all(moved[name.sensor, name.acquired] == old.acquired for name, old in came_from.items())
    for sensor, days in DATES.items():
        assert {moved[sensor, day] for day in days} == set(days)
    assert any(day != old for (_, day), old in moved.items())


def test_scores_are_pooled_and_equal_networks_differ_by_nothing() -> None:
    counts = np.random.default_rng(0).integers(1, 40, (3, 10, 4, 4))
    pooled = headline_scores(counts.sum(axis=(0, 1)))
    for name, score in estimate(counts).items():
        assert score.value == pytest.approx(float(pooled[name]))
        assert score.low < score.value < score.high
    assert [(one.low, one.value, one.high) for one in estimate(counts, counts).values()] == [(0, 0, 0)] * 2


def test_an_interval_holds_the_luck_of_trainings_too() -> None:
    tile = np.full((1, 10, 4, 4), 10) + 90 * np.eye(4, dtype=np.int64)
    alike, unlike = np.repeat(tile, 3, axis=0), np.repeat(tile, 3, axis=0)
    unlike[2] = 20
    for name in SCORES:
        assert estimate(alike)[name].low == estimate(alike)[name].high
        assert estimate(unlike)[name].low < estimate(unlike)[name].value - 0.05


def test_rows_name_networks_and_worlds_that_are_there() -> None:
    for row in ROWS:
        assert {row.network, row.against_network} <= NETWORKS.keys()
        assert {row.world, row.against_world} <= WORLDS.keys()
