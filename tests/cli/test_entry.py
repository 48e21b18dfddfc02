import signal
import subprocess
import sys

import pytest

SWALLOWING = """
import os, signal, sys, time, weakref
from esdseg.cli.entry import StopRequest

class Array: pass

def interrupted(reference):
    os.kill(os.getpid(), {number})
    time.sleep(0)

stop = StopRequest()
stop.listen()
array = Array()
reference = weakref.ref(array, interrupted)
try:
    del array
    time.sleep(60)
except KeyboardInterrupt:
    stop.forget()
    sys.exit(128 + stop.received)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_python_swallows_is_tried_again(number: signal.Signals) -> None:
    program = [sys.executable, "-c", SWALLOWING.format(number=int(number))]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 128 + number
    assert ended.stderr == ""


FAULT_IN_DESTRUCTOR = """
from esdseg.cli.entry import StopRequest

class Broken:
    def __del__(self): raise ValueError("a fault of a library")

StopRequest().listen()
Broken()
"""


def test_other_faults_in_destructors_are_still_shown() -> None:
    program = [sys.executable, "-c", FAULT_IN_DESTRUCTOR]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=50, check=True)
    assert "ValueError: a fault of a library" in ended.stderr
