"""Running one function over many items in several processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from esdseg.allocation import keep_freed_memory
from esdseg.errors import MissingResourceError

Item = TypeVar("Item")
Result = TypeVar("Result")

ItemListener = Callable[[str, int, int], None]
"""Told of each finished item: its name, how many are finished, and how many there are."""


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_unordered(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to each item and yield each pair as it is finished.

    Args:
        function: A function at the top of a module (or a partial of one), so that other processes find it.
        items: Its arguments; they and the results are pickled.
        workers: Processes; with 1, all runs in this process.

    Yields:
        Item and result, in the order in which they finish.

    Raises:
        Exception: The first error that the function raises; work not yet begun is given up.
        MissingResourceError: The system ended a process.
    """
    work = list(items)
    workers = min(workers, len(work))
    if workers <= 1:
        for item in work:
            yield item, function(item)
        return
    # Spawned processes inherit no threads and no locks, which forked ones may find held for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as pool:
        futures = {pool.submit(function, item): item for item in work}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise MissingResourceError(
                f"The system ended one of {workers} worker processes, most likely for want of memory; use "
                "fewer --workers."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def begin_worker() -> None:
    """Let the parent alone answer to Ctrl-C, end with it if it is killed, and keep freed memory for reuse."""
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker whose parent was killed would otherwise wait for work, and hold its memory, for ever.
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
