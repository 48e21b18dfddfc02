"""Running one function over many items in several processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    """
    work = list(items)
    workers = min(workers, len(work))
    if workers <= 1:
        for item in work:
            yield item, function(item)
        return
    # Spawned processes inherit no threads and no locks, which forked ones may find held for ever.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(function, item): item for item in work}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
