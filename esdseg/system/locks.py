"""One writer at a time for a folder."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from esdseg.errors import InputDataError
from esdseg.system.files import fault_in_words, remove_parts

LOCK_NAME = ".lock"

_held: set[IO[bytes]] = set()


def _let_go_in_child() -> None:
    # A loader's process outlives its killed parent by some seconds and would hold the lock as long.
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextmanager
def exclusive_writer(folder: Path, elsewhere: str) -> Iterator[None]:
    """Keep other writers away while the block runs; the system lets go of the lock if the process dies.

    What a killed process left unfinished in the folder is removed.

    Args:
        folder: What is written to; made if it is not there.
        elsewhere: What to do instead of writing there, such as ``choose another --name``.

    Raises:
        InputDataError: Another process is writing, with its number; or the folder cannot be written to.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_current(path)
    except BlockingIOError:
        raise InputDataError(
            f"{folder} is being written by {_holder(path)}; wait until it is done or end it, or {elsewhere}."
        ) from None
    except OSError as error:
        raise InputDataError(
            f"{folder} cannot be written to: {fault_in_words(error)}; {elsewhere}."
        ) from None
    with file:
        _held.add(file)
        # Who holds it is good to know, but no reason to give up on a full disk.
        with suppress(OSError):
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            remove_parts(folder)
            yield
        finally:
            _held.discard(file)
            # Still locked: whoever has opened this file meanwhile finds that it is no longer the folder's.
            path.unlink(missing_ok=True)


def clear_leftovers(folder: Path, elsewhere: str) -> None:
    """Remove what a process left in a folder that was killed when nothing was left to do but to clear up.

    Args:
        folder: A folder whose work is done.
        elsewhere: As for :func:`exclusive_writer`.

    Raises:
        InputDataError: Another process is still writing.
    """
    if (folder / LOCK_NAME).exists():
        with exclusive_writer(folder, elsewhere):
            pass


@contextmanager
def waiting_writer(folder: Path) -> Iterator[None]:
    """Wait for a turn to write a moment's work to a folder that is there, and clear what killed ones left."""
    with (folder / LOCK_NAME).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_parts(folder)
        yield


def _open_current(path: Path) -> IO[bytes]:
    """Open and lock the lock's file, and see that it is still the one that others will find.

    Raises:
        BlockingIOError: Another process holds it.
    """
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
