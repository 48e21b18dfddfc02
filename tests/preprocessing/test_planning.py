from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.planning import plan
from esdseg.preprocessing.preprocess import preprocess
from tests.preprocessing.raw_tiles import config_for, write_tiles


def test_a_plan_says_what_would_be_written_and_writes_nothing(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2", "Tile10"])
    found = plan(config_for(tmp_path, val_fraction=0.4))
    assert [(tile.name, tile.action) for tile in found.tiles] == [
        ("Tile1", "write"),
        ("Tile2", "write"),
        ("Tile10", "write"),
    ]
    assert not (tmp_path / "processed").exists()
    result = preprocess(config_for(tmp_path, val_fraction=0.4))
    assert result.num_layers == len(found.layers)
    assert {tile.split for tile in found.tiles} == {"train", "val"}
    assert result.bytes > 0


def test_a_plan_of_a_partly_changed_folder_keeps_the_rest(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2"])
    preprocess(config_for(tmp_path, val_fraction=0))
    full = plan(config_for(tmp_path, val_fraction=0), overwrite=True)
    assert {tile.action for tile in full.tiles} == {"write"}
    (tmp_path / "raw/Tile2/DNB_VNP46A1_A2020221.tif").unlink()
    found = plan(config_for(tmp_path, val_fraction=0))
    assert [tile.action for tile in found.tiles] == ["keep", "write"]
    assert found.cost.disk_bytes * 2 == full.cost.disk_bytes
    assert found.to_json()["warnings"] == [
        "Tile2 misses VIIRS night lights (VNP46A1) of 2020-08-08; no data there."
    ]


def test_a_plan_that_the_run_would_refuse_is_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2"])
    preprocess(config_for(tmp_path, val_fraction=0))
    with pytest.raises(InputDataError, match="was made otherwise"):
        plan(config_for(tmp_path, val_fraction=1))
    with pytest.raises(InputDataError, match="Bands of landsat8 are to be kept, and no tile holds it"):
        plan(config_for(tmp_path, selected_bands={"landsat8": ["B4"]}))


def test_unlabelled_tiles_beside_labelled_ones_are_warned_of(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2"], unlabelled=["Tile2"])
    found = plan(config_for(tmp_path, val_fraction=0))
    assert found.warnings == (
        "Tile2 without groundTruth.tif: stored in Test/, not scored, and learned from by "
        "data.pseudo_labels alone.",
    )


def test_a_folder_of_test_tiles_needs_no_split(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", ["Tile1"], unlabelled=["Tile1"])
    found = plan(config_for(tmp_path))
    assert ([tile.split for tile in found.tiles], found.warnings) == (["test"], ())
