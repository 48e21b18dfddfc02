"""Running one function over many items on the workers of a Dask scheduler that is already there."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from esdseg import __version__
from esdseg.errors import MissingResourceError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECTION_SECONDS = 10
"""How long a scheduler may take to answer."""

PATIENCE_SECONDS = 30
"""How long a scheduler may be without any worker, before the first comes or while one is started again."""

_LOOKING_SECONDS = 5
"""How often it is looked whether there are workers, while nothing finishes."""


def map_on_cluster(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Generator[tuple[Item, Result]]:
    """Apply a function to each item on a cluster and yield each pair as it is finished.

    What a lost worker had not finished is done by another, so the function must bear being called again.
    Paths in items and results must mean the same on all machines.

    Args:
        function: A function at the top of a module.
        items: Its arguments; they and the results are pickled.
        address: The scheduler's, such as ``tcp://10.0.0.1:8786``.

    Yields:
        Item and result, in the order in which they finish.

    Raises:
        Exception: The first error that the function raises; work not yet begun is given up.
        MissingResourceError: Dask is not installed, nothing answers at the address, there are no workers,
            they have another esdseg or none, or one item ended several of them.
        UsageError: The address can never work.
    """
    try:
        from distributed import KilledWorker, wait
    except ModuleNotFoundError:
        raise MissingResourceError(
            "--dask needs the package dask: pip install -c constraints.txt -e '.[dask]'."
        ) from None
    with _connect(address) as client:
        _check_workers(client, address)
        futures = {client.submit(function, item, pure=False): item for item in items}
        try:
            while futures:
                try:
                    finished = wait(
                        list(futures), timeout=_LOOKING_SECONDS, return_when="FIRST_COMPLETED"
                    ).done
                except TimeoutError:
                    _await_worker(client, address)
                    continue
                for future in finished:
                    yield futures.pop(future), future.result()
        except KilledWorker as error:
            raise MissingResourceError(
                f"One item ended several workers of {address} ({error}), most likely for want of memory; "
                "start them with fewer threads or more memory."
            ) from None
        finally:
            client.cancel(list(futures))


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    from distributed import Client

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
