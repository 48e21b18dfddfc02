import json
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esdseg.errors import InputDataError
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.check_report import CheckReport
from esdseg.tiles.checking import check_tile, check_tiles
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.problems import Problem
from esdseg.tiles.reading import read_raster
from tests.make_tiles import write_raster, write_tile
from tests.tiles.conftest import FEW_DATES, RED_FILE, own_sensor

RED = RasterName("sentinel2", date(2020, 8, 11), "B04")


def only_problem(raw_dir: Path) -> Problem:
    (problem,) = check_tiles(raw_dir, workers=1).problems
    return problem


def as_json(report: CheckReport) -> Any:
    """The report after a way through JSON text, in which NaN is not allowed."""
    return json.loads(json.dumps(report.to_json(), allow_nan=False))


def test_faultless_tiles_have_no_problem(raw_dir: Path) -> None:
    finished: list[tuple[str, int, int]] = []
    report = check_tiles(raw_dir, workers=1, on_tile=lambda *told: finished.append(told))
    assert report.ok
    assert report.problems == ()
    assert [tile.name for tile in report.tiles] == ["Tile1", "Tile2"]
    assert finished == [("Tile1", 1, 2), ("Tile2", 2, 2)]


def test_a_full_tile_has_neither_problem_nor_note(tmp_path: Path) -> None:
    report = check_tiles(write_tile(tmp_path / "Tile1"), workers=1)
    assert report.problems == ()
    assert report.notes == ()
    assert {sky.sky for sky in report.tiles[0].acquisitions if sky.is_optical} == {"clear"}


def test_the_report_does_not_depend_on_the_number_of_workers(raw_dir: Path) -> None:
    one, two = (check_tiles(raw_dir, workers=workers).to_json() for workers in (1, 2))
    for report in (one, two):
        report.pop("preprocessing")
    assert one == two


def test_values_are_those_of_all_rasters_of_a_band(raw_dir: Path) -> None:
    report = as_json(check_tiles(raw_dir, workers=1))
    stack = np.stack(
        [
            read_raster(path)
            for tile in find_tiles(raw_dir)
            for name, path in tile.rasters.items()
            if (name.sensor, name.band) == ("sentinel2", "B04")
        ]
    )
    band = report["sensors"]["sentinel2"]["bands"]["B04"]
    assert band["rasters"] == 4
    assert [band[key] for key in ("minimum", "p01", "median", "p99", "maximum")] == [
        np.quantile(stack.astype(np.float64), fraction, method="inverted_cdf")
        for fraction in (0, 0.01, 0.5, 0.99, 1)
    ]


def test_json_has_the_documented_keys(raw_dir: Path) -> None:
    report = as_json(check_tiles(raw_dir, workers=1))
    assert list(report) == [
        *("ok", "raw_dir", "tiles", "sensors", "classes", "problems", "notes", "preprocessing"),
    ]
    assert report["ok"] is True
    assert report["sensors"]["sentinel2"]["dates"] == {"2020-08-11": 2, "2020-08-16": 2}
    assert set(report["sensors"]) == {"viirs", "sentinel1", "sentinel2"}
    assert report["preprocessing"]["disk_bytes"] > 0
    assert sum(entry["cells"] for entry in report["classes"].values()) == 512
    assert sum(entry["share"] for entry in report["classes"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.zeros((16, 16), dtype=np.uint16), "wrong_size"),
        (np.zeros((800, 800), dtype=np.float32), "wrong_dtype"),
        (np.zeros((3, 800, 800), dtype=np.uint16), "several_bands"),
        (np.zeros((800, 800), dtype=np.uint16), "empty"),
        (np.full((800, 800), 7, dtype=np.uint16), "constant"),
    ],
)
def test_a_faulty_raster_is_named(raw_dir: Path, values: np.ndarray, kind: str) -> None:
    write_raster(raw_dir / "Tile2" / RED_FILE, values)
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile2", RED_FILE, kind)
    assert problem.message
    assert problem.fix


def test_an_unreadable_raster_is_named_and_the_rest_is_counted(raw_dir: Path) -> None:
    (raw_dir / "Tile2" / RED_FILE).write_bytes(b"no raster")
    report = check_tiles(raw_dir, workers=1)
    assert [(problem.tile, problem.file, problem.kind) for problem in report.problems] == [
        ("Tile2", RED_FILE, "unreadable")
    ]
    assert as_json(report)["sensors"]["sentinel2"]["bands"]["B04"]["rasters"] == 3


def test_equally_dark_night_lights_are_a_note(raw_dir: Path) -> None:
    path = raw_dir / "Tile1" / "DNB_VNP46A1_A2020221.tif"
    write_raster(path, np.zeros((800, 800), dtype=np.uint16))
    report = check_tiles(raw_dir, workers=1)
    assert report.ok
    assert ("Tile1", path.name) in {(note.tile, note.file) for note in report.notes}


def test_a_raster_without_most_of_its_pixels_is_a_note(raw_dir: Path) -> None:
    values = np.arange(640_000, dtype=np.uint32).reshape(800, 800).astype(np.uint16)
    values[300:] = 0
    write_raster(raw_dir / "Tile1" / RED_FILE, values)
    report = check_tiles(raw_dir, workers=1)
    assert report.ok
    assert any(note.file == RED_FILE and "63% of the pixels" in note.message for note in report.notes)


