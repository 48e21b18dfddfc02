"""The command line: one file a subcommand parses its options, calls one function below, and prints."""

import os
import signal
import sys
from types import FrameType

SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do: 130 for Ctrl-C, 143 for SIGTERM."""


def main() -> None:
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
