"""Runs in folds: each tile is predicted by the network that did not see it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from sklearn.metrics import accuracy_score

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.results import EvaluationResult
from esdseg.store.store import Store
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS

HELD_OUT = {1: ("Tile1", "Tile10"), 2: ("Tile3",), 3: ("Tile2",)}
TILES = ("Tile1", "Tile2", "Tile3", "Tile10")


def write_folds(store: Store, runs: Path, name: str, count: int = 3) -> None:
    for number in range(1, count + 1):
        rest = tuple(tile for tile in TILES if tile not in HELD_OUT[number])
        write_checkpoint(
            runs / f"{name}-fold{number}of{count}/best.ckpt",
            store,
            run_name=f"{name}-fold{number}of{count}",
            train_tiles=rest[:1],
            val_tiles=rest[1:],
            held_out_tiles=HELD_OUT[number],
            fold=f"{number}/{count}",
            seed=number,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    store = make_store(folder / "processed", split=dict.fromkeys(TILES, "train"), channels=CHANNELS)
    write_folds(store, folder / "runs", "crossed")
    write_checkpoint(folder / "runs/plain/best.ckpt", store)
    return folder


@pytest.fixture(scope="module")
def config(folder: Path) -> EvalConfig:
    return EvalConfig(
        checkpoint="crossed",
        checkpoints_dir=folder / "runs",
        processed_dir=folder / "processed",
        predictions_dir=folder / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=100,
        simple_baselines=False,
    )


@pytest.fixture(scope="module")
def together(config: EvalConfig) -> EvaluationResult:
    return evaluate(config)


def probabilities(folder: Path, tile: str) -> npt.NDArray[np.float32]:
    with rasterio.open(folder / tile / "probabilities.tif") as file:
        return np.asarray(file.read())


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_each_tile_is_predicted_by_the_fold_that_held_it_out(
    together: EvaluationResult, config: EvalConfig
) -> None:
    for number, tiles in list(HELD_OUT.items())[:2]:
        alone = evaluate(config.model_copy(update={"checkpoint": f"crossed-fold{number}of3"}))
        assert (alone.card.split, alone.card.tiles) == ("fold", tiles)
        for tile in tiles:
            mine = probabilities(together.output_dir, tile)
            np.testing.assert_array_equal(mine, probabilities(alone.output_dir, tile))


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_all_held_out_tiles_are_scored_together(together: EvaluationResult, folder: Path) -> None:
    card = together.card
    assert (card.run, card.split, card.cells) == ("crossed", "fold", 4 * 256)
    assert card.tiles == TILES, "in natural order, not fold by fold"
    assert card.checkpoint == str(folder / "runs/crossed-fold*of3/best.ckpt")
    assert together.output_dir == folder / "predictions/crossed"
    assert [fold.tiles for fold in card.folds or ()] == list(HELD_OUT.values())
    assert card.networks() == (0, 2, 1, 0)
    truth, classes = [], []
    store = open_for_scoring(
        EvalConfig(checkpoint="crossed", checkpoints_dir=folder / "runs", processed_dir=folder / "processed")
    ).store
    for tile in TILES:
        truth.append(store.labels(tile).ravel())
        classes.append(probabilities(together.output_dir, tile).argmax(axis=0).ravel())
    assert card.accuracy == pytest.approx(accuracy_score(np.concatenate(truth), np.concatenate(classes)))
    assert all(card.intervals.values())
    assert f"crossed on {len(TILES)} tiles held out by the folds" in together.tables[0].title
    assert not any("trained on" in note for note in card.notes)


def test_progress_counts_over_all_folds(config: EvalConfig) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(config, on_tile=lambda *one: told.append(one))
    assert [one[1:] for one in told] == [(done, 4) for done in (1, 2, 3, 4)]
    assert {one[0] for one in told} == set(TILES)


def test_the_majority_is_that_of_the_tiles_trained_on(config: EvalConfig) -> None:
    scored = open_for_scoring(config)
    trained_on = ["Tile2", "Tile1", "Tile1"]
    expected = sum(scored.store.class_counts([tile]) for tile in trained_on)
    np.testing.assert_array_equal(scored.training_counts()[0], expected)


def test_the_pattern_names_the_folds_too(config: EvalConfig, folder: Path) -> None:
    for text in ("crossed-fold*of3", str(folder / "runs/crossed-fold*of3"), str(folder / "runs/crossed")):
        assert len(open_for_scoring(config.model_copy(update={"checkpoint": text})).ensembles) == 3


def test_other_tiles_are_scored_by_one_fold_alone(config: EvalConfig) -> None:
    with pytest.raises(UsageError, match=r"--split test: .*name one of them, such as --checkpoint crossed-f"):
        open_for_scoring(config.model_copy(update={"split": "test"}))


def test_a_plain_run_has_no_fold_to_score(config: EvalConfig) -> None:
    with pytest.raises(UsageError, match="held out no tiles; score it with --split val"):
        open_for_scoring(config.model_copy(update={"checkpoint": "plain", "split": "fold"}))


def test_a_missing_fold_is_named_with_what_trains_it(folder: Path, tmp_path: Path) -> None:
    config = EvalConfig(checkpoint="crossed", checkpoints_dir=tmp_path, processed_dir=folder / "processed")
    for number in (1, 3):
        (tmp_path / f"crossed-fold{number}of3").symlink_to(folder / f"runs/crossed-fold{number}of3")
    command = f"esdseg train --folds 3 --name crossed --resume --checkpoints-dir {tmp_path}"
    with pytest.raises(InputDataError, match=rf"1 of its 3 folds \(2\); train them with `{command}`"):
        open_for_scoring(config)


def test_folds_that_overlap_are_refused(config: EvalConfig, tmp_path: Path, folder: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"mixed-fold{number}of2").symlink_to(folder / "runs/crossed-fold1of3")
    with pytest.raises(InputDataError, match="do not belong together"):
        open_for_scoring(config.model_copy(update={"checkpoint": "mixed", "checkpoints_dir": tmp_path}))


def test_several_numbers_of_folds_ask_for_a_choice(config: EvalConfig, folder: Path, tmp_path: Path) -> None:
    for name in ("crossed-fold1of3", "crossed-fold2of3", "crossed-fold3of3"):
        (tmp_path / name).symlink_to(folder / "runs" / name)
    (tmp_path / "crossed-fold1of2").symlink_to(folder / "runs/crossed-fold1of3")
    with pytest.raises(InputDataError, match=r"choose '.*crossed-fold\*of2' or '.*crossed-fold\*of3'"):
        open_for_scoring(config.model_copy(update={"checkpoints_dir": tmp_path}))
    chosen = config.model_copy(update={"checkpoints_dir": tmp_path, "checkpoint": "crossed-fold*of3"})
    assert len(open_for_scoring(chosen).ensembles) == 3
