"""A run that learns from tiles without labels, which another run labels."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import InputDataError
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.system.processes import ignore
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.pseudo_labels import label_tiles
from esdseg.training.run_folder import RunFolder
from tests.datasets.make_store import CHANNELS, make_store, random_labels
from tests.training.conftest import tiny_config
from tests.training.test_fit import StopError, read_checkpoint

Labels = dict[str, npt.NDArray[np.uint8]]

UNLABELLED = ("Tile5", "Tile6")
SPLIT: dict[str, SplitName] = {
    "Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile4": "test", **dict.fromkeys(UNLABELLED, "test")
}  # fmt: skip
SHOWN: Labels = {tile: random_labels(number) for number, tile in enumerate(UNLABELLED, start=20)}
NETWORK = tiny_config(Path()).model.model_dump()
# Strong enough a penalty that the model is sure of some cells and not of others.
LABELLER = {"name": "cell_logistic", "C": 0.02}


def written(folder: Path, labels: Labels, split: dict[str, SplitName] = SPLIT) -> Store:
    """A store whose last two tiles show classes that their labels need not tell."""
    # Of some cells too little is there to be predicted.
    empty = np.zeros((2, 16, 16), bool)
    empty[:, :4] = True
    no_data = {"Tile6": empty}
    return make_store(
        folder, split=split, channels=CHANNELS[1:3], labels=labels, shown=SHOWN, no_data=no_data
    )


def settings(processed_dir: Path, model: dict[str, Any] = NETWORK, **data: object) -> ESDConfig:
    trainer = {"max_epochs": 1, "monitor": None}
    return tiny_config(processed_dir, model=model, data=data, trainer=trainer)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Store:
    unknown = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    return written(tmp_path_factory.mktemp("processed"), dict.fromkeys(UNLABELLED, unknown))


@pytest.fixture(scope="module")
def runs(sparse: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with ``first``, which has learned from the labelled tiles."""
    folder = tmp_path_factory.mktemp("runs")
    fit(settings(sparse.path.parent, LABELLER), checkpoints_dir=folder, name="first")
    return folder


@pytest.fixture(scope="module")
def expected(sparse: Store, runs: Path) -> Labels:
    """The labels that ``first`` should give, by its own probabilities."""
    first = open_checkpoint(runs / "first/best.ckpt")
    labels: Labels = {}
    for prediction in predict_tiles([first], sparse, UNLABELLED, choose_device("cpu", "32-true")):
        labels[prediction.tile] = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
        for row, column in np.ndindex(16, 16):
            of_cell = prediction.probabilities[:, row, column]
            if of_cell.max() >= 0.8:
                labels[prediction.tile][row, column] = of_cell.argmax()
    unknown = np.mean([found[4:] == UNKNOWN_LABEL for found in labels.values()])
    assert 0.05 < unknown < 0.95, "the labeller is sure of some cells"
    return labels


