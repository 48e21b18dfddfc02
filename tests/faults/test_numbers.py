"""Numbers that are none stop a training, and never come out as a score."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from esdseg.config.evaluation import EvalConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import load_checkpoint
from esdseg.scoring.evaluate import evaluate
from esdseg.store.store import Store, open_store
from esdseg.training.machine import build_trainer, choose_machine, quiet_lightning
from esdseg.training.task import SegmentationTask
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS


class GradientSpoiler(pl.Callback):
    """Makes the numbers of the second step's gradient NaN; its loss is finite."""

    def on_after_backward(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        if trainer.global_step == 1:
            gradient = next(task.parameters()).grad
            assert gradient is not None
            gradient.fill_(torch.nan)


def test_a_gradient_that_is_no_number_stops_training_with_tiles_named(trained: Path) -> None:
    store = open_store(trained / "processed")
    metadata = load_checkpoint(trained / "checkpoints/run/last.ckpt").metadata
    config = metadata.config
    data = SubtileDataModule(config, store)
    machine = choose_machine(config)
    task = SegmentationTask(config, data, metadata.run_name)
    data.take(task.model.grids)
    with (
        quiet_lightning(),
        pytest.raises(InputDataError, match=r"from step 3 on, whose batch came from Tile"),
    ):
        build_trainer(config, machine, [GradientSpoiler()]).fit(task, datamodule=data)


@pytest.fixture
def one_class(tmp_path: Path) -> Store:
    """A store whose validation tile is all of one class, and in which pixels of all tiles are no data."""
    split = {"Tile1": "train", "Tile2": "val"}
    labels = {"Tile2": np.full((16, 16), 1, np.uint8)}
    return make_store(tmp_path / "processed", split=split, channels=CHANNELS, labels=labels)  # type: ignore[arg-type]


def test_scores_with_empty_denominators_are_null(one_class: Store, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoints/tiny/best.ckpt", one_class)
    result = evaluate(
        EvalConfig(
            checkpoint="tiny",
            checkpoints_dir=tmp_path / "checkpoints",
            processed_dir=tmp_path / "processed",
            predictions_dir=tmp_path / "predictions",
            simple_baselines=False,
            bootstrap_resamples=100,
        )
    )

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} in metrics.json")

    metrics = json.loads(result.metrics_path.read_text(), parse_constant=refuse)
    assert all(np.isfinite(number) for number in numbers(metrics))
    assert metrics["cells"] == 256
    # Without a second class nothing can be ranked.
    assert metrics["auc"]["macro"] is None
    assert set(metrics["auc"]["per_class"].values()) == {None}
    assert metrics["recall"]["per_class"]["settlement_dark"] is None


def numbers(value: object) -> Iterator[float]:
    """Yield every number in nested JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, (int, float)):
        yield float(value)
