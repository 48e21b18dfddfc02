"""What a checkpoint's name leads to, and the history beside it."""

import os
from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.models.runs import read_history, resolve_checkpoint


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs of rising age: ``new`` without a best checkpoint, ``middle`` and ``old`` with both."""
    monkeypatch.chdir(tmp_path)
    for age, name, files in (
        (10, "new", ("last.ckpt",)),
        (20, "middle", ("best.ckpt", "last.ckpt")),
        (30, "old", ("last.ckpt", "best.ckpt")),
    ):
        for file in files:
            path = Path("checkpoints") / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            os.utime(path, (1_000_000 - age, 1_000_000 - age))
    Path("checkpoints/broken").mkdir()
    nested = Path("checkpoints/sweeps/wide/trial-0")
    nested.mkdir(parents=True)
    (nested / "best.ckpt").write_bytes(b"")
    return Path("checkpoints")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checkpoints/old/last.ckpt", "checkpoints/old/last.ckpt"),
        ("checkpoints/middle", "checkpoints/middle/best.ckpt"),
        ("old", "checkpoints/old/best.ckpt"),
        ("new", "checkpoints/new/last.ckpt"),
        ("old/last.ckpt", "checkpoints/old/last.ckpt"),
        ("last.ckpt", "checkpoints/new/last.ckpt"),
        ("best.ckpt", "checkpoints/middle/best.ckpt"),
        ("sweeps/wide/trial-0", "checkpoints/sweeps/wide/trial-0/best.ckpt"),
    ],
)
def test_a_checkpoint_is_found_by_path_run_or_age(text: str, expected: str, runs: Path) -> None:
    assert resolve_checkpoint(text, runs) == Path(expected)


def test_a_path_from_here_goes_before_a_run(runs: Path) -> None:
    Path("best.ckpt").write_bytes(b"")
    assert resolve_checkpoint("best.ckpt", runs) == Path("best.ckpt")


def test_a_folder_here_without_checkpoints_does_not_hide_a_run(runs: Path) -> None:
    Path("old").mkdir()
    assert resolve_checkpoint("old", runs) == runs / "old/best.ckpt"


@pytest.mark.parametrize("text", ["older", "broken", "new/best.ckpt", "nowhere.ckpt"])
def test_an_unknown_name_is_refused_with_the_runs_there_are(text: str, runs: Path) -> None:
    with pytest.raises(InputDataError, match=f"'{text}'.*newest first: new, middle, old"):
        resolve_checkpoint(text, runs)


def test_without_runs_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="holds no runs yet; `esdseg train` makes one"):
        resolve_checkpoint("last.ckpt", tmp_path / "checkpoints")


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,learning_rate\n1,x\n")
    with pytest.raises(InputDataError, match=r"metrics\.csv is damaged"):
        read_history(path)


def test_a_run_without_a_history_has_no_rows(tmp_path: Path) -> None:
    assert read_history(tmp_path / "metrics.csv") == []
