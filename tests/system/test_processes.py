import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.system.processes import background, map_unordered

WAIT = """
from esdseg.system.processes import map_unordered
from tests.system.test_processes import say_pid_and_wait
list(map_unordered(say_pid_and_wait, [1, 2], 2))
"""


def double(number: int) -> int:
    return 2 * number


def double_or_wait(number: int) -> int:
    if number == 2:
        time.sleep(600)
    return double(number)


def refuse(number: int) -> int:
    raise InputDataError(f"{number} is refused")


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def say_pid_and_wait(number: int) -> None:
    # One write a line, so that two processes never share one.
    os.write(sys.stdout.fileno(), f"{os.getpid()}\n".encode())
    time.sleep(600)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_paired_with_its_result(workers: int) -> None:
    assert sorted(map_unordered(double, range(5), workers)) == [(n, 2 * n) for n in range(5)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_function_is_raised_as_it_is(workers: int) -> None:
    with pytest.raises(InputDataError, match="is refused"):
        list(map_unordered(refuse, [1, 2], workers))


def test_a_process_that_the_system_ends_is_told_in_words() -> None:
    with pytest.raises(MissingResourceError, match="fewer --workers"):
        list(map_unordered(die, [1, 2], 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_while_the_next_items_are_made(workers: int) -> None:
    with background(workers) as processes:
        assert list(processes.map(double, iter(range(5)))) == [(n, 2 * n) for n in range(5)]


def test_without_processes_a_thread_works_while_the_next_items_are_made() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    def double_once_the_next_is_made(number: int) -> int:
        assert made.wait(timeout=60)
        return 2 * number

    with background(1) as thread:
        assert list(thread.map(double_once_the_next_is_made, items())) == [(1, 2), (2, 4)]


def test_an_error_in_a_thread_comes_back_and_what_waits_is_given_up() -> None:
    done = []

    def refuse_the_first(number: int) -> None:
        done.append(number)
        time.sleep(0.2)
        raise ValueError(number)

    with pytest.raises(ValueError, match="1"), background(1) as thread:
        list(thread.map(refuse_the_first, iter(range(1, 50))))
    assert len(done) < 49


def interrupted_after_the_first() -> None:
    with background(2) as processes:
        next(processes.map(double_or_wait, [1, 2]))
        raise KeyboardInterrupt


def test_an_interruption_ends_what_is_done_in_the_background() -> None:
    # Other tests' clusters may live meanwhile.
    others = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        interrupted_after_the_first()
    assert not set(multiprocessing.active_children()) - others


def test_a_process_in_the_background_that_the_system_ends_is_told_in_words() -> None:
    with pytest.raises(MissingResourceError, match="want of memory; free some"), background(2) as processes:
        list(processes.map(die, [1]))


def test_workers_end_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", WAIT], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert len(set(workers)) == 2
    parent.kill()
    # The pipe closes once the last process that could write to it has ended.
    rest, _ = parent.communicate(timeout=60)
    assert rest == b""


SCRIPT = """
from pathlib import Path
from esdseg.system.processes import background, map_unordered
with Path("starts.txt").open("a") as file:
    file.write("started\\n")
print(sorted(result for _, result in map_unordered(float, [1, 2, 3], 2)))
with background(2) as processes:
    print([result for _, result in processes.map(float, [4, 5])])
"""


@pytest.mark.parametrize("way", ["file", "relative file", "module", "standard input", "-c"])
def test_a_plain_script_needs_no_guard(tmp_path: Path, way: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    arguments = {
        "file": [str(tmp_path / "script.py")],
        "relative file": ["script.py"],
        "module": ["-m", "script"],
        "standard input": ["-"],
        "-c": ["-c", SCRIPT],
    }[way]
    shown = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        input=SCRIPT,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "[1.0, 2.0, 3.0]\n[4.0, 5.0]\n", shown.stderr
    assert (tmp_path / "starts.txt").read_text() == "started\n"
