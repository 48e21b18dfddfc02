"""Killed at any moment and run again, every command ends with what an undisturbed run gives."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from esdseg.metrics.scorecard import read_scorecard
from esdseg.scoring.results import make_report
from tests.faults.comparing import (
    assert_same_evaluation,
    assert_same_run,
    assert_same_store,
    assert_same_sweep,
)
from tests.faults.conftest import EVALUATE, PREPROCESS, SWEEP, TRAIN
from tests.faults.processes import STOPPED, Killer, Preloaded, run_undisturbed
from tests.sweeping.conftest import write_sweep

Command = Callable[[Path], list[object]]


def kill_and_compare(
    preloaded: Preloaded,
    tmp_path: Path,
    command: Command,
    result: str,
    prepare: Callable[[Path], None],
    compare: Callable[[Path, Path], None],
    kills: int,
    seconds: float,
    most: int,
) -> None:
    """Run a command undisturbed, then again and again with kills, and compare what it leaves.

    Args:
        preloaded: Starts the processes.
        tmp_path: For all folders.
        command: Returns the next attempt's arguments.
        result: The folder of its results.
        prepare: Puts what it works on into a folder.
        compare: Compares two results.
        kills: How many attempts to kill.
        seconds: After which no more are killed.
        most: Kills on the way to one result.
    """
    calm = tmp_path / "calm"
    calm.mkdir()
    prepare(calm)
    undisturbed = run_undisturbed(preloaded, calm, command)
    counts: dict[int, int] = dict.fromkeys(STOPPED, 0)
    chances = random.Random(kills)
    killer = Killer(preloaded, command, undisturbed, chances, min(most, kills), counts)
    end, results = time.monotonic() + seconds, 0
    while sum(counts.values()) < kills and time.monotonic() < end:
        folder = tmp_path / f"killed-{results}"
        folder.mkdir()
        prepare(folder)
        killer.run_to_the_end(folder)
        compare(folder / result, calm / result)
        results += 1
    print(f"{command(calm)[0]}: {results} results after {sum(counts.values())} kills:", end=" ")
    print(", ".join(f"{count} {signal.Signals(number).name}" for number, count in counts.items()))


def test_a_killed_preprocessing_ends_with_the_same_store(
    preloaded: Preloaded, raw: Path, tmp_path: Path, kills: int, soak_seconds: float
) -> None:
    def command(_: Path) -> list[object]:
        return list(PREPROCESS)

    def prepare(folder: Path) -> None:
        (folder / "raw").symlink_to(raw / "raw")

    kill_and_compare(
        preloaded,
        tmp_path,
        command,
        "processed/4x4",
        prepare,
        assert_same_store,
        kills,
        soak_seconds,
        most=10,
    )


def test_a_killed_training_ends_with_the_same_weights_and_history(
    preloaded: Preloaded, processed: Path, tmp_path: Path, kills: int, soak_seconds: float
) -> None:
    def command(folder: Path) -> list[object]:
        begun = any((folder / "checkpoints/run" / name).exists() for name in ("best.ckpt", "last.ckpt"))
        return [*TRAIN, "--resume"] if begun else TRAIN

    def prepare(folder: Path) -> None:
        (folder / "processed").symlink_to(processed / "processed")

    kill_and_compare(
        preloaded,
        tmp_path,
        command,
        "checkpoints/run",
        prepare,
        assert_same_run,
        kills,
        soak_seconds,
        most=10,
    )


def test_a_killed_evaluation_ends_with_the_same_scores_and_maps(
    preloaded: Preloaded, trained: Path, tmp_path: Path, kills: int, soak_seconds: float
) -> None:
    def command(_: Path) -> list[object]:
        return list(EVALUATE)

    def prepare(folder: Path) -> None:
        for name in ("processed", "checkpoints"):
            (folder / name).symlink_to(trained / name)

    kill_and_compare(
        preloaded,
        tmp_path,
        command,
        "predictions/out",
        prepare,
        assert_same_evaluation,
        kills,
        soak_seconds,
        10,
    )


def test_a_killed_evaluation_leaves_the_old_results_or_the_new_ones_whole(
    preloaded: Preloaded, trained: Path, tmp_path: Path
) -> None:
    """Old results are of the training tiles, new ones of the validation tile."""
    old, new = [*EVALUATE, "--split", "train"], [*EVALUATE, "--split", "val"]
    for name in ("processed", "checkpoints"):
        (tmp_path / name).symlink_to(trained / name)
    preloaded.run(tmp_path, *old)
    shutil.copytree(tmp_path / "predictions", tmp_path / "old")
    count = tmp_path.with_name(f"{tmp_path.name}-changes")
    preloaded.run(tmp_path, *new, count=count)
    changes = int(count.read_text())
    results = tmp_path / "predictions/out"
    seen = set()
    # Halve the way to the moment in which the folders change places.
    last_old, first_new = changes // 2, changes
    while first_new - last_old > 1:
        before = (last_old + first_new) // 2
        shutil.rmtree(tmp_path / "predictions")
        shutil.copytree(tmp_path / "old", tmp_path / "predictions")
        ended = preloaded.start(tmp_path, *new, kill_before=before).wait()
        assert ended.code == -signal.SIGKILL, ended
        card = read_scorecard(results / "metrics.json")
        tiles = {path.name for path in results.iterdir() if path.is_dir()}
        assert tiles == set(card.tiles), f"killed before change {before} of {changes}"
        if card.split not in seen:
            make_report("out", tmp_path / "predictions")
        seen.add(card.split)
        last_old, first_new = (before, first_new) if card.split == "train" else (last_old, before)
    assert seen == {"train", "val"}
    preloaded.run(tmp_path, *new)
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["out"]


def test_a_killed_sweep_ends_with_the_same_trials(
    preloaded: Preloaded, processed: Path, tmp_path: Path, kills: int, soak_seconds: float
) -> None:
    rate = {"distribution": "log_uniform_values", "min": 1e-3, "max": 3e-2}

    def prepare(folder: Path) -> None:
        (folder / "processed").symlink_to(processed / "processed")
        write_sweep(folder, {"learning_rate": rate}, {"trainer.max_epochs": 2}, run_cap=3)

    # A trial whose process was killed four times is taken for one that kills its process.
    kill_and_compare(
        preloaded,
        tmp_path,
        lambda _: list(SWEEP),
        "checkpoints/sweeps/tiny",
        prepare,
        assert_same_sweep,
        kills,
        soak_seconds,
        most=3,
    )
