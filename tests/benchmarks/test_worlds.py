"""Tiles of other worlds, and training sets cut out of them: exchanged dates, few tiles, wrong labels."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from benchmarks.worlds import TrainingSet, cut_out, new_folder, shuffle_dates, spoil
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import SplitName
from esdseg.store.store import open_store
from esdseg.tiles.discovery import find_tiles
from tests.make_tiles import write_tile
from tests.store.stores import random_label, write_store

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


def test_wrong_labels_are_as_many_known_cells_as_asked_and_of_any_other_class() -> None:
    rng = np.random.default_rng(0)
    label = np.full((16, 16), 2, np.uint8)
    label[:4] = UNKNOWN_LABEL
    spoilt = spoil(label, "15 % wrong", rng)
    assert (spoilt != label).sum() == round(0.15 * 192)
    assert set(spoilt[spoilt != label].tolist()) == {0, 1, 3}
    assert (spoilt[:4] == UNKNOWN_LABEL).all()
    assert (spoil(label, "none", rng) == label).all()


def test_shifted_labels_lie_a_cell_to_the_east() -> None:
    label = random_label(3)
    shifted = spoil(label, "shifted", np.random.default_rng(0))
    assert (shifted[:, 1:] == label[:, :-1]).all()
    assert (shifted[:, 0] == UNKNOWN_LABEL).all()


def test_a_training_set_has_the_first_tiles_with_their_pixels_and_the_labels_asked_for(
    tmp_path: Path,
) -> None:
    splits: dict[str, SplitName] = {f"Tile{number}": "train" for number in (1, 2, 3, 4)}
    written = write_store(tmp_path / "whole", {**splits, "Tile5": "val"})
    tiles = TrainingSet(labelled=2, labels="5 % wrong", unlabelled=1, validation=2)
    cut_out(open_store(tmp_path / "whole"), tmp_path / "part", tiles, seed=1)
    part = open_store(tmp_path / "part")
    assert part.tile_names("train") == ("Tile1", "Tile2")
    assert part.tile_names("test") == ("Tile3",)
    assert part.tile_names("val") == ("Tile4", "Tile5")
    for name in part.manifest.tiles:
        np.testing.assert_array_equal(part.read_tile(name), written[name][0])
    for name in ("Tile1", "Tile2"):
        known = written[name][1] != UNKNOWN_LABEL
        assert (part.labels(name) != written[name][1]).sum() == round(0.05 * known.sum())
        counts = np.bincount(part.labels(name)[known], minlength=4)
        assert part.manifest.tiles[name].class_counts == tuple(counts)
    assert (part.labels("Tile3") == UNKNOWN_LABEL).all()
    for name in ("Tile4", "Tile5"):
        np.testing.assert_array_equal(part.labels(name), written[name][1])
    whole = open_store(tmp_path / "whole")
    for name, (_, label) in written.items():
        np.testing.assert_array_equal(whole.labels(name), label)
    with pytest.raises(ValueError, match="more tiles than the 5"):
        cut_out(whole, tmp_path / "more", TrainingSet(labelled=5), seed=1)


def test_the_first_of_two_processes_puts_a_folder_in_its_place(tmp_path: Path) -> None:
    with new_folder(tmp_path / "kept") as part:
        (part / "file").write_text("second")
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept/file").write_text("first")
    assert (tmp_path / "kept/file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
