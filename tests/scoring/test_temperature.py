"""A temperature acts on all probabilities, and a threshold is scored beside the likeliest class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from sklearn.metrics import f1_score

from esdseg.config.evaluation import EvalConfig
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import EvaluationResult
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS, for_restitch

TEMPERATURE, THRESHOLD = 2.5, 0.3
TILES = ("Tile2", "Tile3")


def calibrate(path: Path, temperature: float = TEMPERATURE, threshold: float | None = THRESHOLD) -> None:
    content: Any = torch.load(path, weights_only=True)
    content["esdseg"] |= {
        "temperature": temperature,
        "contest_threshold": threshold,
        "is_calibrated": True,
    }
    torch.save(content, path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "val", "Tile3": "val", "Tile4": "test"}
    return make_store(tmp_path_factory.mktemp("processed"), split=split, channels=CHANNELS)


@pytest.fixture(scope="module")
def config(store: Store, tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    runs = tmp_path_factory.mktemp("runs")
    write_checkpoint(runs / "plain/best.ckpt", store, weight_scale=2)
    for name, temperature in (("best", TEMPERATURE), ("last", 3.0)):
        calibrate(write_checkpoint(runs / f"run/{name}.ckpt", store, weight_scale=2), temperature)
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


@pytest.fixture(scope="module")
def evaluated(config: EvalConfig) -> EvaluationResult:
    return evaluate(config)


def predicted(config: EvalConfig) -> list[TilePrediction]:
    return list(Predictor(config).predict(open_for_scoring(config)))


def scorecard(config: EvalConfig, **changed: object) -> Scorecard:
    return evaluate(config.model_copy(update={"name": "any", **changed})).card


def test_probabilities_are_divided_by_the_temperature_and_classes_stay(config: EvalConfig) -> None:
    calibrated = predicted(config)
    plain = predicted(config.model_copy(update={"checkpoint": "plain"}))
    for mine, before in zip(calibrated, plain, strict=True):
        assert mine.uncalibrated is not None
        assert before.uncalibrated is None
        np.testing.assert_array_equal(mine.uncalibrated, before.probabilities)
        powers = before.probabilities.astype(float) ** (1 / TEMPERATURE)
        np.testing.assert_allclose(mine.probabilities, powers / powers.sum(axis=0), rtol=1e-4)
        np.testing.assert_array_equal(mine.classes, before.classes)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_the_threshold_is_scored_on_the_written_maps_beside_the_likeliest_class(
    evaluated: EvaluationResult, config: EvalConfig, store: Store
) -> None:
    restitched = restitch(for_restitch(config, tiles=TILES, name="maps"))
    truth, share, classes = [], [], []
    for tile in TILES:
        with rasterio.open(evaluated.output_dir / tile / "probabilities.tif") as file:
            share.append(file.read(1).ravel())
            classes.append(file.read().argmax(axis=0).ravel())
        with rasterio.open(restitched.output_dir / tile / "probabilities.tif") as file:
            np.testing.assert_array_equal(file.read(1).ravel(), share[-1])
        truth.append(store.labels(tile).ravel() == 0)
    is_true, found = np.concatenate(truth), np.concatenate(share) >= THRESHOLD
    beside = evaluated.card.threshold_contest_f1
    assert beside is not None
    assert (beside.threshold, beside.selection_bias) == (THRESHOLD, True)
    assert beside.contest_f1 == pytest.approx(f1_score(is_true, found))
    assert beside.interval is not None
    assert beside.interval[0] <= (beside.contest_f1 or 0) <= beside.interval[1]
    assert evaluated.card.contest_f1 == pytest.approx(f1_score(is_true, np.concatenate(classes) == 0))
    first, second = evaluated.score_table.headline[:2]
    assert (first.name, second.title) == ("contest_f1", "  at threshold 0.300")
    assert second.value == beside.contest_f1
    assert any(f"gives a contest F1 of {second.value:.3f}" in note for note in evaluated.card.notes)
    assert second.title.strip() in evaluated.report_path.read_text()


def test_calibration_is_told_with_and_without_the_temperature(
    evaluated: EvaluationResult, config: EvalConfig
) -> None:
    card, plain = evaluated.card, scorecard(config, checkpoint="plain")
    before = card.calibration.uncalibrated
    assert before is not None
    assert dict(before) == {name: getattr(plain.calibration, name) for name in dict(before)}
    assert (before.mean_confidence or 0) > (card.calibration.mean_confidence or 1)
    assert card.temperature is not None
    assert card.temperature.value == TEMPERATURE
    assert plain.calibration.uncalibrated is None
    assert plain.temperature is None
    assert plain.threshold_contest_f1 is None
    for name in ("accuracy", "contest_f1", "f1", "jaccard", "confusion_matrix"):
        assert getattr(card, name) == getattr(plain, name), "no temperature moves the likeliest class"


def test_scored_tiles_that_chose_them_are_named(evaluated: EvaluationResult, config: EvalConfig) -> None:
    chosen = evaluated.card
    assert any(
        "best val_f1_macro on them, and its temperature and threshold" in note for note in chosen.notes
    )
    assert chosen.last_checkpoint is not None, "its own temperature does not make it another run's"
    last = scorecard(config, checkpoint="run/last.ckpt")
    assert not last.selection_bias
    assert any("chose the temperature and the threshold of last.ckpt" in note for note in last.notes)
    unseen = scorecard(config, split="test")
    for card, is_biased in ((chosen, True), (unseen, False)):
        for choice in (card.temperature, card.threshold_contest_f1):
            assert choice is not None
            assert choice.selection_bias is is_biased
        assert any("which are scored here" in note for note in card.notes) is is_biased
    assert unseen.threshold_contest_f1 is not None
    assert unseen.threshold_contest_f1.interval is None, "one tile"


def test_each_fold_has_its_own(config: EvalConfig, store: Store, tmp_path: Path) -> None:
    for number, (held_out, inner, threshold) in enumerate(
        [("Tile1", "Tile2", 0.2), ("Tile2", "Tile1", 0.6)], start=1
    ):
        path = write_checkpoint(
            tmp_path / f"crossed-fold{number}of2/best.ckpt",
            store,
            val_tiles=(inner,),
            train_tiles=("Tile3",),
            held_out_tiles=(held_out,),
            fold=f"{number}/2",
            weight_scale=2,
        )
        calibrate(path, temperature=number, threshold=threshold)
    crossed = config.model_copy(update={"checkpoint": "crossed", "checkpoints_dir": tmp_path})
    card, predictions = scorecard(crossed), predicted(crossed)
    assert card.temperature is not None
    assert card.threshold_contest_f1 is not None
    assert card.temperature.value is card.threshold_contest_f1.threshold is None
    assert card.temperature.selection_bias is False
    found = [one.probabilities[0] >= limit for one, limit in zip(predictions, (0.2, 0.6), strict=True)]
    truth = [one.truth == 0 for one in predictions]
    expected = f1_score(np.concatenate(truth).ravel(), np.concatenate(found).ravel())
    assert card.threshold_contest_f1.contest_f1 == pytest.approx(expected)
    assert any("Each fold's own threshold, 0.200 to 0.600" in note for note in card.notes)
    assert [fold.contest_threshold for fold in card.folds or ()] == [0.2, 0.6]


def test_a_run_that_was_stopped_before_it_was_calibrated_says_so(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "stopped/best.ckpt", store)
    content: Any = torch.load(path, weights_only=True)
    content["esdseg"]["config"]["trainer"]["calibrate"] = True
    torch.save(content, path)
    card = scorecard(config, checkpoint=str(path))
    assert (card.temperature, card.threshold_contest_f1, card.calibration.uncalibrated) == (None, None, None)
    (note,) = (note for note in card.notes if "has not finished" in note)
    assert f"`esdseg train --name stopped --resume --checkpoints-dir {tmp_path}`" in note


def test_without_class_1_among_the_choosing_tiles_there_is_no_threshold(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "none/best.ckpt", store)
    calibrate(path, threshold=None)
    card = scorecard(config, checkpoint=str(path))
    assert card.threshold_contest_f1 is None
    assert any("hold no settlement without electricity" in note for note in card.notes)
