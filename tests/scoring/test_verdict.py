"""What chose a checkpoint never says how good it is, and a network is held against the best simple model."""

from pathlib import Path

import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.metrics.scorecard import Difference, Interval, Scorecard
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.verdict import answer
from esdseg.store.store import Store
from esdseg.training.fit import fit
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS
from tests.training.conftest import tiny_config

TILES = tuple(f"Tile{number}" for number in range(1, 5))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    split = dict(zip(TILES, ("train", "val", "val", "test"), strict=True))
    return make_store(tmp_path_factory.mktemp("processed"), split=split, channels=CHANNELS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def config(store: Store, tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    """A run whose two checkpoints differ, and two without a last checkpoint of their own."""
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
    )


def scorecard(config: EvalConfig, **changed: object) -> Scorecard:
    return evaluate(config.model_copy(update={"simple_baselines": False, "name": "any", **changed})).card


@pytest.fixture(scope="module")
def chosen(config: EvalConfig) -> Scorecard:
    """The scores of the tiles that chose the checkpoint, beside the simple models."""
    return evaluate(config).card


@pytest.fixture(scope="module")
def last(config: EvalConfig) -> Scorecard:
    return evaluate(config.model_copy(update={"checkpoint": "run/last.ckpt", "name": "last"})).card


def test_scores_of_the_choosing_tiles_say_so_with_the_last_checkpoints_beside(
    chosen: Scorecard, last: Scorecard, config: EvalConfig
) -> None:
    assert (chosen.selection_bias, last.selection_bias) == (True, False)
    assert last.last_checkpoint is None
    beside = chosen.last_checkpoint
    assert beside is not None
    assert beside.checkpoint == last.checkpoint == str(config.checkpoints_dir / "run/last.ckpt")
    assert dict(last.headline()) == {name: getattr(beside, name) for name in dict(last.headline())}
    assert chosen.auc.macro != pytest.approx(last.auc.macro), "the two checkpoints differ"
    note = next(note for note in chosen.notes if note.startswith("These tiles chose best.ckpt"))
    assert "the epoch with the best val_f1_macro on" in note
    assert f"contest F1 {last.contest_f1:.3f}" in note
    assert any("early stopping watched these tiles" in note for note in last.notes)
    page = config.predictions_dir / "unet/report.html"
    assert "These tiles chose the checkpoint" in page.read_text()
    assert "These tiles chose the checkpoint" not in (config.predictions_dir / "last/report.html").read_text()


def test_the_verdict_is_on_the_checkpoint_that_no_score_chose(chosen: Scorecard, last: Scorecard) -> None:
    assert chosen.verdict is not None
    assert last.verdict is not None
    assert chosen.verdict == last.verdict
    assert chosen.verdict.checkpoint == last.checkpoint
    best = chosen.baselines[chosen.verdict.against]
    assert chosen.verdict.differences["contest_f1"].value == pytest.approx(
        (last.contest_f1 or 0) - (best.contest_f1 or 0)
    )
    assert chosen.verdict.differences["f1_macro"].value == pytest.approx(
        (last.f1.macro or 0) - (best.f1.macro or 0)
    )
    assert chosen.notes[0] == chosen.verdict.sentence()


def test_the_network_is_held_against_the_best_of_the_simple_models(chosen: Scorecard) -> None:
    assert chosen.verdict is not None
    simple = {name: chosen.baselines[name].contest_f1 or 0 for name in ("cell_logistic", "cell_boosting")}
    assert chosen.verdict.against == max(simple, key=lambda name: simple[name])


def test_tiles_that_chose_nothing_judge_the_checkpoint_itself(config: EvalConfig) -> None:
    card = scorecard(config, split="test", simple_baselines=True)
    assert (card.selection_bias, card.last_checkpoint) == (False, None)
    assert card.verdict is not None
    assert card.verdict.checkpoint == card.checkpoint == str(config.checkpoints_dir / "run/best.ckpt")
    assert card.verdict.answer == "not settled", "one tile has no intervals"


def test_a_last_epoch_that_no_metric_chose_is_judged_by_the_tiles_it_was_validated_on(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "fair/best.ckpt", store, run_name="fair", monitor=None)
    folders = {"checkpoint": "fair", "checkpoints_dir": tmp_path}
    card = scorecard(config, **folders, simple_baselines=True)
    assert (card.selection_bias, card.last_checkpoint) == (False, None)
    assert card.verdict is not None
    assert card.verdict.checkpoint == card.checkpoint
    assert not any("chose" in note for note in card.notes)
    write_checkpoint(tmp_path / "fair/best.ckpt", store, run_name="fair", monitor=None, temperature=2)
    notes = scorecard(config, **folders).notes
    assert any("chose the temperature and the threshold of best.ckpt" in note for note in notes)


def test_the_tiles_of_a_training_chose_nothing(config: EvalConfig) -> None:
    assert not scorecard(config, split="train").selection_bias


@pytest.mark.parametrize("run", ["alone", "mixed"])
def test_without_a_last_checkpoint_of_the_run_there_is_no_verdict(config: EvalConfig, run: str) -> None:
    card = scorecard(config, checkpoint=run, simple_baselines=True)
    assert (card.selection_bias, card.last_checkpoint, card.verdict) == (True, None, None)
    assert card.notes[0].startswith("Nothing says whether this beats the simple models: ")
    assert "There is no last.ckpt beside it" in card.notes[1]


def test_tiles_that_a_fold_held_out_chose_nothing_and_its_inner_tiles_did(
    config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    write_checkpoint(
        tmp_path / "f/best.ckpt", store, val_tiles=("Tile3",), held_out_tiles=("Tile2",), fold="1/3"
    )
    fold = {"checkpoint": "f", "checkpoints_dir": tmp_path, "predictions_dir": tmp_path}
    assert not scorecard(config, **fold).selection_bias
    inner = scorecard(config, **fold, split="val")
    assert inner.selection_bias
    assert inner.notes[0].startswith("1 of these tiles chose best.ckpt")


@pytest.mark.parametrize("name", ["cell_logistic", "cell_boosting"])
def test_a_model_that_is_fitted_in_one_go_chose_nothing(
    name: str, config: EvalConfig, store: Store, tmp_path: Path
) -> None:
    fit(tiny_config(store.path.parent, model={"name": name}), checkpoints_dir=tmp_path, name=name)
    card = scorecard(config, checkpoint=name, checkpoints_dir=tmp_path, simple_baselines=True)
    assert (card.selection_bias, card.last_checkpoint) == (False, None)
    assert card.verdict is None, "it is a simple model itself"
    assert not any("chose" in note or "early stopping" in note for note in card.notes)
    assert set(card.baselines) == {"majority", "all_class_1", "cell_logistic", "cell_boosting"} - {name}


def difference(value: float | None, interval: Interval | None) -> Difference:
    return Difference(value=value, interval=interval, win_probability=None)


HIGHER, LOWER = difference(0.1, (0.05, 0.15)), difference(-0.1, (-0.15, -0.05))
OPEN, UNSURE = difference(0.1, None), difference(0.1, (-0.01, 0.2))


@pytest.mark.parametrize(
    ("contest", "macro", "expected"),
    [
        (HIGHER, HIGHER, "beats"),
        (HIGHER, LOWER, "does not beat"),
        (LOWER, LOWER, "does not beat"),
        (HIGHER, UNSURE, "not settled"),
        (LOWER, UNSURE, "not settled"),
        (OPEN, HIGHER, "not settled"),
        (HIGHER, difference(None, None), "not settled"),
    ],
)
def test_an_interval_that_holds_zero_or_is_missing_settles_nothing(
    contest: Difference, macro: Difference, expected: str
) -> None:
    assert answer({"contest_f1": contest, "f1_macro": macro}) == expected
