"""A tile is its content: another one of the same name is another, and one under another name the same."""

from pathlib import Path

import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.prediction.open_checkpoints import open_for_mapping, open_for_scoring
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.restitch import restitch
from esdseg.scoring.score import training_notes
from esdseg.scoring.verdict import tiles_that_chose
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from tests.datasets.make_store import make_store, random_labels
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import for_restitch
from tests.scoring.test_temperature import calibrate

CHANNELS = ("viirs_2020-08-08_DNB", "sentinel2_2020-08-11_B04", "sentinel2_2020-08-16_B04")
HOME: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile10": "val"}
AWAY: dict[str, SplitName] = {
    "Own": "train", "Tile1": "val", "Tile3": "val", "Copied": "test", "Renamed": "test",
}  # fmt: skip
CONTENTS = {"Own": 20, "Tile1": 21, "Tile3": 23, "Copied": 0, "Renamed": 2}
"""``Tile1`` and ``Tile3`` are other tiles than at home; ``Copied`` is its Tile1, ``Renamed`` its Tile3."""

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("away")
    return make_store(folder, split=AWAY, channels=CHANNELS, contents=CONTENTS)


@pytest.fixture(scope="module")
def elsewhen(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiles of home on dates of another year, two of them under another name."""
    names: dict[str, SplitName] = {"Later1": "test", "Tile2": "train", "Later3": "test", "Tile10": "val"}
    return make_store(
        tmp_path_factory.mktemp("elsewhen"),
        split=names,
        channels=[channel.replace("2020", "2021") for channel in CHANNELS],
        contents=dict(zip(names, (30, 31, 32, 33), strict=True)),
        labels={name: random_labels(number) for number, name in enumerate(names)},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``known`` and ``crossed`` say what their tiles hold; ``old`` and ``aged`` do not."""
    folder = tmp_path_factory.mktemp("home")
    home = make_store(folder / "processed", split=HOME, channels=CHANNELS)
    for name, crossed, knows in (("known", "crossed", True), ("old", "aged", False)):
        for file in ("best", "last"):
            path = folder / "runs" / name / f"{file}.ckpt"
            write_checkpoint(path, home, run_name=name, channels=home.channels, knows_contents=knows)
        for number, held_out in enumerate((("Tile1", "Tile10"), ("Tile3", "Tile2")), start=1):
            rest = tuple(tile for tile in HOME if tile not in held_out)
            write_checkpoint(
                folder / f"runs/{crossed}-fold{number}of2/best.ckpt",
                home,
                run_name=f"{crossed}-fold{number}of2",
                channels=home.channels,
                train_tiles=rest[:1],
                val_tiles=rest[1:],
                held_out_tiles=held_out,
                fold=f"{number}/2",
                knows_contents=knows,
            )
    calibrate(folder / "runs/old/best.ckpt", temperature=2)
    return folder / "runs"


@pytest.fixture(scope="module")
def config(runs: Path, away: Store) -> EvalConfig:
    return EvalConfig(
        checkpoint="known",
        checkpoints_dir=runs,
        processed_dir=away.path.parent,
        predictions_dir=runs.parent / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=100,
        simple_baselines=False,
    )


def test_other_tiles_of_the_same_names_taught_and_chose_nothing(config: EvalConfig) -> None:
    (ensemble,) = open_for_scoring(config.model_copy(update={"split": "val"})).ensembles
    assert ensemble.tiles == ("Tile1", "Tile3")
    assert not tiles_that_chose(ensemble).all
    assert training_notes(ensemble) == ()
    assert ensemble.choosing_tiles() == ("Renamed",), "the tile that chose the epoch at home"


def test_tiles_under_another_name_are_known_again(config: EvalConfig) -> None:
    result = evaluate(config.model_copy(update={"split": "test", "name": "renamed"}))
    card = result.card
    assert (card.tiles, card.selection_bias, card.tiles_known_by) == (("Copied", "Renamed"), True, "content")
    assert any(
        "was trained on scored tiles (Copied): these scores say nothing" in note for note in card.notes
    )
    assert any(note.startswith("1 of these tiles chose best.ckpt") for note in card.notes)
    assert "These tiles chose the checkpoint" in result.report_path.read_text()
    majority = card.baselines["majority"]
    assert majority.most_frequent_in is not None
    assert majority.most_frequent_in.startswith("the network's 1 training tile, without 1 that ")


def test_tiles_of_other_dates_are_known_again(config: EvalConfig, elsewhen: Store) -> None:
    later = config.model_copy(update={"processed_dir": elsewhen.path.parent})
    (ensemble,) = open_for_scoring(later.model_copy(update={"split": "test"})).ensembles
    assert ensemble.tiles == ("Later1", "Later3")
    (note,) = training_notes(ensemble)
    assert "was trained on scored tiles (Later1)" in note
    assert tiles_that_chose(ensemble).same == {"Later3"}
    with pytest.raises(UsageError, match=r"known/best.ckpt was trained on 1 of the test tiles .*\(Later1\)"):
        open_for_scoring(later.model_copy(update={"checkpoint": ("known", "old"), "split": "test"}))


def test_folds_score_the_tiles_that_they_held_out_on_other_dates(config: EvalConfig, elsewhen: Store) -> None:
    later = config.model_copy(update={"processed_dir": elsewhen.path.parent, "checkpoint": "crossed"})
    ensembles = open_for_scoring(later).ensembles
    assert [ensemble.tiles for ensemble in ensembles] == [("Later1", "Tile10"), ("Tile2", "Later3")]


def test_where_contents_are_unknown_every_word_is_in_doubt(config: EvalConfig) -> None:
    result = evaluate(config.model_copy(update={"split": "val", "name": "old", "checkpoint": "old"}))
    card, page = result.card, result.report_path.read_text()
    assert (card.selection_bias, card.tiles_known_by) == (True, "name")
    notes = " ".join(card.notes)
    assert "Tiles of the same names as 1 of these tiles chose best.ckpt" in notes
    assert "if they are the same tiles, the scores are too good for new tiles" in notes
    assert "trained on tiles of the same names (Tile1): if they are the same tiles, these scores" in notes
    assert "old/best.ckpt does not say what its tiles hold" in notes
    assert "counted on the 1 tile named like the network's training tiles" in notes
    assert "Tiles of the same names chose the checkpoint. If they are the same tiles" in page
    assert "chosen on the run's validation tiles; tiles of the same names are scored here, acts on" in notes
    assert "These tiles chose" not in notes + page
    assert "trained on scored tiles" not in notes


def test_an_ensemble_may_be_scored_on_other_tiles_of_the_same_names(config: EvalConfig) -> None:
    both = config.model_copy(update={"checkpoint": ("known", "old"), "split": "val"})
    assert open_for_scoring(both).tiles == ("Tile1", "Tile3")
    with pytest.raises(UsageError, match=r"known/best.ckpt was trained on 1 of the test tiles .*\(Copied\)"):
        open_for_scoring(both.model_copy(update={"split": "test"}))


def test_each_tile_is_mapped_by_the_fold_that_held_its_content_out(config: EvalConfig) -> None:
    result = restitch(for_restitch(config, checkpoint="crossed", name="crossed"))
    by_fold = {maps.tile: maps.mapped_by for maps in result.maps}
    both = ("crossed-fold1of2", "crossed-fold2of2")
    assert by_fold == {
        "Own": both, "Tile1": both, "Tile3": both, "Copied": both[:1], "Renamed": both[1:],
    }  # fmt: skip
    assert "Copied: mapped by crossed-fold1of2, which held it out." in result.notes


def test_folds_that_know_their_tiles_by_name_say_so(config: EvalConfig) -> None:
    sources = open_for_mapping(for_restitch(config, checkpoint="aged"))
    assert sources.held_out_by_name_alone() == {"Tile1", "Tile3"}
    assert [(len(one.checkpoints), one.tiles) for one in sources.ensembles] == [
        (1, ("Tile1",)), (1, ("Tile3",)), (2, ("Own", "Copied", "Renamed")),
    ]  # fmt: skip
    result = restitch(for_restitch(config, checkpoint="aged", name="aged", tiles=("Tile1",)))
    _, note = result.notes
    assert note.startswith("Tile1: mapped by aged-fold1of2, which held out a tile of that name. ")
    assert not any("held it out" in note for note in result.notes)


def test_folds_are_not_scored_on_other_tiles_of_the_same_names(config: EvalConfig, away: Store) -> None:
    with pytest.raises(InputDataError, match=r"lacks 1 of the 2 tiles .* held out \(Tile10\)") as refused:
        open_for_scoring(config.model_copy(update={"checkpoint": "crossed"}))
    assert str(away.path) in str(refused.value)
