"""Scores of tiles that chose the checkpoint say so."""

from pathlib import Path

import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.prediction.parts import open_scored
from esdseg.prediction.predictor import predict_here
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.selection import Selection, describe_selection
from esdseg.store.store import Store
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    split = {"Tile1": "train", "Tile2": "val", "Tile3": "val", "Tile4": "test"}
    return make_store(tmp_path_factory.mktemp("processed"), split=split, channels=CHANNELS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def config(store: Store, tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    """A run whose two checkpoints differ, and one without a last checkpoint."""
    runs = tmp_path_factory.mktemp("runs")
    write_checkpoint(runs / "run/best.ckpt", store, run_name="run", seed=0)
    write_checkpoint(runs / "run/last.ckpt", store, run_name="run", seed=1)
    write_checkpoint(runs / "alone/best.ckpt", store, run_name="alone")
    write_checkpoint(runs / "mixed/best.ckpt", store, run_name="mixed")
    write_checkpoint(runs / "mixed/last.ckpt", store, run_name="run", seed=1)
    return EvalConfig(
        checkpoint="run",
        checkpoints_dir=runs,
        processed_dir=store.path.parent,
        predictions_dir=runs / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=100,
        simple_baselines=False,
    )


def selection(config: EvalConfig, **changed: object) -> Selection:
    config = config.model_copy(update=changed)
    return describe_selection(open_scored(config), config, predict_here(config))


def test_scores_of_the_choosing_tiles_say_so_with_the_last_checkpoints_beside(config: EvalConfig) -> None:
    result = evaluate(config)
    last = evaluate(config.model_copy(update={"checkpoint": "run/last.ckpt", "name": "last"}))
    assert (result.metrics["selection_bias"], last.metrics["selection_bias"]) == (True, False)
    assert last.metrics["last_checkpoint"] is None
    beside = result.metrics["last_checkpoint"]
    assert isinstance(beside, dict)
    assert beside["checkpoint"] == str(last.checkpoint)
    rows = {row.name: row for row in last.score_table.headline}
    assert {name: beside[name] for name in rows} == pytest.approx({n: row.value for n, row in rows.items()})
    chosen = {row.name: row.value for row in result.score_table.headline}
    assert chosen["auc_macro"] != pytest.approx(rows["auc_macro"].value), "the two checkpoints differ"
    first = rows["contest_f1"]
    assert result.notes[0].startswith("These tiles chose best.ckpt, the epoch with the best val_f1_macro on")
    assert f"contest F1 {first.value:.3f}" in result.notes[0]
    assert "early stopping watched these tiles" in last.notes[0]
    page = result.report_path.read_text()
    assert "These tiles chose the checkpoint" in page
    assert "These tiles chose the checkpoint" not in last.report_path.read_text()


@pytest.mark.parametrize("split", ["test", "train"])
def test_other_tiles_chose_nothing(config: EvalConfig, split: str) -> None:
    assert selection(config, split=split) == Selection(False, None, ())


@pytest.mark.parametrize("run", ["alone", "mixed"])
def test_without_a_last_checkpoint_of_the_run_none_is_shown(config: EvalConfig, run: str) -> None:
    found = selection(config, checkpoint=run)
    assert (found.is_biased, found.last_checkpoint) == (True, None)
    assert "There is no last.ckpt beside it" in found.notes[0]


def test_tiles_that_a_fold_held_out_chose_nothing_and_its_inner_tiles_did(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    write_checkpoint(
        tmp_path / "f/best.ckpt", store, val_tiles=("Tile3",), held_out_tiles=("Tile2",), fold="1/3"
    )
    assert not selection(config, checkpoint="f", checkpoints_dir=tmp_path).is_biased
    inner = selection(config, checkpoint="f", checkpoints_dir=tmp_path, split="val")
    assert inner.is_biased
    assert inner.notes[0].startswith("1 of these tiles chose best.ckpt")
