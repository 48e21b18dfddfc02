"""Scores are pooled over tiles, absent classes are said, and the run's epochs are kept."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.models.runs import HISTORY_COLUMNS
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.sources import Sources
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.score import score
from esdseg.scoring.verdict import Judgement
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.predictions import make_prediction


@pytest.fixture(scope="module")
def scored(eval_config: EvalConfig) -> Sources:
    return open_for_scoring(eval_config)


def test_scores_are_pooled_over_tiles_and_never_averaged(scored: Sources, eval_config: EvalConfig) -> None:
    tiles = [make_prediction("Tile1", 1, classes=2), make_prediction("Tile2", 2, classes=4)]

    card = score(tiles, scored, eval_config, Judgement(), 0.5)

    truth = np.concatenate([tile.truth.ravel() for tile in tiles])
    prediction = np.concatenate([tile.classes.ravel() for tile in tiles])
    probabilities = np.concatenate([tile.known_cells()[1] for tile in tiles])
    assert card.f1.macro == pytest.approx(f1_score(truth, prediction, average="macro"))
    assert card.auc.macro == pytest.approx(roc_auc_score(np.eye(4)[truth], probabilities, average="macro"))
    assert np.sum(card.confusion_matrix) == card.cells == 512
    assert card.seconds_per_tile == 0.5


def test_absent_classes_are_undefined_and_said(scored: Sources, eval_config: EvalConfig) -> None:
    card = score([make_prediction("Tile1", 1, classes=2)], scored, eval_config, Judgement(), 0.5)

    assert card.f1.per_class["empty_lit"] is card.auc.per_class["empty_lit"] is None
    assert any(
        note.startswith('"No settlement, with electricity" is neither in the truth nor predicted')
        for note in card.notes
    )
    assert any("One tile says nothing" in note for note in card.notes)


def test_few_tiles_are_said_and_many_are_not(scored: Sources, eval_config: EvalConfig) -> None:
    few, many = (
        score(
            [make_prediction(f"Tile{seed}", seed) for seed in range(count)],
            scored,
            eval_config,
            Judgement(),
            0.5,
        )
        for count in (3, 8)
    )

    assert any("3 tiles alone" in note for note in few.notes)
    assert not any("tiles alone" in note for note in many.notes)
    assert all(interval and interval[0] <= interval[1] for interval in many.intervals.values())


def test_unknown_cells_do_not_count(scored: Sources, eval_config: EvalConfig) -> None:
    whole = make_prediction("Tile1", 1)
    truth = whole.truth.copy()
    truth[whole.truth != whole.classes] = UNKNOWN_LABEL
    tiles = [TilePrediction("Tile1", truth, whole.probabilities)]

    card = score(tiles, scored, eval_config, Judgement(), 0.5)

    assert card.accuracy == 1.0
    assert card.cells == (whole.truth == whole.classes).sum()


def test_the_majority_is_that_of_the_training_tiles(scored: Sources, eval_config: EvalConfig) -> None:
    card = score([make_prediction("Tile1", 1, classes=1)], scored, eval_config, Judgement(), 0.5)

    majority = int(np.argmax(scored.training_counts()[0]))
    assert card.baselines["majority"].accuracy == (1.0 if majority == 0 else 0.0)


@pytest.fixture
def moved(eval_config: EvalConfig, tmp_path: Path) -> EvalConfig:
    """Settings that score a copy of the run, which has no ``metrics.csv``."""
    shutil.copytree(eval_config.checkpoints_dir / "tiny-unet", tmp_path / "moved")
    return eval_config.model_copy(update={"checkpoint": "moved", "checkpoints_dir": tmp_path})


def test_the_epochs_beside_the_checkpoint_are_kept(moved: EvalConfig) -> None:
    values = dict.fromkeys(HISTORY_COLUMNS, 0.25) | {"val_f1_empty_lit": math.nan}
    rows = [",".join(HISTORY_COLUMNS)]
    for epoch in (1, 2):
        cells = ["" if math.isnan(value) else str(value) for value in ({**values, "epoch": epoch}).values()]
        rows.append(",".join(cells))
    (moved.checkpoints_dir / "moved/metrics.csv").write_text("\n".join(rows) + "\n")

    card = score([make_prediction("Tile1", 1)], open_for_scoring(moved), moved, Judgement(), 0.5)

    (run,) = card.history
    assert (run.run, run.fold) == ("tiny-unet", None)
    assert run.column("val_loss") == ((1, 0.25), (2, 0.25))
    assert run.epochs[1]["val_f1_empty_lit"] is None
    assert card.training_config["model"]["name"] == "unet"  # type: ignore[index,call-overload]


def test_a_damaged_history_is_named(moved: EvalConfig) -> None:
    (moved.checkpoints_dir / "moved/metrics.csv").write_text("epoch\nx\n")

    with pytest.raises(InputDataError, match=r"metrics\.csv is damaged"):
        score([make_prediction("Tile1", 1)], open_for_scoring(moved), moved, Judgement(), 0.5)
