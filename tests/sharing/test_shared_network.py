"""Which scores, ablation and store a bundle tells of: those of exactly this checkpoint, or none."""

import os
import shutil
from pathlib import Path

import pytest

from esdseg.ablation.result import Ablation, DataOrigin, Row, WholeNetwork
from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import RestitchConfig
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import Difference, Scorecard, read_scorecard
from esdseg.prediction.open_checkpoints import open_runs
from esdseg.sharing.model_card import write_card
from esdseg.sharing.shared_network import SharedNetwork, describe_choice, gather
from esdseg.store.store import open_store
from tests.scoring.checkpoints import write_checkpoint
from tests.sharing.conftest import Shared

DIFFERENCES = {"model.onnx": 1e-7, "model.pt2": 0.0}


@pytest.fixture
def folder(shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of run and scores, in which commands find them from here."""
    for name in ("checkpoints", "predictions/first"):
        shutil.copytree(shared.folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "predictions/first/metrics.json"
    rewrite(path, checkpoint="checkpoints/first/best.ckpt")
    return tmp_path


def rewrite(path: Path, **changes: object) -> Scorecard:
    """Write scores with other values, the old ones in a folder that is not there yet."""
    source = path if path.is_file() else path.parents[1] / "first/metrics.json"
    card = read_scorecard(source).model_copy(update=changes)
    path.parent.mkdir(exist_ok=True)
    path.write_text(card.dump())
    return card


def found(scores: str | None = None, processed_dir: Path | None = None) -> SharedNetwork:
    config = RestitchConfig(checkpoint="first", accelerator="cpu", precision="32-true")
    return gather(open_runs(config), config, processed_dir, scores, "unknown")


def test_scores_of_exactly_this_checkpoint_are_found_unless_it_was_trained_since(folder: Path) -> None:
    network = found()
    assert network.card_path == Path("predictions/first/metrics.json")
    assert network.store is None
    assert "data/processed cannot be used" in network.why_no_store
    os.utime(folder / "checkpoints/first/best.ckpt", (4e9, 4e9))
    assert found().card is None
    assert found("first").card is not None, "who names it wants it"


@pytest.mark.parametrize(
    "changes",
    [{"checkpoint": "checkpoints/first/last.ckpt"}, {"tta": "d4"}, {"overlap": 2}, {"window_size": 4}],
)
def test_scores_of_something_else_are_passed_over(folder: Path, changes: dict[str, object]) -> None:
    rewrite(folder / "predictions/first/metrics.json", **changes)
    assert found().card is None
    if "checkpoint" in changes:
        with pytest.raises(InputDataError, match=r"has the scores of .*last\.ckpt, not of .*best\.ckpt"):
            found("first")


def test_damaged_scores_are_passed_over_and_test_tiles_go_before_others(folder: Path) -> None:
    rewrite(folder / "predictions/tested/metrics.json", split="test", selection_bias=False)
    (folder / "predictions/broken").mkdir()
    (folder / "predictions/broken/metrics.json").write_text("{}")
    network = found()
    assert network.card_path == Path("predictions/tested/metrics.json")
    text = write_card(network, DIFFERENCES, "noise", None)
    assert "of the test split" in text
    assert "These tiles chose the checkpoint" not in text


def test_what_sensors_are_worth_is_told_where_it_was_measured(folder: Path) -> None:
    card = read_scorecard(folder / "predictions/first/metrics.json")
    shared_by_both = {"scores": card.headline(), "intervals": card.intervals, "seconds_per_tile": 0.1}
    whole = WholeNetwork(**shared_by_both, parameters=9, channels=len(found().channels))
    worth = Difference(value=-0.25, interval=(-0.3, -0.2), win_probability=0.0)
    row = Row(
        **shared_by_both,
        parameters=9,
        label="sentinel2",
        kind="sensor",
        how="inference",
        sensor="sentinel2",
        place=None,
        band=None,
        removed_channels=("sentinel2_1_B02",),
        remaining_channels=3,
        differences=dict.fromkeys(("contest_f1", "f1_macro", "auc_macro"), worth),
        checkpoint=None,
    )
    ablation = Ablation(
        model=card.model,
        run="first",
        checkpoint="checkpoints/first/best.ckpt",
        split="val",
        tta="none",
        overlap=0,
        window_size=8,
        tiles=card.tiles,
        folds=None,
        channels=tuple(found().metadata.channels),
        prediction_seconds=1.0,
        bootstrap=card.bootstrap,
        data=DataOrigin(store="s", manifest_hash="0"),
        versions=card.versions,
        whole=whole,
        rows=(row,),
        summary="Without sentinel2 the contest F1 falls by 0.25.",
        notes=(),
        output_dir=folder / "predictions/ablate-first",
        picture=folder / "ablation.png",
    )
    path = folder / "predictions/ablate-first/ablation.json"
    path.parent.mkdir()
    path.write_text(ablation.model_dump_json())
    text = write_card(found(), DIFFERENCES, "noise", None)
    assert "Without sentinel2 the contest F1 falls by 0.25." in text
    assert "| sentinel2 | 1 | -0.250 (-0.300, -0.200) |" in text
    os.utime(path, (0, 0))
    assert found().ablation is None, "the checkpoint was written since"


def test_a_named_store_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InputDataError, match="nowhere"):
        found(processed_dir=folder / "nowhere")


@pytest.mark.parametrize(
    ("monitor", "words"),
    [
        (None, "The last epoch, which no score chose."),
        ("val_loss", "The epoch with the best val_loss on 1 validation tile."),
    ],
)
def test_a_card_tells_what_chose_the_epoch(
    monitor: str | None, words: str, shared: Shared, tmp_path: Path
) -> None:
    store = open_store(shared.folder / "data/processed")
    path = write_checkpoint(tmp_path / "best.ckpt", store, channels=store.channels, monitor=monitor)
    assert describe_choice(open_checkpoint(path)) == words
