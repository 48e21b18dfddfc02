"""A process with esdseg's libraries loaded that forks one real ``esdseg`` process after another.

Loading PyTorch takes seconds, so hundreds of processes could not be killed otherwise. Each is forked before
any thread was started, has a session of its own, and runs the command line from its first line to its exit
code.

It says that it is ready, then reads one JSON object a line from standard input and answers with one:
``{"start": {...}}`` with the process' number, ``{"wait": NUMBER}`` with its exit code, negative for a signal
that ended it.
"""

import atexit
import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

import esdseg

CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"})
"""Audit events of changes to a file system, whose first argument is a path."""

LATE_LIBRARIES = (
    "jinja2",
    "sklearn.ensemble",
    "sklearn.metrics",
    "sklearn.model_selection",
    "typer.core",
    "zarr",
)
"""What commands import when they need it."""

THREADED_MODULES = frozenset({"esdseg.sharing.predict"})
"""The script of exported networks, which no command loads: its ONNX Runtime begins threads."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def load_libraries() -> None:
    """Import what the commands import, and see that nothing began a thread, which a fork would lose."""
    for module in pkgutil.walk_packages(esdseg.__path__, "esdseg."):
        if module.name not in THREADED_MODULES:
            importlib.import_module(module.name)
    for name in LATE_LIBRARIES:
        importlib.import_module(name)
    Image.init()
    # A collection would look at all that was loaded, and copy it into each process that was forked.
    gc.collect()
    gc.freeze()
    threads = [path.name for path in Path("/proc/self/task").iterdir()]
    assert len(threads) == 1, f"{len(threads)} threads: a fork would lose all but one"


def serve() -> None:
    """Answer requests until standard input ends."""
    load_libraries()
    # No fault lies in what is drawn, and drawing takes longer than all else that these processes do.
    Figure.draw = lambda figure, renderer: None  # type: ignore[method-assign, assignment]
    answer: dict[str, int] = {"ready": os.getpid()}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                leave(run_command(request["start"]))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    leave(0)


def leave(code: int) -> None:
    """End the process as multiprocessing ends a forked one: it takes seconds to take the libraries apart."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_command(wanted: dict[str, Any]) -> int:
    """Become an ``esdseg`` process; return its exit code."""
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.update(wanted["environment"])
    for descriptor, name in ((0, os.devnull), (1, wanted["output"]), (2, wanted["log"])):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        opened = os.open(name, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["esdseg", *wanted["arguments"]]
    # A sweep's processes would load PyTorch anew; forked ones have it.
    multiprocessing.get_context = lambda method=None: fork_context()  # type: ignore[assignment]
    sys.addaudithook(
        ChangeCounter(wanted["folder"], wanted["kill_before"], wanted["signal"], wanted["count"])
    )

    from esdseg.cli import run_command

    try:
        run_command()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def fork_context() -> multiprocessing.context.ForkContext:
    """Return multiprocessing's context that forks."""
    return multiprocessing.context.ForkContext()


class ChangeCounter:
    """Counts the changes that a process makes to a folder, and ends it before one of them.

    Args:
        folder: The folder.
        kill_before: Before which change, counted from 1; 0 for none.
        number: The signal: SIGKILL ends all processes of its group, another one goes to the command alone,
            whichever of its processes is about to make the change.
        count: Where to write the count so far, after each change.
    """

    def __init__(self, folder: str, kill_before: int, number: int, count: str | None) -> None:
        self._folder = os.path.realpath(folder)
        self._kill_before = kill_before
        self._signal = number
        self._count = os.open(count, os.O_WRONLY | os.O_CREAT) if count else None
        self._changes = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        if event not in CHANGES and not (event == "open" and self._writes(arguments)):
            return
        if not isinstance(arguments[0], (str, os.PathLike)):
            return
        if not str(Path(arguments[0]).absolute()).startswith(self._folder):
            return
        self._changes += 1
        if self._count is not None:
            os.pwrite(self._count, f"{self._changes}\n".encode(), 0)
        if self._changes == self._kill_before:
            if self._signal == signal.SIGKILL:
                os.killpg(os.getpgrp(), signal.SIGKILL)
            os.kill(os.getsid(0), self._signal)

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITING)


if __name__ == "__main__":
    serve()
