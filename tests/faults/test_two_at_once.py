"""Two commands that would write to one folder: one works, the other says who holds it."""

import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.comparing import assert_same_evaluation, assert_same_run, assert_same_store
from tests.faults.conftest import EVALUATE, PREPROCESS, TRAIN
from tests.faults.processes import Preloaded

Compare = Callable[[Path, Path], None]


@pytest.mark.parametrize(
    ("arguments", "changes", "result", "compare"),
    [
        (PREPROCESS, 100, "processed/4x4", assert_same_store),
        (TRAIN, 7, "checkpoints/run", assert_same_run),
        (EVALUATE, 12, "predictions/out", assert_same_evaluation),
    ],
    ids=["preprocess", "train", "evaluate"],
)
def test_the_second_is_told_who_works_and_does_no_harm(
    preloaded: Preloaded,
    written: Path,
    trained: Path,
    tmp_path: Path,
    arguments: Sequence[object],
    changes: int,
    result: str,
    compare: Compare,
) -> None:
    (tmp_path / "raw").symlink_to(written / "raw")
    if result.startswith("processed"):
        calm = written
    else:
        calm = trained
        (tmp_path / "processed").symlink_to(trained / "processed")
    if result.startswith("predictions"):
        (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
        preloaded.run(trained, *arguments)
    first = preloaded.start(tmp_path, *arguments, kill_before=changes, number=signal.SIGSTOP)
    first.wait_until_stopped()
    second = preloaded.start(tmp_path, *arguments).wait()
    assert second.code == 3
    assert f"{result} is being written by process {first.pid} on {socket.gethostname()}; wait" in second.log
    first.go_on()
    assert first.wait().code == 0
    compare(tmp_path / result, calm / result)
