"""A signal ends a command with its exit code; a second one ends it at once."""

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
