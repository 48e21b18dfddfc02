"""Folds through the installed command."""

import json
from pathlib import Path

import pytest

from esdseg.config.training import MONITORED_METRICS
from tests.cli.conftest import Terminal, assert_fits, run_here, run_in_terminal

SMALL = (
    *("--model", "segmentation_cnn", "--max-epochs", 1, "--set", "model.embedding_size=2"),
    *("--wandb", "disabled"),
)


@pytest.fixture(scope="module")
def crossed(workspace: Path) -> Terminal:
    """What a training in folds showed on a terminal of 80 columns."""
    train = ("train", *SMALL, "--set", "model.depth=1", "--folds", 2, "--name", "crossed")
    code, terminal = run_in_terminal(workspace, *train)
    assert code == 0, terminal.written
    return terminal


def test_folds_are_trained_and_scored_together(workspace: Path, crossed: Terminal) -> None:
    metrics = json.loads((workspace / "predictions/crossed/metrics.json").read_text())
    assert metrics["tiles"] == [f"Tile{number}" for number in range(1, 5)]
    assert metrics["split"] == "fold"
    assert all(metrics["intervals"].values())
    assert (workspace / "predictions/crossed/report.html").is_file()
    assert (workspace / "predictions/crossed/Tile4/comparison.png").is_file()
    assert_fits(crossed)
    screen = " ".join(" ".join(crossed.screen()).split())
    for text in (
        "crossed: 2 folds",
        "crossed on 4 tiles held out by the folds",
        *MONITORED_METRICS[1:],
        "Settlement without electricity",
    ):
        assert text in screen


def test_finished_folds_are_kept_and_scored_again(workspace: Path, crossed: Terminal) -> None:
    done = run_here(workspace, "train", "--folds", 2, "--name", "crossed", "--resume", "--json")
    content = json.loads(done.stdout)
    assert len(content["folds"]) == 2
    assert content["evaluation"]["split"] == "fold"
    assert "Epoch" not in done.stderr
    scored = json.loads(run_here(workspace, "evaluate", "--checkpoint", "crossed", "--json").stdout)
    assert scored["confusion_matrix"] == content["evaluation"]["confusion_matrix"]


def test_one_fold_is_trained_and_scored_on_its_held_out_tiles(workspace: Path) -> None:
    train = ("train", *SMALL, "--set", "model.depth=1", "--fold", "2/4", "--name", "second")
    assert run_here(workspace, *train).returncode == 0
    held_out = json.loads((workspace / "checkpoints/second/fold.json").read_text())["held_out_tiles"]
    evaluate = ("evaluate", "--checkpoint", "second", "--no-simple-baselines", "--json")
    scored = json.loads(run_here(workspace, *evaluate).stdout)
    assert (scored["split"], scored["tiles"]) == ("fold", held_out)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("--fold", "6/5"), 2, "--fold: folds.fold: '6/5' is no fold; write 2/5"),
        (("--fold", "1/5", "--folds", 5), 2, "give one of the two"),
        (("--folds", 1), 2, "--folds"),
        (("--folds", 5), 3, "--folds 5 needs 5 labelled tiles, and there are 4"),
    ],
)
def test_mistakes_with_folds(
    workspace: Path, arguments: tuple[object, ...], code: int, expected: str
) -> None:
    done = run_here(workspace, "train", "--name", "mistaken", *arguments)
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert done.stdout == ""
    assert not (workspace / "checkpoints/mistaken-fold1of5").exists()
