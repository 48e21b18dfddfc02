"""Running one function over many items on the workers of a running Dask scheduler."""

import logging
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from esdseg import __version__
from esdseg.errors import ESDSegError, MissingResourceError, UsageError
from esdseg.system.memory import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECTION_SECONDS = 10
"""Time that a scheduler has to answer."""

PATIENCE_SECONDS = 30
"""Time that a scheduler may be without workers, at the start or while a worker is started again."""

_LOOKING_SECONDS = 5
"""Time without a finished item after which it is checked that there are workers."""


class Cluster:
    """The workers of a scheduler; all have this version of esdseg.

    Args:
        client: A connected client of ``distributed``.
        address: The scheduler's address, for messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.address = address
        self._client = client
        self._futures: dict[Any, Any] = {}

    def map_unordered(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result]]:
        """Apply a function to each item and yield each pair as it is finished.

        Items that a lost worker had not finished go to another worker, so the function may be called twice
        for one item. Paths in items and results must mean the same on all machines.

        Args:
            function: A function at the top of a module.
            items: Its arguments; they and the results are pickled.

        Yields:
            Item and result, in the order in which they finish.

        Raises:
            Exception: The first error that the function raises.
            MissingResourceError: The scheduler was lost, no workers are left, or one item killed several.
        """
        from distributed import CancelledError, KilledWorker, wait

        futures = {self._client.submit(function, item, pure=False): item for item in items}
        self._futures.update(futures)
        try:
            while futures:
                try:
                    finished = wait(
                        list(futures), timeout=_LOOKING_SECONDS, return_when="FIRST_COMPLETED"
                    ).done
                except TimeoutError:
                    _await_worker(self._client, self.address)
                    continue
                for future in finished:
                    del self._futures[future]
                    yield futures.pop(future), future.result()
        except KilledWorker as error:
            raise MissingResourceError(
                f"One item ended several workers of {self.address} ({error}), most likely for want of "
                "memory; start them with fewer threads or more memory."
            ) from None
        except CancelledError:
            raise MissingResourceError(
                f"The Dask scheduler at {self.address} was lost; run again once it is back."
            ) from None

    def cancel(self) -> None:
        """Cancel all work that is not finished."""
        self._client.cancel(list(self._futures))


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to a scheduler until the block is left, and then cancel work that is not finished.

    Args:
        address: The scheduler's address, such as ``tcp://10.0.0.1:8786``.

    Raises:
        MissingResourceError: Dask is not installed, nothing answers at the address, there are no workers, or
            they have another esdseg or none.
        UsageError: The address can never work.
    """
    # Dask logs a traceback where the scheduler is lost; the message here says so in words.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with _client(address) as client:
        _check_workers(client, address)
        cluster = Cluster(client, address)
        try:
            yield cluster
        finally:
            cluster.cancel()


def map_on_cluster(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Generator[tuple[Item, Result]]:
    """Apply a function to each item on a cluster: see :func:`connect` and :meth:`Cluster.map_unordered`."""
    with connect(address) as cluster:
        yield from cluster.map_unordered(function, items)


def threads_of_a_task(threads: int) -> int:
    """Return how many threads a task that runs on a worker may take.

    Args:
        threads: What the process would take alone, such as ``OMP_NUM_THREADS``, which Dask sets to 1.

    Returns:
        The task's share of the machine's cores, as the worker runs several at once; ``threads`` at most.
    """
    from distributed import get_worker

    return max(1, min(threads, available_cores() // get_worker().state.nthreads))


@contextmanager
def naming_machine() -> Iterator[None]:
    """Tell errors of a task that runs on a worker with the name of the worker's machine.

    Raises:
        ESDSegError: Of the same kind.
    """
    try:
        yield
    except ESDSegError as error:
        raise type(error)(f"The Dask worker on {socket.gethostname()}: {error}") from None


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise MissingResourceError(
            "--dask needs the package dask: pip install -c constraints.txt -e '.[dask]'."
        ) from None
    try:
        client = Client(address, timeout=CONNECTION_SECONDS)
    except ValueError as error:
        raise UsageError(
            f"--dask {address} is no scheduler's address ({error}); it looks like tcp://HOST:8786."
        ) from None
    except OSError:
        raise MissingResourceError(
            f"No Dask scheduler answers at {address}. Start one with `dask scheduler`, and `dask worker "
            f"{address}` on each machine; or leave out --dask."
        ) from None
    try:
        yield client
    finally:
        client.close()


def _await_worker(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
    except TimeoutError:
        raise MissingResourceError(
            f"The Dask scheduler at {address} has no workers; start some with `dask worker {address}` and "
            "run again."
        ) from None


def _check_workers(client: Any, address: str) -> None:
    _await_worker(client, address)
    mend = f"Install esdseg {__version__} on all machines"
    try:
        versions = set(client.run(_installed_version).values())
    except Exception as error:
        raise MissingResourceError(f"The workers of {address} cannot run esdseg ({error}). {mend}.") from None
    if versions != {__version__}:
        others = ", ".join(sorted(versions - {__version__}))
        raise MissingResourceError(f"Workers of {address} have esdseg {others}. {mend}.")


def _installed_version() -> str:
    return __version__
