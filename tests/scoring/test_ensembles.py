"""Several runs predict together: which, from what, and on which tiles they may be scored."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import ESDSegError, InputDataError, UsageError
from esdseg.models.checkpoint import NetworkCheckpoint
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.tile_prediction import scored_tiles
from esdseg.scoring.evaluate import evaluate
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS
from tests.scoring.test_folds import probabilities, write_folds
from tests.scoring.test_temperature import calibrate

SPLIT: dict[str, SplitName] = {
    "Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile10": "val", "Tile4": "test",
}  # fmt: skip
FEW_CHANNELS = ("sentinel2_1_B04", "viirs_1_DNB")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("processed"), split=SPLIT, channels=CHANNELS)


@pytest.fixture(scope="module")
def config(store: Store, tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    """Runs ``first`` and ``second``, of other channels; ``sure`` and ``surer``, calibrated; and ``leaky``."""
    runs = tmp_path_factory.mktemp("runs")
    few = [channel for channel in store.channels if channel.name in FEW_CHANNELS]
    for name in ("best", "last"):
        write_checkpoint(runs / f"first/{name}.ckpt", store, run_name="first", seed=len(name), weight_scale=2)
    write_checkpoint(runs / "second/best.ckpt", store, run_name="second", seed=2, channels=few)
    for temperature, file in enumerate(("sure/best.ckpt", "surer/best.ckpt", "sure/last.ckpt"), start=3):
        name = file.partition("/")[0]
        path = write_checkpoint(runs / file, store, run_name=name, seed=temperature, weight_scale=2)
        calibrate(path, temperature=temperature)
    write_checkpoint(runs / "leaky/best.ckpt", store, run_name="leaky", train_tiles=("Tile1", "Tile3"))
    write_checkpoint(runs / "elsewhere/best.ckpt", store, run_name="elsewhere", val_tiles=("Tile2",))
    return EvalConfig(
        checkpoint="first",
        checkpoints_dir=runs,
        processed_dir=store.path.parent,
        predictions_dir=runs / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=100,
        simple_baselines=False,
    )


def changed(config: EvalConfig, **values: object) -> EvalConfig:
    return EvalConfig.model_validate({**config.model_dump(), **values})


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_two_runs_are_scored_by_the_mean_of_their_probabilities(config: EvalConfig, store: Store) -> None:
    together = changed(config, checkpoint=["first", "second"])
    result = evaluate(together)
    runs = config.checkpoints_dir
    card = result.card
    assert result.output_dir == config.predictions_dir / "first+second"
    assert (card.model, card.run, card.split) == ("unet", "first+second", "val")
    assert card.checkpoint == f"{runs / 'first/best.ckpt'}, {runs / 'second/best.ckpt'}"
    assert [one.run for one in card.ensemble or ()] == ["first", "second"]
    assert (card.tta, card.overlap, card.window_size) == ("none", 0, 4)
    alone = []
    for run in ("first", "second"):
        sources = open_for_scoring(changed(config, checkpoint=run))
        alone.append(list(Predictor(config).predict(sources)))
    for tile, *both in zip(card.tiles, *alone, strict=True):
        mean = np.mean([one.probabilities for one in both], axis=0)
        np.testing.assert_allclose(probabilities(result.output_dir, tile), mean, atol=1e-6)
    assert f"first+second on {len(card.tiles)} tiles of the val split" in result.tables[0].title
    text = (result.output_dir / "config.yml").read_text()
    assert "checkpoint:\n- first\n- second\n" in text
    assert card.selection_bias is True
    assert any("chose best.ckpt of 2 checkpoints" in note for note in card.notes)
    assert card.last_checkpoint is None, "one of the two runs has none"


def test_a_member_that_was_trained_on_scored_tiles_is_refused(config: EvalConfig) -> None:
    together = changed(config, checkpoint=["first", "leaky"])
    with pytest.raises(UsageError, match=r"leaky/best.ckpt was trained on 1 of the val tiles .*\(Tile3\)"):
        open_for_scoring(together)
    assert open_for_scoring(changed(together, split="test")).tiles == ("Tile4",)
    assert open_for_scoring(changed(config, checkpoint="leaky")).tiles == ("Tile3", "Tile10"), (
        "a note says so"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoint": ["first", "first/best.ckpt"]}, "twice"),
        ({"checkpoint": ["first", "nowhere"]}, "no checkpoint 'nowhere'"),
        ({"checkpoint": "first", "ensemble": 2}, "'first' is no sweep's folder"),
        ({"overlap": 4}, "4 cells must be smaller than the window of 4; use 1 to 3"),
        ({"checkpoint": ["first", "second"], "subtile_size": 8}, "There is no processed store .*8x8"),
        (
            {"checkpoint": ["first", "elsewhere"], "calibrate": True, "split": "test"},
            "no tile of .* validated",
        ),
    ],
)
def test_wrong_uses_are_told_before_anything_is_predicted(
    values: dict[str, object], message: str, config: EvalConfig
) -> None:
    together = changed(config, **values)
    with pytest.raises(ESDSegError, match=message) as caught:
        Predictor(together).calibrate_all(open_for_scoring(together))
    assert caught.value.exit_code in (2, 3)


def test_windows_that_cannot_overlap_are_refused_with_the_settings(config: EvalConfig) -> None:
    for window, overlap, message in (
        (16, 2, "needs windows smaller than a tile"),
        (2, 3, "use 1 to 1"),
        (1, 1, "cannot"),
    ):
        with pytest.raises(ValueError, match=message):
            changed(config, window_size=window, overlap=overlap)
    with pytest.raises(ValueError, match="is no checkpoint's name"):
        changed(config, checkpoint=[])


def test_a_network_sees_windows_of_another_size_than_in_training(config: EvalConfig, store: Store) -> None:
    (whole,) = open_for_scoring(changed(config, window_size=16)).ensembles
    mine, _ = Predictor(config).predict_ensemble(whole)
    assert isinstance(whole.checkpoint, NetworkCheckpoint)
    model = whole.checkpoint.model
    positions = np.array([store.channels.index(channel) for channel in whole.checkpoint.channels])
    with torch.inference_mode():
        logits = model(torch.from_numpy(store.read_tile("Tile3", positions))[None])
    np.testing.assert_allclose(mine.probabilities, logits.softmax(dim=1)[0].numpy(), atol=1e-5)


def test_windows_too_small_for_the_network_are_refused(config: EvalConfig, tmp_path: Path) -> None:
    content: Any = torch.load(config.checkpoints_dir / "first/best.ckpt", weights_only=True)
    content["esdseg"]["config"]["model"]["n_encoders"] = 5
    torch.save(content, tmp_path / "deep.ckpt")
    deep = changed(config, checkpoint=str(tmp_path / "deep.ckpt"), window_size=1)
    with pytest.raises(UsageError, match=r"--window-size 1: .*deep\.ckpt, a unet, cannot work on"):
        open_for_scoring(deep)


def test_folds_of_two_runs_each_predict_what_they_held_out(
    store: Store, config: EvalConfig, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        write_folds(store, tmp_path, name)
    together = changed(config, checkpoint=["one", "other"], checkpoints_dir=tmp_path)
    scored = open_for_scoring(together)
    assert (scored.name, scored.split) == ("one+other", "fold")
    assert set(scored.tiles) == {"Tile1", "Tile2", "Tile3", "Tile10"}
    for ensemble in scored.ensembles:
        held_out = [one.metadata.held_out_tiles for one in ensemble.checkpoints]
        assert [one.run_name.split("-")[0] for one in ensemble.checkpoints] == ["one", "other"]
        assert all(tile in tiles for tiles in held_out for tile in ensemble.tiles)
    single = changed(together, checkpoint=["one-fold1of3", "one-fold2of3"])
    with pytest.raises(UsageError, match=r"one-fold1of3/best.ckpt and .* held out no tile in common"):
        open_for_scoring(single)


def test_what_calibrated_runs_say_together_gets_a_temperature_of_its_own(config: EvalConfig) -> None:
    together = changed(config, checkpoint=["sure", "surer"])
    told: list[str] = []
    result = evaluate(together, on_choosing=lambda tile, *_: told.append(tile))
    card = result.card
    averaged = Predictor(together).predict(open_for_scoring(together))
    assert set(told) == {"Tile3", "Tile10"}
    assert card.temperature is not None
    assert card.temperature.value is not None
    assert card.threshold_contest_f1 is not None
    assert card.temperature.selection_bias is card.threshold_contest_f1.selection_bias is True
    assert any("the validation tiles of every checkpoint" in note for note in card.notes)
    for one in averaged:
        powers = one.probabilities.astype(float) ** (1 / card.temperature.value)
        expected = powers / powers.sum(axis=0)
        np.testing.assert_allclose(probabilities(result.output_dir, one.tile), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "is_fitted"),
    [
        ({"checkpoint": "sure"}, False),
        ({"checkpoint": "sure", "tta": "flips"}, True),
        ({"checkpoint": "sure", "overlap": 1}, True),
        ({"checkpoint": "sure", "window_size": 8}, True),
        ({"checkpoint": "sure", "window_size": 4}, False),
        ({"checkpoint": "first", "tta": "flips"}, False),
        ({"checkpoint": "first", "calibrate": True}, True),
        ({"checkpoint": ["sure", "first"]}, False),
    ],
)
def test_a_temperature_is_fitted_where_the_checkpoints_own_ones_no_longer_hold(
    values: dict[str, object], is_fitted: bool, config: EvalConfig
) -> None:
    config = changed(config, **values)
    (ensemble,) = open_for_scoring(config).ensembles
    assert (Predictor(config).calibrate(ensemble).calibration is not None) is is_fitted


def test_best_and_last_of_one_run_are_told_apart(config: EvalConfig) -> None:
    both = changed(config, checkpoint=["first/last.ckpt", "first/best.ckpt", "second"])
    scored = open_for_scoring(both)
    assert tuple(scored.short_names().values()) == ("first/last.ckpt", "first/best.ckpt", "second")
    assert scored.output_dir.name == "first-last+first-best+second"


def test_last_checkpoints_are_scored_too_with_the_same_settings(config: EvalConfig) -> None:
    settings = changed(config, tta="flips", calibrate=False)
    card = evaluate(changed(settings, checkpoint=["sure/last.ckpt", "sure/best.ckpt"])).card
    assert any("chose best.ckpt of 2 checkpoints" in note for note in card.notes)
    assert (card.temperature, card.threshold_contest_f1) == (None, None)
    assert any("as --no-calibrate says" in note for note in card.notes)
    beside = card.last_checkpoint
    assert beside is not None
    assert beside.checkpoint == str(config.checkpoints_dir / "sure/last.ckpt")
    last = Predictor(settings).predict(open_for_scoring(changed(settings, checkpoint=beside.checkpoint)))
    scores = scored_tiles(tuple(last)).scores()
    assert (beside.contest_f1, beside.auc_macro) == (scores.contest_f1, scores.auc.macro)


def test_runs_of_one_name_are_told_apart_by_their_paths(config: EvalConfig, tmp_path: Path) -> None:
    shutil.copytree(config.checkpoints_dir / "first", tmp_path / "first")
    both = changed(config, checkpoint=[str(tmp_path / "first"), "first/best.ckpt"])
    names = open_for_scoring(both).short_names()
    assert list(names.values()) == list(names)


def test_a_sweeps_best_trials_predict_together(config: EvalConfig, store: Store, tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps/tried"
    rows = ["trial,state,val_loss,best_epoch,epochs,seconds,run,host,reason"]
    for number, (state, loss) in enumerate([("finished", 0.9), ("pruned", 0.1), ("finished", 0.5)]):
        name = f"trial-{number:03}"
        write_checkpoint(sweep / name / "best.ckpt", store, run_name=name, seed=number)
        rows.append(f"{number},{state},{loss},1,2,3.0,{name},here,")
    (sweep / "trials.csv").write_text("\n".join(rows) + "\n")
    config = changed(config, checkpoint="sweeps/tried", checkpoints_dir=tmp_path)
    best = open_for_scoring(config)
    assert [one.run_name for one in best.checkpoints] == ["trial-002"]
    two = changed(config, ensemble=2)
    scored = open_for_scoring(two)
    assert [one.run_name for one in scored.checkpoints] == ["trial-002", "trial-000"]
    assert (scored.name, scored.output_dir.name) == ("tried+best2", "tried+best2")
    card = evaluate(changed(two, simple_baselines=True)).card
    assert any("and the trials of the sweep that are taken" in note for note in card.notes)
    assert card.verdict is None, "these tiles chose the trials, the last checkpoints' too"
    with pytest.raises(InputDataError, match="has 2 finished trials, not 3"):
        open_for_scoring(changed(config, ensemble=3))
    (sweep / "trial-002/best.ckpt").unlink()
    with pytest.raises(InputDataError, match=r"trial-002/best\.ckpt is missing"):
        open_for_scoring(config)
    (sweep / "trials.csv").write_text("nothing")
    with pytest.raises(InputDataError, match="no table of a sweep's trials"):
        open_for_scoring(config)
