"""A store without bad tiles: its split, and what becomes of it when tiles come back or go bad."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.planning import plan
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.splits import split_tiles
from esdseg.store.store import open_store
from esdseg.store.verification import verify_store
from tests.make_tiles import write_tile
from tests.preprocessing.raw_tiles import config_for, contents

RADAR = "S1A_IW_GRDH_20200723_VV.tif"
NAMES = [f"Tile{number}" for number in range(1, 7)]
SETTINGS = {"val_fraction": 0.4, "seed": 3}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "raw"
    for seed, name in enumerate(NAMES):
        write_tile(folder / name, dates={"sentinel1": [date(2020, 7, 23)]}, seed=seed)
    return folder


@pytest.fixture
def work(raw: Path, tmp_path: Path) -> Path:
    """A folder with the raw tiles, Tile2 cut short."""
    shutil.copytree(raw, tmp_path / "raw")
    spoil(tmp_path, "Tile2")
    return tmp_path


def spoil(work: Path, tile: str) -> bytes:
    path = work / "raw" / tile / RADAR
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    return content


def test_the_split_is_that_of_the_kept_tiles(work: Path) -> None:
    config = config_for(work, skip_bad=True, **SETTINGS)
    planned = plan(config)
    assert list(planned.skipped) == ["Tile2"]
    done = preprocess(config)
    manifest = open_store(work / "processed").manifest
    kept = [name for name in NAMES if name != "Tile2"]
    assert {name: entry.split for name, entry in manifest.tiles.items()} == split_tiles(kept, 0.4, 3)
    assert manifest.skipped == dict(done.skipped) == dict(planned.skipped)
    assert manifest.skipped["Tile2"].startswith(f"{RADAR}: It cannot be read as a TIFF")
    assert str(work) not in manifest.skipped["Tile2"]
    assert json.loads(json.dumps(done.to_json()))["skipped"] == manifest.skipped
    before = contents(work / "processed/4x4")
    assert preprocess(config).written == ()
    assert contents(work / "processed/4x4") == before


def test_a_mended_tile_is_added_and_the_split_drawn_anew(work: Path) -> None:
    preprocess(config_for(work, skip_bad=True, **SETTINGS))
    shutil.copy(work / "raw/Tile1" / RADAR, work / "raw/Tile2" / RADAR)
    done = preprocess(config_for(work, **SETTINGS))
    assert "Tile2" in done.written
    (told,) = [warning for warning in done.warnings if "drawn anew" in warning]
    assert "Tile2 came back" in told
    (work / "other").mkdir()
    preprocess(config_for(work, processed_dir=work / "other", **SETTINGS))
    assert contents(work / "processed/4x4") == contents(work / "other/4x4")
    assert verify_store(work / "processed/4x4", workers=1).ok


def test_a_tile_that_goes_bad_is_left_out_only_when_that_is_asked_for(work: Path) -> None:
    preprocess(config_for(work, skip_bad=True, **SETTINGS))
    before = contents(work / "processed/4x4")
    spoil(work, "Tile5")
    with pytest.raises(InputDataError, match=r"Tile2 cannot be used.*--skip-bad"):
        preprocess(config_for(work, **SETTINGS))
    assert contents(work / "processed/4x4") == before
    done = preprocess(config_for(work, skip_bad=True, **SETTINGS))
    assert list(done.skipped) == ["Tile2", "Tile5"]
    assert any("Tile5 went bad" in warning for warning in done.warnings)
    assert list(open_store(work / "processed").manifest.tiles) == ["Tile1", "Tile3", "Tile4", "Tile6"]


def test_with_strict_tiles_that_miss_rasters_are_left_out_too(work: Path) -> None:
    (work / "raw/Tile4" / RADAR).unlink()
    done = preprocess(config_for(work, skip_bad=True, strict=True, **SETTINGS))
    assert list(done.skipped) == ["Tile2", "Tile4"]
    assert "misses band VV" in done.skipped["Tile4"]


def test_bad_tiles_are_found_alike_by_several_processes(work: Path) -> None:
    spoil(work, "Tile6")
    one = plan(config_for(work, skip_bad=True, **SETTINGS))
    assert (
        plan(config_for(work, skip_bad=True, **{**SETTINGS, "workers": 2})).to_json()["tiles"]
        == one.to_json()["tiles"]
    )


def test_tiles_that_are_not_needed_may_be_bad(work: Path) -> None:
    done = preprocess(config_for(work, selected_bands={"sentinel1": ["VH"]}, skip_bad=True, **SETTINGS))
    assert done.skipped == {}
