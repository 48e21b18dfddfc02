import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.errors import InputDataError
from esdseg.sensors.channels import layer_table
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.discovery import find_tiles, natural_key, scan_raw_folder, union_of_dates
from tests.contest import CONTEST, SENSORS

RASTER = "L2A_20200816_B04.tif"


def touch(folder: Path, *names: str) -> Path:
    """Make empty files: finding tiles opens none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_tiles_come_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 19):
        touch(tmp_path / f"Tile{number}", RASTER)
    assert [tile.name for tile in find_tiles(tmp_path)] == ["Tile1", "Tile2", "Tile10", "Tile19"]


@given(st.lists(st.text(alphabet="Tile_é²٣0129a", max_size=8), max_size=8))
def test_natural_order_is_defined_for_all_names_and_does_not_depend_on_the_listing(names: list[str]) -> None:
    listed_backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(listed_backwards, key=natural_key)


def test_rasters_come_in_the_order_of_channels(tmp_path: Path) -> None:
    names = [s.file_name(day, band) for s in SENSORS for day in s.dates for band in s.band_names]
    touch(tmp_path / "Tile1", *sorted(names), "groundTruth.tif", "groundTruthRGB.png")
    (tile,) = find_tiles(tmp_path)
    table = layer_table({sensor.name: sensor.dates for sensor in SENSORS}, CONTEST)
    measured = [layer for layer in table if layer.acquired is not None]
    assert [(name.sensor, name.acquired, name.band) for name in tile.rasters] == [
        (layer.sensor.name, layer.acquired, layer.band) for layer in measured
    ]
    assert [path.name for path in tile.rasters.values()] == names
    assert tile.ground_truth == tmp_path / "Tile1" / "groundTruth.tif"
    assert tile.unknown_files == ()


def test_the_real_tile_holds_98_rasters_of_the_contest_dates(real_tile: Path) -> None:
    (tile,) = find_tiles(real_tile)
    assert tile.name == "Tile1"
    assert len(tile.rasters) == 98
    assert {sensor.name: tile.dates(sensor.name) for sensor in SENSORS} == {
        sensor.name: sensor.dates for sensor in SENSORS
    }
    bands = [
        name.band for name in tile.rasters if (name.sensor, name.acquired) == ("landsat8", date(2020, 8, 30))
    ]
    assert bands == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11"]
    assert tile.duplicates == ()
    assert tile.unknown_files == ()


def test_a_folder_that_is_itself_a_tile_is_taken_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = touch(tmp_path / "Tile7", RASTER)
    assert [tile.name for tile in find_tiles(folder)] == ["Tile7"]
    monkeypatch.chdir(folder)
    assert [tile.name for tile in find_tiles(Path())] == ["Tile7"]


def test_a_tile_without_labels_is_found(tmp_path: Path) -> None:
    touch(tmp_path / "Tile1", RASTER)
    (tile,) = find_tiles(tmp_path)
    assert tile.ground_truth is None


def test_of_two_names_for_one_raster_the_contest_name_is_read(tmp_path: Path) -> None:
    folder = touch(tmp_path / "Tile1", "L2A_20200816_B04.TIF", RASTER, "GROUNDTRUTH.tif", "groundTruth.tif")
    (tile,) = find_tiles(tmp_path)
    assert tile.rasters == {RasterName("sentinel2", date(2020, 8, 16), "B04"): folder / RASTER}
    assert tile.ground_truth == folder / "groundTruth.tif"
    assert set(tile.duplicates) == {
        (folder / RASTER, folder / "L2A_20200816_B04.TIF"),
        (folder / "groundTruth.tif", folder / "GROUNDTRUTH.tif"),
    }


def test_side_files_are_ignored_and_others_listed(tmp_path: Path) -> None:
    folder = touch(
        tmp_path / "Tile1", RASTER, ".DS_Store", f"._{RASTER}", f"{RASTER}.aux.xml", "notes.txt", "L2A_x.tif"
    )
    (tile,) = find_tiles(tmp_path)
    assert set(tile.unknown_files) == {folder / "notes.txt", folder / "L2A_x.tif"}


def test_what_lies_beside_the_tiles_is_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "Tile1", RASTER)
    touch(tmp_path / "docs", "readme.txt")
    touch(tmp_path / "__MACOSX" / "Tile1", f"._{RASTER}")
    touch(tmp_path / ".cache", RASTER)
    touch(tmp_path, RASTER)
    found = scan_raw_folder(tmp_path)
    assert [tile.name for tile in found.tiles] == ["Tile1"]
    assert found.empty_folders == (tmp_path / "docs",)
    assert found.stray_files == (tmp_path / RASTER,)


def test_dates_of_several_tiles_are_united(tmp_path: Path) -> None:
    touch(tmp_path / "Tile1", "S1A_IW_GRDH_20200816_VV.tif", "S1A_IW_GRDH_20200816_VH.tif")
    touch(tmp_path / "Tile2", "S1A_IW_GRDH_20200804_VV.tif")
    assert union_of_dates(find_tiles(tmp_path), CONTEST) == {
        "sentinel1": (date(2020, 8, 4), date(2020, 8, 16))
    }


def test_a_missing_folder_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"nowhere does not exist.*esdseg sample .*nowhere"):
        find_tiles(tmp_path / "nowhere")


def test_a_file_is_refused_as_folder(tmp_path: Path) -> None:
    touch(tmp_path, "Train.zip")
    with pytest.raises(InputDataError, match=r"Train\.zip is a file"):
        find_tiles(tmp_path / "Train.zip")


def test_an_empty_folder_is_refused_with_the_fix(tmp_path: Path) -> None:
    touch(tmp_path / "Tile1", "groundTruth.tif")
    with pytest.raises(InputDataError, match=r"holds no tiles.*TileN folders.*esdseg sample"):
        find_tiles(tmp_path)


def test_a_folder_one_level_too_high_names_the_right_one(tmp_path: Path) -> None:
    touch(tmp_path / "Train" / "Tile1", RASTER)
    with pytest.raises(InputDataError, match=r"point to .*Train instead"):
        find_tiles(tmp_path)


def test_link_loops_are_no_tiles(tmp_path: Path) -> None:
    (tmp_path / "Tile1").symlink_to(tmp_path / "Tile2")
    (tmp_path / "Tile2").symlink_to(tmp_path / "Tile1")
    touch(tmp_path / "Tile3", RASTER)
    (tmp_path / "Tile3" / "Tile3").symlink_to(tmp_path / "Tile3")
    assert [tile.name for tile in find_tiles(tmp_path)] == ["Tile3"]
    with pytest.raises(InputDataError, match="cannot be listed"):
        find_tiles(tmp_path / "Tile1")


def test_a_linked_tile_keeps_the_name_of_the_link(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", RASTER)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Tile4").symlink_to(tmp_path / "elsewhere")
    assert [tile.name for tile in find_tiles(tmp_path / "raw")] == ["Tile4"]


@pytest.fixture
def folder_with_closed_tile() -> Iterator[Path]:
    """A folder of two tiles that every user may enter, unlike pytest's own, but for the second tile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    touch(folder / "Tile1", RASTER).chmod(0o755)
    touch(folder / "Tile2", RASTER).chmod(0)
    yield folder
    (folder / "Tile2").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.usefixtures("unprivileged")
def test_a_closed_tile_is_refused_and_named(folder_with_closed_tile: Path) -> None:
    raw_dir = folder_with_closed_tile
    assert scan_raw_folder(raw_dir).closed_folders == (raw_dir / "Tile2",)
    with pytest.raises(InputDataError, match=r"Tile2 may not be listed"):
        find_tiles(raw_dir)
    with pytest.raises(InputDataError, match=r"Tile2 may not be listed"):
        find_tiles(raw_dir / "Tile2")
