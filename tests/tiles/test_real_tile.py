"""Facts of the contest's own Tile1, seen through the check."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from esdseg.tiles.check_report import CheckReport
from esdseg.tiles.checking import check_tiles
from esdseg.tiles.values import ValueCounts
from tests.contest import SENSORS


@pytest.fixture(scope="module")
def real_report(real_tile: Path) -> CheckReport:
    return check_tiles(real_tile, workers=1)


def bands_of(report: CheckReport, sensor: str) -> Mapping[str, ValueCounts]:
    return {entry.name: entry.bands for entry in report.sensors}[sensor]


def test_the_real_tile_has_no_problem(real_report: CheckReport) -> None:
    assert real_report.problems == ()
    assert real_report.notes == ()
    assert real_report.tiles[0].rasters == 98
    assert real_report.class_cells == {
        "settlement_dark": 211,
        "empty_dark": 45,
        "settlement_lit": 0,
        "empty_lit": 0,
    }


def test_the_real_tile_has_zeros_in_b01_and_b09_alone(real_report: CheckReport) -> None:
    shares = {
        band: counts.zero / counts.pixels for band, counts in bands_of(real_report, "sentinel2").items()
    }
    assert {band for band, share in shares.items() if share > 0} == {"B01", "B09"}
    # At most the first row of 800.
    assert 0 < shares["B01"] <= 1 / 800
    assert 0 < shares["B09"] <= 1 / 800


@pytest.mark.parametrize(
    ("band", "p01", "median", "p99", "maximum"),
    [("VV", 0.024, 0.085, 0.30, 9.7), ("VH", 0.0046, 0.0176, 0.062, 0.45)],
)
def test_the_real_tile_has_the_known_backscatter(
    real_report: CheckReport, band: str, p01: float, median: float, p99: float, maximum: float
) -> None:
    values = bands_of(real_report, "sentinel1")[band].to_json()
    assert [values[key] for key in ("p01", "median", "p99", "maximum")] == pytest.approx(
        [p01, median, p99, maximum], rel=0.06
    )


def test_the_real_tile_has_the_known_skies(real_report: CheckReport) -> None:
    assert {
        (sky.sensor, f"{sky.acquired:%m%d}"): sky.sky
        for sky in real_report.tiles[0].acquisitions
        if sky.is_optical
    } == {
        ("sentinel2", "0811"): "clear",
        ("sentinel2", "0816"): "clear",
        ("sentinel2", "0826"): "cloudy",
        ("sentinel2", "0831"): "cloudy",
        ("landsat8", "0729"): "cloudy",
        ("landsat8", "0814"): "hazy",
        ("landsat8", "0830"): "cloudy",
    }


def test_the_real_tile_lists_all_dates_and_bands(real_report: CheckReport) -> None:
    assert {sensor.name: tuple(sensor.dates) for sensor in real_report.sensors} == {
        sensor.name: sensor.dates for sensor in SENSORS
    }
    assert {sensor.name: tuple(sensor.bands) for sensor in real_report.sensors} == {
        sensor.name: sensor.band_names for sensor in SENSORS
    }
