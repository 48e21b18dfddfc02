from pathlib import Path

import numpy as np
import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.store import open_store
from tests.make_tiles import write_raster
from tests.preprocessing.raw_tiles import config_for, contents, write_tiles

TILES = ("Tile1", "Tile2", "Tile12")


def codes_of(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return np.random.default_rng(number).integers(1, 5, (16, 16)).astype(np.uint16)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Three tiles without labels, and their label grids apart."""
    write_tiles(tmp_path / "raw", TILES, unlabelled=TILES)
    (tmp_path / "reference").mkdir()
    for name, number in (("1.tif", 1), ("tile_02.TIFF", 2), ("Tile12.tif", 12)):
        write_raster(tmp_path / "reference" / name, codes_of(number))
    return tmp_path


def test_label_grids_are_matched_by_number(work: Path) -> None:
    result = preprocess(config_for(work, labels=work / "reference", val_fraction=1))
    assert (result.splits["val"], result.warnings) == (3, ())
    store = open_store(work / "processed")
    for name, number in zip(TILES, (1, 2, 12), strict=True):
        np.testing.assert_array_equal(store.labels(name), codes_of(number) - 1)
    assert preprocess(config_for(work, labels=work / "reference", val_fraction=1)).written == ()


def test_a_changed_label_grid_redoes_its_tile(work: Path) -> None:
    config = config_for(work, labels=work / "reference", val_fraction=1)
    preprocess(config)
    write_raster(work / "reference" / "1.tif", codes_of(99))
    assert preprocess(config).written == ("Tile1",)
    np.testing.assert_array_equal(open_store(work / "processed").labels("Tile1"), codes_of(99) - 1)


def test_tiles_without_a_grid_and_grids_without_a_tile_are_told(work: Path) -> None:
    (work / "reference" / "tile_02.TIFF").rename(work / "reference" / "3.tif")
    write_raster(work / "raw" / "Tile1" / "groundTruth.tif", codes_of(7))
    write_raster(work / "raw" / "Tile2" / "groundTruth.tif", codes_of(8))
    result = preprocess(config_for(work, labels=work / "reference", val_fraction=1))
    assert any(
        "no label grid for Tile2 (with labels of their own: Tile2)" in warning for warning in result.warnings
    )
    assert any("3.tif belong to no tile" in warning for warning in result.warnings)
    store = open_store(work / "processed")
    np.testing.assert_array_equal(store.labels("Tile1"), codes_of(1) - 1)
    np.testing.assert_array_equal(store.labels("Tile2"), codes_of(8) - 1)


def test_wrong_label_grids_are_refused_or_skipped(work: Path) -> None:
    write_raster(work / "reference" / "1.tif", codes_of(1) + 4)
    config = config_for(work, labels=work / "reference", val_fraction=1)
    with pytest.raises(
        InputDataError, match=r"reference/1\.tif: Label codes 5, 6, 7, 8 are not among 1 to 4"
    ):
        preprocess(config)
    assert not contents(work / "processed" / "4x4")
    result = preprocess(config.model_copy(update={"skip_bad": True}))
    assert list(result.skipped) == ["Tile1"]
    assert result.written == ("Tile2", "Tile12")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "holds no label grids; name the folder that holds 1.tif"),
        (("1.tif", "Tile01.tif"), "Tile01.tif are labels of one tile|1.tif are labels of one tile"),
        (("77.tif",), "No label grid in .* belongs to a tile: it holds 77.tif"),
    ],
)
def test_folders_of_labels_that_fit_no_tile_are_refused(
    work: Path, names: tuple[str, ...], said: str
) -> None:
    labels = work / "others"
    labels.mkdir()
    for name in names:
        write_raster(labels / name, codes_of(1))
    with pytest.raises(InputDataError, match=said):
        preprocess(config_for(work, labels=labels))
    with pytest.raises(InputDataError, match=r"The folder of labels .* cannot be read"):
        preprocess(config_for(work, labels=work / "absent"))
