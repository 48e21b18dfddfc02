"""A temperature acts on all probabilities, and a threshold is scored beside the likeliest class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from sklearn.metrics import f1_score

from esdseg.config.evaluation import EvalConfig
from esdseg.prediction.device import choose_device
from esdseg.prediction.parts import open_scored
from esdseg.prediction.prediction import predict_tiles
from esdseg.prediction.predictor import predict_here
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.calibrated import Calibrated, describe_calibrated
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.results import EvaluationResult
from esdseg.scoring.scores import score_predictions
from esdseg.scoring.selection import describe_selection
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


def described(config: EvalConfig, **changed: object) -> tuple[Calibrated, list[TilePrediction]]:
    config = config.model_copy(update=changed)
    scored = open_scored(config)
    predictions = [
        prediction
        for part in scored.parts
        for prediction in predict_tiles(
            part.inputs.checkpoint, scored.store, part.tiles, choose_device("cpu", "32-true"), 8
        )
    ]
    scores = score_predictions(predictions, np.ones(4, dtype=np.int64), 100, 0)
    return describe_calibrated(scored, predictions, scores, config), predictions


def test_probabilities_are_divided_by_the_temperature_and_classes_stay(config: EvalConfig) -> None:
    _, calibrated = described(config)
    _, plain = described(config, checkpoint="plain")
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
    metrics: Any = evaluated.metrics
    beside = metrics["threshold_contest_f1"]
    assert (beside["threshold"], beside["selection_bias"]) == (THRESHOLD, True)
    assert beside["contest_f1"] == pytest.approx(f1_score(is_true, found))
    assert beside["interval"][0] <= beside["contest_f1"] <= beside["interval"][1]
    assert metrics["contest_f1"] == pytest.approx(f1_score(is_true, np.concatenate(classes) == 0))
    first, second = evaluated.score_table.headline[:2]
    assert (first.name, second.title) == ("contest_f1", "  at threshold 0.300")
    assert second.value == beside["contest_f1"]
    assert any(f"gives a contest F1 of {second.value:.3f}" in note for note in evaluated.notes)
    assert second.title.strip() in evaluated.report_path.read_text()


def test_calibration_is_told_with_and_without_the_temperature(
    evaluated: EvaluationResult, config: EvalConfig
) -> None:
    metrics: Any = evaluated.metrics
    plain: Any = evaluate(config.model_copy(update={"checkpoint": "plain", "name": "plain"})).metrics
    before = metrics["calibration"]["uncalibrated"]
    assert before == {name: plain["calibration"][name] for name in before}
    assert before["mean_confidence"] > metrics["calibration"]["mean_confidence"]
    assert metrics["temperature"]["value"] == TEMPERATURE
    assert plain["calibration"]["uncalibrated"] is plain["temperature"] is None
    assert plain["threshold_contest_f1"] is None
    for key in ("accuracy", "contest_f1", "f1", "jaccard", "confusion_matrix"):
        assert metrics[key] == plain[key], "no temperature moves the likeliest class"


def test_scored_tiles_that_chose_them_are_named(config: EvalConfig) -> None:
    best = describe_selection(open_scored(config), config, predict_here(config))
    assert "best val_f1_macro on them, and its temperature and threshold" in best.notes[0]
    assert best.last_checkpoint is not None, "its own temperature does not make it another run's"
    changed = config.model_copy(update={"checkpoint": "run/last.ckpt"})
    last = describe_selection(open_scored(changed), changed, predict_here(changed))
    assert not last.is_biased
    assert "chose the temperature and the threshold of last.ckpt" in last.notes[-1]
    chosen, _ = described(config)
    unseen, _ = described(config, split="test")
    for one, is_biased in ((chosen, True), (unseen, False)):
        for key in (one.temperature, one.threshold):
            assert key is not None
            assert key["selection_bias"] is is_biased
    assert "which are scored here" in chosen.notes[0]
    assert "which are scored here" not in unseen.notes[0]
    assert unseen.threshold is not None
    assert unseen.threshold["interval"] is None, "one tile"


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
    crossed = {"checkpoint": "crossed", "checkpoints_dir": tmp_path}
    calibrated, predictions = described(config, **crossed)
    assert calibrated.temperature is not None
    assert calibrated.threshold is not None
    assert calibrated.temperature["value"] is calibrated.threshold["threshold"] is None
    assert calibrated.temperature["selection_bias"] is False
    found = [one.probabilities[0] >= limit for one, limit in zip(predictions, (0.2, 0.6), strict=True)]
    truth = [one.truth == 0 for one in predictions]
    expected = f1_score(np.concatenate(truth).ravel(), np.concatenate(found).ravel())
    assert calibrated.threshold["contest_f1"] == pytest.approx(expected)
    assert "Each fold's own threshold, 0.200 to 0.600" in calibrated.notes[1]
    folds = open_scored(config.model_copy(update=crossed)).describe_folds()
    assert [fold["contest_threshold"] for fold in folds or [] if isinstance(fold, dict)] == [0.2, 0.6]


def test_a_run_that_was_stopped_before_it_was_calibrated_says_so(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "stopped/best.ckpt", store)
    content: Any = torch.load(path, weights_only=True)
    content["esdseg"]["config"]["trainer"]["calibrate"] = True
    torch.save(content, path)
    found, _ = described(config, checkpoint=str(path))
    assert (found.temperature, found.threshold, found.uncalibrated) == (None, None, None)
    assert "has not finished" in found.notes[0]
    hint = f"`esdseg train --name stopped --resume --checkpoints-dir {tmp_path}`"
    assert hint in found.notes[0]


def test_without_class_1_among_the_choosing_tiles_there_is_no_threshold(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "none/best.ckpt", store)
    calibrate(path, threshold=None)
    found, _ = described(config, checkpoint=str(path))
    assert found.threshold is None
    assert "hold no class 1" in found.notes[1]
