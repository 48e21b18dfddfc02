from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.store import open_store
from tests.preprocessing.raw_tiles import config_for, write_tiles

SIX = ("Tile1", "Tile2", "Tile3", "Tile4", "Tile10", "Tile11")


def test_test_tiles_keep_their_labels_and_lie_in_test(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", SIX, unlabelled=["Tile11"])
    result = preprocess(config_for(tmp_path, test_fraction=0.4))
    store = open_store(tmp_path / "processed")
    test = store.tile_names("test")
    assert result.splits == {"train": 2, "val": 1, "test": 3}
    assert "Tile11" in test
    assert {path.stem for path in (store.path / "Test").iterdir()} == set(test)
    for tile in test:
        assert (store.labels(tile) == 255).all() == (tile == "Tile11")
    assert store.manifest.split.test_fraction == 0.4
    assert "--test-fraction 0.4" in store.rewrite_command


def test_another_test_share_is_refused_with_the_mending_command(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", SIX[:5])
    preprocess(config_for(tmp_path))
    with pytest.raises(
        InputDataError, match=r"test_fraction was 0\.0, is 0\.4 now.*--test-fraction 0\.4 --overwrite"
    ):
        preprocess(config_for(tmp_path, test_fraction=0.4))
