"""The simple models beside a score are those that training makes, fitted once."""

from pathlib import Path
from typing import Any

import pytest
import torch

from esdseg.baselines.simple_baselines import CACHE_FOLDER
from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import BaselineScores
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.tile_prediction import scored_tiles
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.results import EvaluationResult
from esdseg.scoring.verdict import predict_simple_models
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.fit import fit
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.training.conftest import tiny_config

CHANNELS = ("viirs_2020-08-08_DNB", "sentinel1_2020-08-04_VV", "sentinel2_2020-08-11_B04")
SPLIT: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile10": "val"}
Steps = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simple")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return make_store(folder / "processed", split=SPLIT, channels=CHANNELS)


@pytest.fixture(scope="module")
def config(folder: Path, store: Store) -> EvalConfig:
    write_checkpoint(folder / "runs/net/best.ckpt", store, run_name="net", channels=store.channels)
    return EvalConfig(
        checkpoint="net",
        checkpoints_dir=folder / "runs",
        processed_dir=folder / "processed",
        predictions_dir=folder / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=100,
    )


@pytest.fixture(scope="module")
def evaluated(config: EvalConfig) -> tuple[EvaluationResult, Steps]:
    steps: Steps = []
    return evaluate(config, on_simple=lambda *step: steps.append(step)), steps


Evaluated = tuple[EvaluationResult, Steps]


def baseline(result: EvaluationResult, name: str) -> BaselineScores:
    return result.card.baselines[name]


@pytest.mark.parametrize("name", ["cell_logistic", "cell_boosting"])
def test_they_are_what_training_makes_of_the_same_tiles(
    name: str, evaluated: Evaluated, config: EvalConfig, folder: Path
) -> None:
    result, _ = evaluated
    settings = tiny_config(folder / "processed", model={"name": name})
    fit(settings, checkpoints_dir=folder / "runs", name=name)
    trained = evaluate(config.model_copy(update={"checkpoint": name, "name": name}))
    beside = baseline(result, name)
    for key in ("accuracy", "contest_f1", "f1", "jaccard", "auc", "confusion_matrix"):
        assert getattr(beside, key) == getattr(trained.card, key), key


def test_the_models_stand_in_the_table(evaluated: Evaluated) -> None:
    result, _ = evaluated
    trees = baseline(result, "cell_boosting")
    assert result.tables[0].header[-2:] == ("cell logistic", "cell boosting")
    assert result.tables[0].rows[0][-1] == f"{trees.contest_f1:.3f}"


def test_every_tile_and_fit_is_told_and_the_second_time_nothing_is_done(
    evaluated: Evaluated, config: EvalConfig
) -> None:
    result, steps = evaluated
    assert [step[0] for step in steps] == [
        "Tile1", "Tile2", "Tile3", "Tile10", "fitting cell_logistic", "fitting cell_boosting",
    ]  # fmt: skip
    assert [step[1:] for step in steps] == [(done, 6) for done in range(6)]
    again: Steps = []
    assert scores(config, again) == kept_scores(result)
    assert again == []


@pytest.mark.parametrize("damage", ["cut off", "no torch file", "of another shape"])
def test_a_damaged_cache_is_fitted_again(
    damage: str, evaluated: Evaluated, config: EvalConfig, tmp_path: Path
) -> None:
    result, _ = evaluated
    (kept,) = (config.predictions_dir / CACHE_FOLDER).glob("*.pt")
    content = kept.read_bytes()
    damaged = tmp_path / CACHE_FOLDER / kept.name
    damaged.parent.mkdir(parents=True)
    if damage == "of another shape":
        loaded = torch.load(kept, weights_only=True)
        loaded["cell_logistic"]["Tile3"] = torch.zeros(4, 2, 2)
        loaded["cell_boosting"] = "gone"
        torch.save(loaded, damaged)
    else:
        damaged.write_bytes(content[: len(content) // 2] if damage == "cut off" else b"nonsense")
    assert scores(config.model_copy(update={"predictions_dir": tmp_path})) == kept_scores(result)
    assert {path.name for path in damaged.parent.iterdir()} - {".lock"} == {kept.name}
    assert torch.load(damaged, weights_only=True)["cell_logistic"]["Tile3"].shape == (4, 16, 16)


def scores(config: EvalConfig, steps: Steps | None = None) -> dict[str, Any]:
    found = [] if steps is None else steps
    predicted = predict_simple_models(
        open_for_scoring(config), config.predictions_dir, lambda *step: found.append(step)
    )
    return {name: dict(scored_tiles(tiles).scores()) for name, tiles in predicted.items()}


def kept_scores(result: EvaluationResult) -> dict[str, Any]:
    scores = {name: dict(baseline(result, name)) for name in ("cell_logistic", "cell_boosting")}
    return {
        name: {key: one for key, one in of.items() if key not in ("predicted_class", "most_frequent_in")}
        for name, of in scores.items()
    }


def test_each_fold_has_models_of_its_own_training_tiles_and_each_tile_is_read_once(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    halves = [("Tile1", "Tile2"), ("Tile3", "Tile10")]
    for number, (held_out, rest) in enumerate([halves, halves[::-1]], start=1):
        write_checkpoint(
            tmp_path / f"crossed-fold{number}of2/best.ckpt",
            store,
            channels=store.channels,
            train_tiles=rest,
            val_tiles=(),
            held_out_tiles=held_out,
            fold=f"{number}/2",
        )
    crossed = config.model_copy(update={"checkpoint": "crossed", "checkpoints_dir": tmp_path})
    steps: Steps = []
    together = predict_simple_models(
        open_for_scoring(crossed), tmp_path / "together", lambda *step: steps.append(step)
    )
    assert sorted(step[0] for step in steps if step[0].startswith("Tile")) == sorted(SPLIT)
    assert steps[-1][1:] == (7, 8)
    for number, (held_out, _) in enumerate([halves, halves[::-1]], start=1):
        one = open_for_scoring(crossed.model_copy(update={"checkpoint": f"crossed-fold{number}of2"}))
        alone = predict_simple_models(one, tmp_path / f"alone{number}")
        for name, predictions in alone.items():
            mine = {prediction.tile: prediction for prediction in together[name]}
            assert {prediction.tile for prediction in predictions} == set(held_out)
            assert all((mine[one.tile].probabilities == one.probabilities).all() for one in predictions)


def test_another_store_than_the_trained_one_is_said(config: EvalConfig, tmp_path: Path) -> None:
    make_store(tmp_path / "processed", split={**SPLIT, "Tile5": "train"}, channels=CHANNELS)
    changed = config.model_copy(
        update={"processed_dir": tmp_path / "processed", "predictions_dir": tmp_path / "predictions"}
    )
    with pytest.raises(
        InputDataError, match=r"^No simple models are scored beside: .* is not the store that"
    ):
        predict_simple_models(open_for_scoring(changed), changed.predictions_dir)
    assert not (tmp_path / "predictions").exists()


def test_training_tiles_that_are_gone_are_said(config: EvalConfig, store: Store, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net/best.ckpt", store, channels=store.channels, train_tiles=("Tile77",))
    changed = config.model_copy(update={"checkpoints_dir": tmp_path})
    with pytest.raises(InputDataError, match=r"lacks tiles \(Tile77\) that"):
        predict_simple_models(open_for_scoring(changed), changed.predictions_dir)


def test_they_can_be_left_out(config: EvalConfig) -> None:
    card = evaluate(config.model_copy(update={"simple_baselines": False, "name": "without"})).card
    assert set(card.baselines) == {"majority", "all_class_1"}
    assert card.verdict is None
