"""Maps of a run in folds: each tile by the fold that held it out, all others by the mean of the folds."""

from pathlib import Path

import numpy as np
import pytest

from esdseg.config.evaluation import RestitchConfig
from esdseg.errors import InputDataError
from esdseg.prediction.maps import read_codes
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import RestitchResult
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.datasets.make_store import make_store
from tests.scoring.conftest import CHANNELS
from tests.scoring.test_folds import TILES, probabilities, write_folds
from tests.scoring.test_temperature import calibrate

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

UNSEEN = "Tile7"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RestitchConfig:
    folder = tmp_path_factory.mktemp("restitched")
    store = make_store(
        folder / "processed",
        split={**dict.fromkeys(TILES, "train"), UNSEEN: "test"},
        channels=CHANNELS,
        labels={UNSEEN: np.full((16, 16), UNKNOWN_LABEL, dtype=np.uint8)},
    )
    write_folds(store, folder / "runs", "crossed")
    calibrate(folder / "runs/crossed-fold2of3/best.ckpt", temperature=3)
    return RestitchConfig(
        checkpoint="crossed-fold*of3",
        checkpoints_dir=folder / "runs",
        processed_dir=folder / "processed",
        predictions_dir=folder / "predictions",
        accelerator="cpu",
        precision="32-true",
    )


@pytest.fixture(scope="module")
def together(config: RestitchConfig) -> RestitchResult:
    return restitch(config)


@pytest.fixture(scope="module")
def alone(config: RestitchConfig) -> dict[int, Path]:
    """The maps of all tiles by each fold."""
    return {
        number: restitch(
            config.model_copy(update={"checkpoint": f"crossed-fold{number}of3", "name": f"fold-{number}"})
        ).output_dir
        for number in (1, 2, 3)
    }


def test_each_tile_is_mapped_by_the_fold_that_held_it_out(
    together: RestitchResult, alone: dict[int, Path], config: RestitchConfig
) -> None:
    assert together.output_dir == config.predictions_dir / "crossed"
    assert {one.tile for one in together.maps} == {*TILES, UNSEEN}
    for tile, number in (("Tile1", 1), ("Tile10", 1), ("Tile3", 2), ("Tile2", 3)):
        mine, own = probabilities(together.output_dir, tile), probabilities(alone[number], tile)
        np.testing.assert_array_equal(mine, own)
        others = [probabilities(alone[other], tile) for other in {1, 2, 3} - {number}]
        assert not any(np.allclose(mine, other) for other in others)


def test_a_tile_that_no_fold_held_out_is_mapped_by_the_mean(
    together: RestitchResult, alone: dict[int, Path]
) -> None:
    expected = np.mean([probabilities(folder, UNSEEN) for folder in alone.values()], axis=0)
    mine = probabilities(together.output_dir, UNSEEN)
    np.testing.assert_allclose(mine, expected, rtol=1e-6)
    np.testing.assert_allclose(mine.sum(axis=0), 1, rtol=1e-5)


def test_it_is_told_which_run_mapped_which_tile(together: RestitchResult, alone: dict[int, Path]) -> None:
    assert together.notes[1:] == (
        "Tile1, Tile10: mapped by crossed-fold1of3, which held them out.",
        "Tile3: mapped by crossed-fold2of3, which held it out.",
        "Tile2: mapped by crossed-fold3of3, which held it out.",
        "Tile7: mapped by the mean of all 3 folds' probabilities; none held it out.",
    )
    maps = together.to_json()["maps"]
    assert isinstance(maps, dict)
    by = {tile: files["mapped_by"] for tile, files in maps.items() if isinstance(files, dict)}
    assert by["Tile3"] == ["crossed-fold2of3"]
    assert by[UNSEEN] == ["crossed-fold1of3", "crossed-fold2of3", "crossed-fold3of3"]


def test_the_named_tiles_alone_are_mapped_and_counted(config: RestitchConfig) -> None:
    told: list[tuple[str, int, int]] = []
    some = config.model_copy(update={"tiles": (UNSEEN, "Tile2"), "name": "some", "checkpoint": "crossed"})
    result = restitch(some, on_tile=lambda *one: told.append(one))
    assert told == [("Tile2", 1, 2), (UNSEEN, 2, 2)]
    assert [one.tile for one in result.maps] == [UNSEEN, "Tile2"]


def test_what_is_handed_in_holds_the_classes_of_the_maps(config: RestitchConfig) -> None:
    changes = {
        "tiles": ("Tile2", UNSEEN),
        "name": "handed-in",
        "checkpoint": "crossed",
        "submission": "classroom",
    }
    with pytest.raises(InputDataError, match="here are 2 tiles"):
        restitch(config.model_copy(update=changes))
    assert not (config.predictions_dir / "handed-in").exists()
    result = restitch(config.model_copy(update={**changes, "any_tiles": True}))

    assert result.submission is not None
    assert result.to_json()["submission"] == str(config.predictions_dir / "handed-in/results.csv")
    assert "numbered from 1 in this order: Tile2, Tile7" in result.notes[-1]
    _, *rows = result.submission.path.read_text().splitlines()
    for position, tile in enumerate(("Tile2", UNSEEN)):
        labels = read_codes(result.output_dir / tile / "prediction.tif").ravel()
        assert rows[position * 256 : (position + 1) * 256] == [
            f"{position * 256 + cell},{label}" for cell, label in enumerate(labels)
        ]


def test_a_single_run_needs_no_word_of_who_mapped(config: RestitchConfig) -> None:
    one = config.model_copy(update={"checkpoint": "crossed-fold1of3", "tiles": ("Tile1",), "name": "one"})
    result = restitch(one)
    assert len(result.notes) == 1, "on channels"
    assert result.maps[0].mapped_by == ("crossed-fold1of3",)


def test_a_missing_fold_is_named(config: RestitchConfig, tmp_path: Path) -> None:
    for number in (1, 3):
        name = f"crossed-fold{number}of3"
        (tmp_path / name).symlink_to(config.checkpoints_dir / name)
    with pytest.raises(InputDataError, match=r"lacks 1 of its 3 folds \(2\)"):
        restitch(config.model_copy(update={"checkpoints_dir": tmp_path}))
