import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.system.files import part_path
from esdseg.system.locks import LOCK_NAME, exclusive_writer, waiting_writer


def test_a_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with (
        exclusive_writer(tmp_path / "4x4", "go elsewhere"),
        pytest.raises(InputDataError, match=f"being written by process {os.getpid()} on "),
        exclusive_writer(tmp_path / "4x4", "go elsewhere"),
    ):
        pytest.fail("two writers at once")


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_writer(tmp_path, "go elsewhere"):
        raise KeyError
    with exclusive_writer(tmp_path, "go elsewhere"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputDataError, match="cannot be written to"),
        exclusive_writer(tmp_path / "file/4x4", "go elsewhere"),
    ):
        pytest.fail("there is no such folder")


LOCK_AND_LEAVE_A_CHILD = """
import os, sys, time
from pathlib import Path
from esdseg.system.files import part_path
from esdseg.system.locks import LOCK_NAME, exclusive_writer, waiting_writer
with exclusive_writer(Path(sys.argv[1]), "go elsewhere"):
    if os.fork() == 0:
        print("child", flush=True)
        time.sleep(600)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_process_is_free_though_its_child_lives(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LOCK_AND_LEAVE_A_CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == "child\n"
        parent.kill()
        parent.wait()
        with exclusive_writer(tmp_path, "go elsewhere"):
            assert (tmp_path / LOCK_NAME).exists()
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.stdout.close()
    assert not (tmp_path / LOCK_NAME).exists()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    part_path(tmp_path / "best.ckpt").touch()
    part_path(tmp_path / "Tile1").mkdir()
    (tmp_path / LOCK_NAME).write_text("process 1 on another")
    with exclusive_writer(tmp_path, "go elsewhere"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_moments_writer_waits_for_its_turn(tmp_path: Path) -> None:
    order: list[str] = []

    def write() -> None:
        with waiting_writer(tmp_path):
            order.append("second")

    with waiting_writer(tmp_path):
        other = threading.Thread(target=write)
        other.start()
        other.join(timeout=0.3)
        order.append("first")
    other.join(timeout=60)
    assert order == ["first", "second"]
