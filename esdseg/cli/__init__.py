"""The command line: one file a subcommand parses its options, calls one function below, and prints."""

import atexit
import os
import signal
import sys
from types import FrameType

SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do: 130 for Ctrl-C, 143 for SIGTERM."""

UNCAUGHT_EXIT_CODE = 1
"""What Python itself gives after an error that nobody caught."""


def main() -> None:
    """Run the command line, then end the process at once.

    Python would first take every library apart, object by object: with PyTorch that takes more than a second.
    Only what happens after all handlers of :mod:`atexit` is left out: this handler is registered before those
    of the libraries, so it runs after them.
    """
    exit_code = UNCAUGHT_EXIT_CODE

    def end_at_once() -> None:
        # A standard stream that the user closed is None.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(exit_code)

    atexit.register(end_at_once)
    try:
        run_command()
        exit_code = 0
    except SystemExit as end:
        exit_code = int(end.code or 0)
        raise


def run_command() -> None:
    """Run the command line; exit codes are those of :mod:`esdseg.errors`, or 130 and 143 when stopped.

    The first SIGINT or SIGTERM raises ``KeyboardInterrupt``, so that the command ends in order. A second one
    ends the process at once.
    """
    command = os.getpid()
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        # Forked processes of a command inherit the handler; only the command itself counts signals.
        if os.getpid() == command:
            if received:
                os._exit(SIGNAL_EXIT_CODE + number)
            received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        # Imported here, so that Ctrl-C while libraries load ends in order too.
        from esdseg.cli.app import run

        run()
    except BaseException:
        # Whatever a library turned the interruption into, the exit code says that it was one.
        if not received:
            raise
    if received:
        sys.exit(SIGNAL_EXIT_CODE + received[0])
