"""Running one function over many items in several processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from esdseg.errors import MissingResourceError
from esdseg.system.tuning import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

ItemListener = Callable[[str, int, int], None]
"""Told of each finished item: its name, how many are finished, and how many there are."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What asks a process to end: Ctrl-C, and a scheduler or ``kill``."""


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
        with stop_signals_held():
            futures = {pool.submit(function, item): item for item in work}
        for future in as_completed(futures):
            yield futures[future], future.result()


class Background:
    """Does in other processes, or in another thread, what this one need not wait for."""

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
            with stop_signals_held():
                waiting.append((item, self._pool.submit(function, item)))
            while waiting and waiting[0][1].done():
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()


@contextmanager
def background(workers: int) -> Iterator[Background]:
    """Let up to so many processes work in the background until the block is left.

    A process is started when there is work and no other is idle; none is left when the block is. With less
    than two workers there are none, and a thread of this process does it, one item after the other.

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
def stop_signals_held() -> Iterator[None]:
    """Let signals that ask to stop wait until the block is left.

    Processes that are started in it hold them back too, until they call :func:`begin_worker`: otherwise
    Ctrl-C, which reaches all of a terminal's processes, ends them with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker() -> None:
    """Let the parent alone answer to Ctrl-C, end with it if it is killed, and keep freed memory for reuse."""
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A worker whose parent was killed would otherwise wait for work, and hold its memory, for ever.
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
