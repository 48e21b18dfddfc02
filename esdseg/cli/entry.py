"""Where the program begins: signals that ask it to stop, and the exit code they give."""

import math
import os
import signal
import sys
import time
from types import FrameType

from esdseg.system.processes import STOP_SIGNALS

GRACE_SECONDS = 30
"""Time to end in order after the first signal; then the process ends as it is. Schedulers wait as long before
they kill, and whatever is on disk bears that."""

AGAIN_SECONDS = 0.01
"""After which an interruption that was lost on its way up is tried once more."""

SIGNAL_EXIT_CODE = 128
"""Added to a signal's number, as shells do: 130 for Ctrl-C, 143 for a polite kill."""


def main() -> None:
    """Run the command line; exit codes are those of :mod:`esdseg.errors`, or 130 and 143 when stopped."""
    stop = StopRequest()
    try:
        try:
            stop.listen()
            # Libraries behind the commands take a moment to load, and Ctrl-C should end that in order too.
            from esdseg.cli.app import main as run

            run()
        finally:
            # A signal may still come before the last of them is forgotten, hence the outer block.
            stop.forget()
    except BaseException:
        # Whatever an interruption turned into on its way up, it is one.
        if stop.received is None:
            raise
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
        self._deadline = math.inf

    def listen(self) -> None:
        """Handle the signals from now on."""
        sys.unraisablehook = self._note_unraisable
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def forget(self) -> None:
        """Let the system handle them: nothing is left to end in order."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if self.received is not None:
            # Python lets go of handlers while it ends, and a busy machine needs its time for that too.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(GRACE_SECONDS)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            if self.received is not None:
                self._end()
            self.received = number
            self._deadline = time.monotonic() + GRACE_SECONDS
            signal.signal(signal.SIGALRM, self._interrupt_again)
            signal.alarm(GRACE_SECONDS)
        raise KeyboardInterrupt

    def _note_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if self.received is None or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
        else:
            # It met a destructor or a weak reference's callback, which Python lets nothing out of.
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)

    def _interrupt_again(self, number: int, frame: FrameType | None) -> None:
        left = self._deadline - time.monotonic()
        # A library that swallows the exception must not keep the process for ever.
        if left <= 0:
            self._end()
        signal.setitimer(signal.ITIMER_REAL, left)
        raise KeyboardInterrupt

    def _end(self) -> None:
        os._exit(SIGNAL_EXIT_CODE + (self.received or 0))
