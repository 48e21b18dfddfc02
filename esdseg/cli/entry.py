"""Where the program begins: signals that ask it to stop, and the exit code they give."""

import os
import signal
import sys
from types import FrameType

from esdseg.parallel import STOP_SIGNALS

GRACE_SECONDS = 30
"""Time to end in order after the first signal; then the process ends as it is. Schedulers wait as long before
they kill, and whatever is on disk bears that."""

SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do: 130 for Ctrl-C, 143 for a polite kill."""


def main() -> None:
    """Run the command line; exit codes are those of :mod:`esdseg.errors`, or 130 and 143 when stopped."""
    stop = StopRequest()
    stop.listen()
    try:
        # The libraries behind the commands take a moment to load, and Ctrl-C should end that in order too.
        from esdseg.cli.app import main as run

        run()
    except BaseException:
        # Whatever an interruption turned into on its way up, it is one.
        if stop.received is None:
            raise
    finally:
        stop.forget()
    if stop.received is not None:
        sys.exit(SIGNAL_EXIT_CODE + stop.received)


class StopRequest:
    """Turns SIGINT and SIGTERM into ``KeyboardInterrupt``; a second one ends the process at once.

    Attributes:
        received: The first signal's number, once there was one.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._process = os.getpid()

    def listen(self) -> None:
        """Handle the signals from now on."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def forget(self) -> None:
        """Let the system handle them: nothing is left to end in order."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            if self.received is not None:
                self._end()
            self.received = number
            # A library that swallows the exception must not keep the process for ever.
            signal.signal(signal.SIGALRM, lambda *_: self._end())
            signal.alarm(GRACE_SECONDS)
        raise KeyboardInterrupt

    def _end(self) -> None:
        os._exit(SIGNAL_EXIT_CODE + (self.received or 0))
