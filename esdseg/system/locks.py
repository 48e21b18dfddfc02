"""One writer at a time for a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from esdseg.errors import InputDataError
from esdseg.system.files import fault_in_words, remove_parts

LOCK_NAME = ".lock"


@contextmanager
def exclusive_writer(folder: Path, elsewhere: str) -> Iterator[None]:
    """Keep other writers away while the block runs, and remove what a killed one left unfinished.

    The system releases the lock when the process dies, however that happens.

    Args:
        folder: What is written to; made if it is not there.
        elsewhere: What to do instead of writing there, such as ``choose another --name``.

    Raises:
        InputDataError: Another process is writing, with its number; or the folder cannot be written to.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise InputDataError(
            f"{folder} is being written by {_holder(path)}; wait until it is done or end it, or {elsewhere}."
        ) from None
    except OSError as error:
        raise InputDataError(
            f"{folder} cannot be written to: {fault_in_words(error)}; {elsewhere}."
        ) from None
    with held:
        # The holder's number helps whoever meets the lock; on a full disk it is left out.
        with suppress(OSError):
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        try:
            remove_parts(folder)
            yield
        finally:
            # Still locked: whoever has opened this file meanwhile finds that it is no longer the folder's.
            path.unlink(missing_ok=True)


@contextmanager
def waiting_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process writes to a folder, and keep others waiting while the block runs.

    For files that take a moment to write. What killed processes left unfinished is removed.
    """
    with FileLock(folder / LOCK_NAME):
        remove_parts(folder)
        yield


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
