"""Telling whether the process that works on a trial still lives."""

import fcntl
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

LOCKS_FOLDER = ".workers"


class LifeSign:
    """A locked file; the system lets go of the lock however the process ends.

    Args:
        folder: The sweep's folder.

    Attributes:
        name: Of the file, different for every process.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid4().hex
        self._path = folder / LOCKS_FOLDER / self.name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(socket.gethostname())
        self._file.flush()

    def end(self) -> None:
        """Take the sign away, once the process works on no trial."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def clear_dead(folder: Path) -> None:
    """Remove the signs of this machine's processes that have ended; their trials must be queued again.

    Signs are made under the lock of the sweep's storage, which must be held here too.

    Args:
        folder: The sweep's folder.
    """
    for path in (folder / LOCKS_FOLDER).glob("*"):
        # Living processes take theirs away at any time.
        with suppress(FileNotFoundError):
            host = path.read_text(encoding="utf-8")
            # A process that died while it made its sign had not told its machine yet.
            if not host or is_known_dead(folder, path.name, host):
                path.unlink()


def is_known_dead(folder: Path, name: str, host: str) -> bool:
    """Say whether a process is known to have ended; of other machines nothing is known.

    Args:
        folder: The sweep's folder.
        name: Of the process' life sign.
        host: The machine that the process ran on.
    """
    if host != socket.gethostname():
        return False
    try:
        with (folder / LOCKS_FOLDER / name).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        # A file that is not there may be another folder's, where the same study is worked on.
        return False
    return True
