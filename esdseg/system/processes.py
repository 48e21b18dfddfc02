"""Running one function over many items in several processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from esdseg.errors import MissingResourceError
from esdseg.system.tuning import tune_process

Item = TypeVar("Item")
Result = TypeVar("Result")

ItemListener = Callable[[str, int, int], None]
"""Called with an item's name, the number of finished items, and the number of all.

It is called after each item or, where one takes long, before it; a number of 0 means that nobody knows it.
"""


def ignore(item: str, done: int, total: int) -> None:
    """Do nothing with an item: an :data:`ItemListener` where nobody wants to know."""


def announcing(listener: ItemListener, total: int) -> Callable[[str], None]:
    """Return what tells a listener of an item before it is begun; all before it are finished by then."""
    begun = 0

    def announce(item: str) -> None:
        nonlocal begun
        listener(item, begun, total)
        begun += 1

    return announce


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a process to end: Ctrl-C sends the first, a scheduler or ``kill`` the second."""


def map_unordered(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result]]:
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
        KeyboardInterrupt: Interrupted; the processes are ended at once.
    """
    work = list(items)
    workers = min(workers, len(work))
    if workers <= 1:
        for item in work:
            yield item, function(item)
        return
    with _processes(workers, "use fewer --workers") as pool:
        with starting_workers():
            futures = {pool.submit(function, item): item for item in work}
        for future in as_completed(futures):
            yield futures[future], future.result()


class Background:
    """Applies functions in other processes, or in another thread, while this one goes on."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        """Apply a function to each item while the next ones are being made; see :func:`map_unordered`.

        Args:
            function: A function at the top of a module.
            items: Its arguments, made in this process as they are asked for.

        Yields:
            Item and result, in the order of the items, once both are there.
        """
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            with starting_workers():
                waiting.append((item, self._pool.submit(function, item)))
            while waiting and waiting[0][1].done():
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()


@contextmanager
def background(workers: int) -> Iterator[Background]:
    """Keep up to ``workers`` processes for work in the background until the block is left.

    A process is started when there is work and no other is idle. With fewer than two workers a thread of
    this process does the work instead, one item after the other.

    Raises:
        MissingResourceError: The system ended a process.
    """
    if workers < 2:
        pool = ThreadPoolExecutor(1)
        try:
            yield Background(pool)
        finally:
            pool.shutdown(cancel_futures=True)
        return
    with _processes(workers, "free some, and run the same command again") as processes:
        yield Background(processes)


@contextmanager
def _processes(workers: int, advice: str) -> Iterator[ProcessPoolExecutor]:
    """Keep processes until the block is left; when it is interrupted, they are ended at once."""
    # Spawned processes inherit no threads and no locks, which forked ones may find held for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as pool:
        others = set(multiprocessing.active_children())
        try:
            yield pool
        except (KeyboardInterrupt, GeneratorExit):
            # Nobody wants what they are at, and whoever asked to stop should not wait for it.
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise
        except BrokenProcessPool:
            raise MissingResourceError(
                f"The system ended one of {workers} worker processes, most likely for want of memory; "
                f"{advice}."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Surround the start of worker processes, so that they heed Ctrl-C in order and leave the script alone.

    Signals that ask to stop wait until the block is left, and in the workers until :func:`begin_worker`:
    Ctrl-C reaches all of a terminal's processes and would end a starting one with a traceback.

    A spawned process runs the script of its parent again, to find functions of it. Workers need none, and a
    script without ``if __name__ == "__main__"`` would start workers again; so the script is hidden from them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    script = sys.modules["__main__"]
    # A main module that has neither a file nor a name for imports, as in a console, is not run again.
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker() -> None:
    """Prepare a worker process: it leaves Ctrl-C to its parent, ends with it, and reuses freed memory."""
    tune_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker whose parent was killed would otherwise wait for work, and hold its memory, for ever.
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