def weights(path: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(path)
    found: dict[str, torch.Tensor] = content.get("state_dict") or content["cell_model"]
    return found


def assert_same_weights(path: Path, other: Path) -> None:
    mine, theirs = weights(path), weights(other)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def labelled_for(
    config: ESDConfig, store: Store, runs: Path, fold: str | None = None
) -> tuple[SubtileDataModule, list[str]]:
    """The tiles of a training that the run of its settings has labelled, and what is said of that."""
    config = config.model_copy(update={"folds": config.folds.model_copy(update={"fold": fold})})
    notes: list[str] = []
    data = SubtileDataModule(config.resolved(4, store.channels), store)
    label_tiles(data, RunFolder(runs / "second", config), runs, ignore, notes.append)
    return data, notes


@pytest.mark.parametrize("model", [NETWORK, {"name": "cell_logistic"}], ids=lambda model: model["name"])
def test_sure_cells_teach_as_labelled_ones_do_and_others_nothing(
    model: dict[str, Any], sparse: Store, runs: Path, expected: Labels, tmp_path: Path
) -> None:
    """The same tiles with these labels written into a store give the same run."""
    notes: list[str] = []
    config = settings(sparse.path.parent, model, pseudo_labels=str(runs / "first"))
    second = fit(config, checkpoints_dir=tmp_path, name="second", on_note=notes.append)
    split: dict[str, SplitName] = {**SPLIT, **dict.fromkeys(UNLABELLED, "train")}
    store = written(tmp_path / "labelled", expected, split)
    labelled = fit(settings(store.path.parent, model), checkpoints_dir=tmp_path, name="labelled")
    assert_same_weights(second.best_checkpoint, labelled.best_checkpoint)
    assert second.best_metrics == labelled.best_metrics

    metadata = open_checkpoint(second.best_checkpoint).metadata
    assert metadata.train_tiles == ("Tile1", "Tile2", *UNLABELLED), "a labelled tile of Test/ is for scoring"
    known = int(sum((found != UNKNOWN_LABEL).sum() for found in expected.values()))
    assert notes == [
        f"first labelled {known} cells of 2 tiles without labels; {100 * (1 - known / 512):.0f} % of their "
        "cells stay unknown."
    ], "no score chose first, so that it has not learned from the validation tile"


def test_windows_hold_the_labels_and_the_store_stays_as_it_is(
    sparse: Store, runs: Path, expected: Labels
) -> None:
    data, _ = labelled_for(settings(sparse.path.parent, pseudo_labels="first"), sparse, runs)
    samples = [data.train_dataset[index] for index in range(len(data.train_dataset))]
    for tile, labels in expected.items():
        position = data.train_tiles.index(tile)
        for sample in samples:
            if sample["tile"] == position:
                row, column = 4 * sample["row"], 4 * sample["column"]
                expected_window = labels[row : row + 4, column : column + 4]
                np.testing.assert_array_equal(sample["label"].numpy(), expected_window)
        assert (sparse.labels(tile) == UNKNOWN_LABEL).all()
    assert not sparse.class_counts(UNLABELLED).any()


def test_a_store_without_unlabelled_tiles_is_refused_with_what_to_do(processed_dir: Path, runs: Path) -> None:
    config = settings(processed_dir, pseudo_labels="first")
    with pytest.raises(
        InputDataError, match=r"has none; put raw tiles without groundTruth.tif .*--overwrite"
    ):
        fit(config, checkpoints_dir=runs, name="second")


def test_held_out_tiles_get_no_labels_and_it_is_told_that_the_labeller_knows_them(
    sparse: Store, runs: Path
) -> None:
    data, notes = labelled_for(settings(sparse.path.parent, pseudo_labels="first"), sparse, runs, "1/3")
    scored = (*data.val_tiles, *data.held_out_tiles)
    assert set(data.train_tiles) == {"Tile1", "Tile2", "Tile3", *UNLABELLED} - set(scored)
    known = [tile for tile in scored if tile in ("Tile1", "Tile2")]
    assert known
    assert notes[1] == (
        f"first, which labels tiles here, has learned from {len(known)} of the 2 tiles that score this run "
        f"({', '.join(known)}): its scores will be too high. Let a run on other tiles label."
    )


def test_validation_tiles_that_chose_the_labeller_are_told(sparse: Store, runs: Path) -> None:
    monitored = tiny_config(sparse.path.parent, trainer={"max_epochs": 1})
    fit(monitored, checkpoints_dir=runs, name="chosen")
    _, notes = labelled_for(settings(sparse.path.parent, pseudo_labels="chosen"), sparse, runs)
    assert notes[1].startswith("chosen, which labels tiles here, has learned from 1 of the 1 tiles")


def test_a_resumed_run_labels_alike_and_refuses_another_labeller(sparse: Store, runs: Path) -> None:
    config = settings(sparse.path.parent, pseudo_labels="first")
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"max_epochs": 2})})
    undisturbed = fit(config, checkpoints_dir=runs, name="undisturbed")

    def kill(report: EpochReport) -> None:
        raise StopError

    with pytest.raises(StopError):
        fit(config, checkpoints_dir=runs, name="killed", on_epoch=kill)
    labeller = runs / "first/best.ckpt"
    content = labeller.read_bytes()
    labeller.write_bytes(undisturbed.best_checkpoint.read_bytes())
    with pytest.raises(InputDataError, match=r"first/best.ckpt has changed since the run .*killed began"):
        fit(ESDConfig(), checkpoints_dir=runs, name="killed", resume=True)
    labeller.write_bytes(content)
    notes: list[str] = []
    resumed = fit(ESDConfig(), checkpoints_dir=runs, name="killed", resume=True, on_note=notes.append)
    assert "of 2 tiles without labels, once more for --resume;" in notes[0]
    assert_same_weights(resumed.last_checkpoint, undisturbed.last_checkpoint)
