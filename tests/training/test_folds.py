"""Runs of folds: what they see, and going on with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from esdseg.config.training import ESDConfig, FoldsConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.store.folds import make_fold
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.folds import fit_folds
from esdseg.training.run_folder import FitResult
from tests.datasets.make_store import CHANNELS, make_store, random_labels
from tests.training.conftest import tiny_config

SPLIT: dict[str, SplitName] = {
    **dict.fromkeys(("Tile1", "Tile2", "Tile3", "Tile4"), "train"),
    **dict.fromkeys(("Tile5", "Tile10"), "val"),
    "Tile6": "test",
}
FOLD = FoldsConfig(fold="2/3")


class StopError(Exception):
    """Stands for whatever kills a run."""


def stop_after_first_epoch(report: EpochReport) -> None:
    raise StopError


def fold_store(folder: Path, labels: dict[str, npt.NDArray[np.uint8]] | None = None) -> Store:
    return make_store(folder, split=SPLIT, channels=CHANNELS[1:3], labels=labels)


def fold_config(processed_dir: Path, fold: str = "2/3") -> ESDConfig:
    return tiny_config(processed_dir, folds={"fold": fold}, augmentation={"noise_probability": 0.5})


def state(path: Path) -> dict[str, torch.Tensor]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def equal_states(first: Path, second: Path) -> bool:
    one, other = state(first), state(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fold_store(tmp_path_factory.mktemp("processed")).path.parent


@pytest.fixture(scope="module")
def one_fold(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit(fold_config(processed), checkpoints_dir=tmp_path_factory.mktemp("runs"), name="one")


@pytest.fixture(scope="module")
def all_folds(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    fit_folds(fold_config(processed), checkpoints_dir=runs, name="all")
    return runs


def perturbed(tile: str, folder: Path) -> Store:
    """The store with other pixels and labels in one tile; which fold a tile is in stays the same.

    A quarter turn moves every label, and all of class 4 becomes class 3, which changes the class counts but
    neither the share of class 1 nor that there is electricity.
    """
    label = np.rot90(random_labels(list(SPLIT).index(tile)))
    return fold_store(folder, {tile: np.where(label == 3, 2, label).astype(np.uint8)})


def test_nothing_of_a_held_out_tile_reaches_the_training(
    one_fold: FitResult, processed: Path, tmp_path: Path
) -> None:
    metadata = load_checkpoint(one_fold.best_checkpoint).metadata
    store = perturbed(metadata.held_out_tiles[0], tmp_path / "p")
    assert store.manifest_hash != metadata.manifest_hash
    other = fit(fold_config(tmp_path / "p"), checkpoints_dir=tmp_path / "runs", name="one")
    assert load_checkpoint(other.best_checkpoint).metadata.held_out_tiles == metadata.held_out_tiles
    assert (other.run_dir / "metrics.csv").read_bytes() == (one_fold.run_dir / "metrics.csv").read_bytes()
    assert equal_states(other.best_checkpoint, one_fold.best_checkpoint)
    assert equal_states(other.last_checkpoint, one_fold.last_checkpoint)


def test_the_inner_tiles_choose_and_the_training_tiles_train(one_fold: FitResult, tmp_path: Path) -> None:
    metadata = load_checkpoint(one_fold.best_checkpoint).metadata
    perturbed(metadata.val_tiles[0], tmp_path / "inner")
    chosen = fit(fold_config(tmp_path / "inner"), checkpoints_dir=tmp_path / "a", name="one")
    assert (chosen.run_dir / "metrics.csv").read_bytes() != (one_fold.run_dir / "metrics.csv").read_bytes()
    assert equal_states(chosen.last_checkpoint, one_fold.last_checkpoint), "scales and weights are not theirs"
    perturbed(metadata.train_tiles[0], tmp_path / "train")
    trained = fit(fold_config(tmp_path / "train"), checkpoints_dir=tmp_path / "b", name="one")
    assert not equal_states(trained.last_checkpoint, one_fold.last_checkpoint)


def test_the_fold_is_written_into_the_run(one_fold: FitResult, processed: Path, tmp_path: Path) -> None:
    metadata = load_checkpoint(one_fold.best_checkpoint).metadata
    fold = make_fold(FOLD, fold_store(tmp_path))
    written = json.loads((one_fold.run_dir / "fold.json").read_text())
    assert (written["fold"], written["seed"], written["inner_parts"]) == ("2/3", 0, 5)
    for tiles, kept, name in (
        (metadata.train_tiles, fold.train_tiles, "train_tiles"),
        (metadata.val_tiles, fold.inner_tiles, "inner_tiles"),
        (metadata.held_out_tiles, fold.held_out_tiles, "held_out_tiles"),
    ):
        assert list(tiles) == list(kept) == written[name]
    assert metadata.config.folds == FOLD
    assert "fold: 2/3" in (one_fold.run_dir / "config.yml").read_text()


def test_a_fold_resumes_as_the_same_fold(one_fold: FitResult, processed: Path, tmp_path: Path) -> None:
    with pytest.raises(StopError):
        fit(
            fold_config(processed),
            checkpoints_dir=tmp_path,
            name="one",
            on_epoch=stop_after_first_epoch,
        )
    with pytest.raises(UsageError, match=r"folds\.fold is 2/3, not 1/3"):
        fit(ESDConfig(folds=FoldsConfig(fold="1/3")), checkpoints_dir=tmp_path, name="one", resume=True)
    resumed = fit(ESDConfig(), checkpoints_dir=tmp_path, name="one", resume=True)
    assert equal_states(resumed.last_checkpoint, one_fold.last_checkpoint)


def test_all_folds_are_the_single_ones(one_fold: FitResult, all_folds: Path) -> None:
    assert sorted(path.name for path in all_folds.iterdir()) == [f"all-fold{k}of3" for k in (1, 2, 3)]
    assert equal_states(all_folds / "all-fold2of3/best.ckpt", one_fold.best_checkpoint)
    held_out = [
        tile
        for path in all_folds.glob("*/best.ckpt")
        for tile in load_checkpoint(path).metadata.held_out_tiles
    ]
    assert sorted(held_out) == sorted(name for name, side in SPLIT.items() if side != "test")


def test_folds_go_on_where_they_stopped(all_folds: Path, processed: Path, tmp_path: Path) -> None:
    told: list[int] = []

    def stop_in_fold_2(report: EpochReport) -> None:
        if told[-1] == 2 and report.epoch == 1:
            raise StopError

    with pytest.raises(StopError):
        fit_folds(
            fold_config(processed),
            checkpoints_dir=tmp_path,
            name="all",
            on_fold=lambda number, _count, _path: told.append(number),
            on_epoch=stop_in_fold_2,
        )
    assert told == [1, 2]
    first = (tmp_path / "all-fold1of3/last.ckpt").stat().st_mtime_ns

    # No other setting is given again, and the fold that has not begun takes those of the others.
    asked = ESDConfig(folds=FoldsConfig(fold="1/3"))
    result = fit_folds(
        asked,
        checkpoints_dir=tmp_path,
        resume=True,
        on_fold=lambda number, _count, _path: told.append(number),
    )
    assert told == [1, 2, 2, 3]
    assert result.name == "all", "the newest"
    assert (tmp_path / "all-fold1of3/last.ckpt").stat().st_mtime_ns == first
    assert result.config.model == fold_config(processed).model
    for number in (1, 2, 3):
        kept = f"all-fold{number}of3/best.ckpt"
        assert equal_states(tmp_path / kept, all_folds / kept)

    again = fit_folds(asked, checkpoints_dir=tmp_path, name="all", resume=True)
    assert again.to_json() == result.to_json(), "finished folds tell what they told"
    with pytest.raises(UsageError, match=r"loss\.class_weights is sqrt, not none"):
        fit_folds(
            ESDConfig.model_validate({"folds": {"fold": "1/3"}, "loss": {"class_weights": "none"}}),
            checkpoints_dir=tmp_path,
            name="all",
            resume=True,
        )


def test_folds_of_that_name_are_not_overwritten(all_folds: Path, processed: Path) -> None:
    with pytest.raises(UsageError, match=r"all-fold1of3 exists; go on with it by --resume"):
        fit_folds(fold_config(processed), checkpoints_dir=all_folds, name="all")


def test_nothing_to_resume_is_said(processed: Path, tmp_path: Path) -> None:
    config = fold_config(processed)
    with pytest.raises(InputDataError, match="no run of 3 folds to resume"):
        fit_folds(config, checkpoints_dir=tmp_path, resume=True)
    with pytest.raises(InputDataError, match="Start it without --resume"):
        fit_folds(config, checkpoints_dir=tmp_path, name="none", resume=True)


def test_several_machines_train_folds_by_themselves(processed: Path, tmp_path: Path) -> None:
    config = tiny_config(processed, folds={"fold": "1/3"}, trainer={"num_nodes": 2})
    with pytest.raises(UsageError, match="--fold 1/3 to --fold 3/3"):
        fit_folds(config, checkpoints_dir=tmp_path)
