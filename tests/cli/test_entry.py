"""How a command's process ends: by itself, by a signal, and at once by a second one."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, time


def command():
    os.kill(os.getpid(), {number})
    time.sleep(60)

import esdseg.cli.app
esdseg.cli.app.run = command
esdseg.cli.main()
"""

DEAF = """
import os, time

def command():
    for attempt in range(2):
        try:
            os.kill(os.getpid(), {number})
            time.sleep(60)
        except KeyboardInterrupt:
            print("swallowed", flush=True)

import esdseg.cli.app
esdseg.cli.app.run = command
esdseg.cli.main()
print("survived")
"""


ENDING = """
import atexit, sys


class Library:
    def __del__(self):
        print("taken apart")


def command():
    print("the result")
    atexit.register(print, "handlers ran")
    {ending}

library = Library()
import esdseg.cli.app
esdseg.cli.app.run = command
esdseg.cli.main()
"""


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)]
)
def test_a_command_gives_its_results_and_exit_code_without_taking_libraries_apart(
    ending: str, code: int
) -> None:
    ended = _run(ENDING.format(ending=ending))
    assert (ended.returncode, ended.stdout) == (code, "the result\nhandlers ran\n")
    assert ("ValueError" in ended.stderr) == (code == 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_command_and_gives_the_exit_code(number: signal.Signals) -> None:
    ended = _run(INTERRUPTED.format(number=int(number)))
    assert (ended.returncode, ended.stderr) == (128 + number, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_command_that_swallowed_the_first(number: signal.Signals) -> None:
    ended = _run(DEAF.format(number=int(number)))
    assert (ended.returncode, ended.stdout) == (128 + number, "swallowed\n")


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