@pytest.mark.parametrize(("code", "kind"), [(0, "unlabelled"), (5, "wrong_labels")])
def test_other_label_codes_are_a_problem_with_their_number(raw_dir: Path, code: int, kind: str) -> None:
    codes = np.full((16, 16), 2, dtype=np.uint16)
    codes[0, :3] = code
    write_raster(raw_dir / "Tile1" / "groundTruth.tif", codes)
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile1", "groundTruth.tif", kind)
    assert f"{code} (cells: 3)" in problem.message


def test_a_label_grid_of_one_class_is_a_note(raw_dir: Path) -> None:
    write_raster(raw_dir / "Tile1" / "groundTruth.tif", np.full((16, 16), 3, dtype=np.uint16))
    report = check_tiles(raw_dir, workers=1)
    assert report.ok
    (note,) = [note for note in report.notes if note.file == "groundTruth.tif"]
    assert (note.tile, "of class 3" in note.message) == ("Tile1", True)


def test_labels_of_another_size_are_a_problem(raw_dir: Path) -> None:
    write_raster(raw_dir / "Tile1" / "groundTruth.tif", np.ones((800, 800), dtype=np.uint16))
    assert only_problem(raw_dir).kind == "wrong_size"


def test_rasters_that_lie_in_two_places_are_a_problem(tmp_path: Path) -> None:
    folder = write_tile(tmp_path / "Tile1", dates=FEW_DATES, crs="EPSG:32733")
    assert check_tiles(folder, workers=1).tiles[0].georeferenced
    (tile,) = find_tiles(folder)
    write_raster(tile.rasters[RED], read_raster(tile.rasters[RED]), crs="EPSG:32734")
    problem = only_problem(folder)
    assert (problem.file, problem.kind) == (RED_FILE, "georeference")


@pytest.mark.usefixtures("unprivileged")
def test_what_may_not_be_read_is_a_problem() -> None:
    folder = Path(tempfile.mkdtemp())  # Made without privilege, where pytest's own folder is closed.
    try:
        for number in (1, 2, 3):
            write_tile(folder / f"Tile{number}", dates=FEW_DATES, seed=number)
        (folder / "Tile1" / RED_FILE).chmod(0)
        (folder / "Tile2").chmod(0)
        problems = check_tiles(folder, workers=1).problems
    finally:
        (folder / "Tile2").chmod(0o700)
        shutil.rmtree(folder)
    assert [(problem.tile, problem.file, problem.kind) for problem in problems] == [
        ("Tile2", None, "unreadable"),
        ("Tile1", RED_FILE, "unreadable"),
    ]


def test_a_folder_without_tiles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="holds no tiles"):
        check_tiles(tmp_path, workers=1)


def test_checking_a_tile_gives_it_back(raw_dir: Path) -> None:
    tile = find_tiles(raw_dir)[0]
    assert check_tile(tile).tile == tile


@pytest.mark.parametrize(("dtype", "fill_value"), [("int16", -9999), ("uint16", 65_535), ("uint16", 0)])
def test_pixels_of_any_fill_value_do_not_make_other_dates_cloudy(
    tmp_path: Path, dtype: str, fill_value: int
) -> None:
    blue = np.random.default_rng(0).integers(500, 700, (800, 800)).astype(dtype)
    write_raster(tmp_path / "X_20200811_B2.tif", blue)
    blue[:, 400:] = fill_value
    write_raster(tmp_path / "X_20200816_B2.tif", blue)
    report = check_tiles(tmp_path, sensors=own_sensor(dtypes=[dtype], fill_value=fill_value), workers=1)
    full, half = report.tiles[0].acquisitions
    assert (full.sky, full.cloud_share, full.missing_share) == ("clear", 0, 0)
    assert (half.sky, half.cloud_share, half.missing_share) == ("clear", 0, 0.5)


def test_fill_is_no_value_where_values_are_not_whole_numbers(tmp_path: Path) -> None:
    blue = np.random.default_rng(0).integers(-50, 700, (800, 800)).astype(np.int16)
    blue[:, 600:] = -9999
    for tile in ("Tile1", "Tile2"):
        (tmp_path / tile).mkdir()
    write_raster(tmp_path / "Tile1" / "X_20200811_B2.tif", blue)
    sensors = own_sensor(dtypes=["int16"], fill_value=-9999, saturated_value=699)
    counted = check_tiles(tmp_path, sensors=sensors, workers=1).sensors[0].bands["B2"].to_json()
    assert counted["minimum"] == -50
    assert counted["p01"] == pytest.approx(np.quantile(blue[:, :600], 0.01), abs=0.5)
    assert counted["fill_share"] == 0.25
    assert counted["zero_share"] == (blue == 0).mean()
    assert counted["saturated_share"] == (blue == 699).mean()
    write_raster(tmp_path / "Tile2" / "X_20200811_B2.tif", np.full_like(blue, -9999))
    problems = check_tiles(tmp_path, sensors=sensors, workers=1).problems
    assert [(problem.tile, problem.kind) for problem in problems] == [("Tile2", "empty")]
