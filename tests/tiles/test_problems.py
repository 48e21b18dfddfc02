import shutil
from pathlib import Path

import pytest

from esdseg.tiles.checking import check_tiles
from esdseg.tiles.problems import Problem
from tests.tiles.conftest import RED_FILE, own_sensor


def only_problem(raw_dir: Path) -> Problem:
    (problem,) = check_tiles(raw_dir, workers=1).problems
    return problem


def test_a_missing_date_is_named_once_with_its_fix(raw_dir: Path) -> None:
    for path in (raw_dir / "Tile2").glob("L2A_20200816_*.tif"):
        path.unlink()
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile2", "L2A_20200816_*.tif", "missing")
    assert "2020-08-16" in problem.message
    assert "--strict" in problem.fix


def test_a_missing_date_of_a_sensor_of_one_band_names_the_file(raw_dir: Path) -> None:
    (raw_dir / "Tile1" / "DNB_VNP46A1_A2020221.tif").unlink()
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file) == ("Tile1", "DNB_VNP46A1_A2020221.tif")


def test_a_missing_band_is_named(raw_dir: Path) -> None:
    (raw_dir / "Tile1" / RED_FILE).unlink()
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile1", RED_FILE, "missing")
    assert "Band B04" in problem.message


def test_a_missing_sensor_is_named_once(raw_dir: Path) -> None:
    for path in (raw_dir / "Tile1").glob("S1A_*.tif"):
        path.unlink()
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile1", "S1A_IW_GRDH_*.tif", "missing")


def test_dates_that_no_tile_holds_are_a_note(raw_dir: Path) -> None:
    messages = [note.message for note in check_tiles(raw_dir, workers=1).notes]
    assert any("Landsat-8" in message and "No tile" in message for message in messages)
    assert any("2020-08-26, 2020-08-31" in message for message in messages)


def test_two_names_for_one_raster_are_a_problem(raw_dir: Path) -> None:
    shutil.copy(raw_dir / "Tile1" / RED_FILE, raw_dir / "Tile1" / "L2A_20200811_B04.TIF")
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile1", "L2A_20200811_B04.TIF", "doubled")
    assert RED_FILE in problem.message


def test_a_copied_tile_is_a_problem(raw_dir: Path) -> None:
    shutil.copytree(raw_dir / "Tile1", raw_dir / "Tile1 copy")
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.kind) == ("Tile1 copy", "doubled")
    assert "copy of Tile1:" in problem.message


@pytest.mark.parametrize(
    "name", ["L2A_20200811_B04 (1).tif", "Copy of L2A_20200811_B04.tif", "L2A_2020_B04.tif"]
)
def test_a_name_that_resembles_a_raster_is_a_problem(raw_dir: Path, name: str) -> None:
    shutil.copy(raw_dir / "Tile1" / RED_FILE, raw_dir / "Tile1" / name)
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile1", name, "misnamed")


def test_the_form_of_a_misspelt_name_is_that_of_its_own_sensor(raw_dir: Path, tmp_path: Path) -> None:
    shutil.copy(raw_dir / "Tile1" / RED_FILE, raw_dir / "Tile1" / "S1A_IW_GRDH_2020_VV.tif")
    assert "such as S1A_IW_GRDH_20200723_VV.tif, or move it" in only_problem(raw_dir).fix
    files = [{"name": "Rapid_{date:%Y%m%d}_SR", "bands": ["B2"]}, "Eye_{date:%Y%m%d}_{band}"]
    for name in ("Eye_20230101_B2.tif", "Eye_2023_B2.tif"):
        shutil.copy(raw_dir / "Tile1" / RED_FILE, tmp_path / name)
    (problem,) = check_tiles(tmp_path, sensors=own_sensor(files=files), workers=1).problems
    assert problem.file == "Eye_2023_B2.tif"
    assert problem.fix == "Rename it to a form such as Eye_20200830_B2.tif, or move it elsewhere."


def test_harmless_files_are_notes(raw_dir: Path) -> None:
    (raw_dir / "Tile1" / "readme.txt").touch()
    (raw_dir / "docs").mkdir()
    report = check_tiles(raw_dir, workers=1)
    assert report.ok
    assert {("Tile1", "readme.txt"), (None, "docs/")} <= {(note.tile, note.file) for note in report.notes}


def test_a_tile_without_rasters_is_a_problem_and_the_others_are_read(raw_dir: Path) -> None:
    (raw_dir / "Tile3").mkdir()
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == ("Tile3", None, "missing")


def test_rasters_beside_the_tiles_are_a_problem(raw_dir: Path) -> None:
    shutil.copy(raw_dir / "Tile1" / RED_FILE, raw_dir / RED_FILE)
    problem = only_problem(raw_dir)
    assert (problem.tile, problem.file, problem.kind) == (None, RED_FILE, "misplaced")


def test_a_link_to_nowhere_is_unreadable_not_missing(raw_dir: Path) -> None:
    path = raw_dir / "Tile2" / RED_FILE
    path.unlink()
    path.symlink_to("gone.tif")
    assert only_problem(raw_dir).kind == "unreadable"


def test_tiles_without_labels_are_a_note(raw_dir: Path) -> None:
    (raw_dir / "Tile1" / "groundTruth.tif").unlink()
    one = check_tiles(raw_dir, workers=1)
    assert one.ok
    assert ("Tile1", "groundTruth.tif") in {(note.tile, note.file) for note in one.notes}
    (raw_dir / "Tile2" / "groundTruth.tif").unlink()
    none = check_tiles(raw_dir, workers=1)
    assert none.ok
    assert [note.tile for note in none.notes if note.file == "groundTruth.tif"] == [None]
    assert sum(none.class_cells.values()) == 0
