from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.loading import dump_config, load_config
from esdseg.config.training import ESDConfig
from esdseg.errors import UsageError
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit, measure_pace
from esdseg.training.run_folder import FitResult
from tests.datasets.make_store import CHANNELS, make_store
from tests.training.conftest import tiny_config
from tests.training.test_fit import history, read_checkpoint

MODELS: dict[str, dict[str, Any]] = {
    "cell_logistic": {"name": "cell_logistic"},
    "cell_boosting": {"name": "cell_boosting", "max_iter": 10},
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def fitted(
    request: pytest.FixtureRequest, processed_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FitResult, list[EpochReport]]:
    reports: list[EpochReport] = []
    config = tiny_config(
        processed_dir, model=MODELS[request.param], trainer={"max_epochs": 40, "precision": "bf16-mixed"}
    )
    folder = tmp_path_factory.mktemp("runs")
    return fit(config, checkpoints_dir=folder, name=request.param, on_epoch=reports.append), reports


Fitted = tuple[FitResult, list[EpochReport]]


def test_a_fit_writes_the_same_files_as_a_training_and_one_epoch(fitted: Fitted) -> None:
    result, reports = fitted
    names = {path.name for path in result.run_dir.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "config.yml", "metrics.csv", "curves.png"}
    assert result.best_checkpoint.read_bytes() == result.last_checkpoint.read_bytes()
    (row,) = history(result.run_dir)
    assert (row["epoch"], row["learning_rate"]) == ("1", "")
    assert float(row["val_f1_macro"]) == result.best_metrics["val_f1_macro"]
    assert (result.best_epoch, result.epochs, len(reports)) == (1, 1, 1)
    kept = open_checkpoint(result.best_checkpoint).config
    assert dump_config(kept) == (result.run_dir / "config.yml").read_text()


def predicted(checkpoint: Path, store: Store, split: SplitName) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (tiles, 4, 16, 16) and labels of a split's tiles."""
    tiles = store.tile_names(split)
    predictions = predict_tiles([open_checkpoint(checkpoint)], store, tiles, choose_device("cpu", "32-true"))
    probabilities = torch.stack([torch.from_numpy(tile.probabilities) for tile in predictions])
    labels = torch.stack([torch.from_numpy(store.labels(tile).astype(np.int64)) for tile in tiles])
    return probabilities.log(), labels


def test_its_checkpoint_scores_as_logged_and_has_learned(fitted: Fitted, store: Store) -> None:
    result, _ = fitted
    metrics = SegmentationMetrics()
    metrics.update(*predicted(result.best_checkpoint, store, "val"))
    scores = {f"val_{name}": value for name, value in metrics.compute().items()}
    assert result.best_metrics.keys() <= scores.keys() | {"val_loss"}
    for name in result.best_metrics.keys() & scores.keys():
        np.testing.assert_allclose(result.best_metrics[name], scores[name], atol=1e-6, err_msg=name)
    assert scores["val_accuracy"] > 0.9, "the images give their labels away"


def test_the_losses_are_those_of_the_checkpoint(fitted: Fitted, store: Store) -> None:
    result, (report,) = fitted
    counts = store.class_counts(store.tile_names("train"))
    balanced = np.sqrt(counts.sum() / (np.count_nonzero(counts) * counts))
    weights = torch.tensor(balanced * counts.sum() / (balanced * counts).sum(), dtype=torch.float32)
    splits: tuple[SplitName, ...] = ("train", "val")
    for split, found in zip(splits, (report.train_loss, report.metrics["val_loss"]), strict=True):
        expected = torch.nn.functional.cross_entropy(
            *predicted(result.best_checkpoint, store, split), weights
        )
        assert found == pytest.approx(float(expected), rel=1e-4)


def test_a_fit_is_repeatable_and_resuming_it_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    result, _ = fitted
    config = load_config(ESDConfig, result.run_dir / "config.yml")
    again = fit(config, checkpoints_dir=tmp_path, name="again")
    first, second = (read_checkpoint(run.best_checkpoint)["cell_model"] for run in (result, again))
    assert all(torch.equal(values, second[name]) for name, values in first.items())
    with pytest.raises(UsageError, match="fitted in one go"):
        fit(ESDConfig(), checkpoints_dir=tmp_path, name="again", resume=True)


def test_validation_tiles_do_not_reach_the_model(processed_dir: Path, tmp_path: Path) -> None:
    """The same training tiles beside another validation tile give the same model."""
    config = tiny_config(processed_dir, model=MODELS["cell_boosting"])
    mine = fit(config, checkpoints_dir=tmp_path, name="mine")
    make_store(
        tmp_path / "other",
        split={"Tile1": "train", "Tile2": "train", "Tile9": "val"},
        channels=CHANNELS[1:3],
        labels={"Tile9": np.zeros((16, 16), np.uint8)},
    )
    other = fit(
        tiny_config(tmp_path / "other", model=MODELS["cell_boosting"]), checkpoints_dir=tmp_path, name="b"
    )
    first, second = (read_checkpoint(run.best_checkpoint)["cell_model"] for run in (mine, other))
    assert all(torch.equal(values, second[name]) for name, values in first.items())


def test_a_fit_is_logged_like_a_training(
    processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = tiny_config(processed_dir, model=MODELS["cell_logistic"], tracking={"wandb": "offline"})
    result = fit(config, checkpoints_dir=tmp_path, name="logged")
    assert result.sync_command is not None
    assert list((result.run_dir / "wandb").glob("offline-run-*/*.wandb"))


def test_every_tile_and_the_fit_are_told_before_they_begin(processed_dir: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    config = tiny_config(processed_dir, model=MODELS["cell_logistic"])
    fit(config, checkpoints_dir=tmp_path, name="told", on_step=lambda *step: told.append(step))
    assert told == [
        ("Tile1", 0, 4),
        ("Tile2", 1, 4),
        ("Tile10", 2, 4),
        ("fitting cell_logistic", 3, 4),
    ]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_pace_is_measured_on_a_few_tiles_of_many(model: str, tmp_path: Path) -> None:
    split: dict[str, SplitName] = {f"Tile{number}": "train" for number in range(1, 5)}
    store = make_store(tmp_path, split={**split, "Tile5": "val"}, channels=CHANNELS[:1])
    # Whoever reads more than two tiles finds out.
    for tile in ("Tile3", "Tile4", "Tile5"):
        for chunk in (store.path / ("Val" if tile == "Tile5" else "Train")).glob(f"{tile}.zarr/image/c/**/*"):
            if chunk.is_file():
                chunk.write_bytes(b"damaged")
    pace = measure_pace(tiny_config(tmp_path, model=MODELS[model]), tmp_path)
    assert not pace.has_epochs
    assert pace.seconds(1) == pace.seconds(40) > 0
