"""Timing several ways of doing one thing, in turns."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """What something took, as medians over its repeats.

    Attributes:
        wall: Seconds on the clock.
        cpu: Seconds of all processors, child processes included.
    """

    wall: float
    cpu: float


class Stopwatch:
    """Collects what repetitions took, in ``with`` blocks or between two readings."""

    def __init__(self) -> None:
        self._walls: list[float] = []
        self._cpus: list[float] = []

    def start(self) -> None:
        """Begin a repetition."""
        self._start = time.perf_counter(), _cpu_seconds()

    def stop(self) -> None:
        """End a repetition."""
        wall, cpu = self._start
        self._walls.append(time.perf_counter() - wall)
        self._cpus.append(_cpu_seconds() - cpu)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def repetitions(self) -> int:
        """How many have ended."""
        return len(self._walls)

    def timing(self) -> Timing:
        """Return the medians of the repetitions so far."""
        return Timing(statistics.median(self._walls), statistics.median(self._cpus))


def side_by_side(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Time several functions in turns, so that whatever slows the machine slows all of them.

    Args:
        ways: Functions by name.
        repeats: How often each is timed, after one run that is not.
    """
    watches = {name: Stopwatch() for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            with watches[name]:
                way()
    return {name: watch.timing() for name, watch in watches.items()}


def peak_megabytes(function: Callable[..., object], *arguments: Any) -> float:
    """Return the most memory that a new process ever held while it ran a function, its libraries included."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run_and_weigh, function, arguments).result()


def _run_and_weigh(function: Callable[..., object], arguments: tuple[Any, ...]) -> float:
    function(*arguments)
    # What getrusage says of a new process begins with what its parent held.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kibibytes) * 1024 / 1e6


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
