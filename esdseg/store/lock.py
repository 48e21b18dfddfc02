"""One writer at a time for a store's folder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.store.layout import LOCK_NAME


@contextmanager
def exclusive_writer(store: Path) -> Iterator[None]:
    """Keep other writers away while the block runs; the system lets go of the lock if the process dies.

    Args:
        store: The store's folder; made if it is not there.

    Raises:
        InputDataError: Another process is writing, with its number; or the folder cannot be written to.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = (store / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputDataError(
            f"{store} cannot be written to: {error.strerror}; choose another --processed-dir."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputDataError(
                f"{store} is being written by {holder}; wait until it is done, or end it."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
