"""Ctrl-C and a polite kill end every command in order, and it says how to go on."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.faults.conftest import EVALUATE, PREPROCESS, SWEEP, TRAIN
from tests.faults.processes import STOPPED, THREADS, Preloaded, session_members
from tests.sweeping.conftest import write_sweep

AGAIN = "Interrupted. What is finished is kept; run the same command again to go on where it stopped."
ANEW = "Interrupted. Run the same command again; it starts anew."


@pytest.mark.parametrize(
    ("arguments", "changes", "number", "advice"),
    [
        (PREPROCESS, 100, signal.SIGTERM, AGAIN),
        (
            TRAIN,
            14,
            signal.SIGINT,
            "Interrupted. checkpoints/run has no finished epoch yet; the same command starts",
        ),
        (
            TRAIN,
            33,
            signal.SIGTERM,
            "Interrupted. Finished epochs are kept; go on with `esdseg train --resume --name run`.",
        ),
        (EVALUATE, 12, signal.SIGTERM, ANEW),
        (SWEEP, 3, signal.SIGTERM, AGAIN),
    ],
    ids=["preprocess", "train-at-once", "train", "evaluate", "sweep"],
)
def test_a_stopped_command_says_how_to_go_on(
    preloaded: Preloaded,
    written: Path,
    trained: Path,
    tmp_path: Path,
    arguments: Sequence[object],
    changes: int,
    number: signal.Signals,
    advice: str,
) -> None:
    (tmp_path / "raw").symlink_to(written / "raw")
    if arguments is not PREPROCESS:
        (tmp_path / "processed").symlink_to(trained / "processed")
    if arguments is EVALUATE:
        (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    write_sweep(tmp_path, {"learning_rate": {"values": [0.01, 0.02]}}, {"trainer.max_epochs": 1}, run_cap=2)
    ended = preloaded.start(tmp_path, *arguments, kill_before=changes, number=number).wait()
    assert ended.code == STOPPED[number], ended
    assert advice in ended.log
    assert "Traceback" not in ended.log


def start_installed(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the installed command in a session of its own."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **THREADS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_until(process: subprocess.Popen[str], beginning: str) -> str:
    """Return the first line of the log that begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"no line begins with {beginning!r}")


def test_ctrl_c_ends_the_installed_command_and_all_its_workers(written: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").symlink_to(written / "raw")
    process = start_installed(tmp_path, *PREPROCESS[:-1], 2)
    read_until(process, "preprocess: ")
    # A terminal sends it to all processes at once.
    os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 130, log
    assert AGAIN in log
    assert "Traceback" not in log
    # What watches over shared memory ends just after the command that it serves.
    deadline = time.monotonic() + 20
    while left := session_members(process.pid):
        assert time.monotonic() < deadline, f"processes {left} outlive the command"
        time.sleep(0.05)
    assert not (tmp_path / "processed/4x4/.lock").exists()


def test_a_scheduler_ends_the_installed_training_with_its_epochs_kept(
    processed: Path, tmp_path: Path
) -> None:
    (tmp_path / "processed").symlink_to(processed / "processed")
    process = start_installed(tmp_path, *TRAIN, "--max-epochs", 1000, "--set", "data.num_workers=1")
    assert read_until(process, "Needs about ").endswith("are free.\n")
    read_until(process, "Epoch    1")
    os.killpg(process.pid, signal.SIGTERM)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 143, log
    assert "go on with `esdseg train --resume --name run`." in log
    assert "Traceback" not in log
    assert not session_members(process.pid)
    assert (tmp_path / "checkpoints/run/last.ckpt").is_file()
