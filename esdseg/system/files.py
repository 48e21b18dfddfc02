"""Writing files so that a reader finds the old or the new one, never a part."""

import ctypes
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.system.memory import free_disk_bytes, megabytes

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Disk, quota, and the limit on the size of one file."""

ROOM_BYTES = 1_000_000
"""With less than that left, a library that fails to write without saying why has run out of space."""


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux' ``renameat2``: paths are relative to the working folder, and the two change places."""

_RENAME_SWAP = 2
"""Of macOS' ``renamex_np``."""

REMOVALS = 50
SECONDS_BETWEEN_REMOVALS = 0.1


def part_path(path: Path) -> Path:
    """Return where to write what will become ``path``: beside it, so that renaming is atomic."""
    return path.with_name(f".{path.name}.part")


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, even where threads of a failed writer still add to it for a moment."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(SECONDS_BETWEEN_REMOVALS)


def exchange_folders(first: Path, second: Path) -> None:
    """Let two folders of one file system change places, in one step where the system can do that.

    Linux and macOS can; some network file systems cannot, where there is a moment without ``second``.

    Raises:
        OSError: A folder cannot be renamed.
    """
    names = os.fsencode(first), os.fsencode(second)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, _RENAME_SWAP)
        else:
            failed = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    except AttributeError:
        failed = -1
    if failed:
        aside = second.with_name(f".{second.name}.old")
        remove_folder(aside)
        second.rename(aside)
        first.rename(second)
        aside.rename(first)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes left of files and folders of ``folder``; none may be writing there."""
    for path in folder.glob(str(part_path(Path("*")))):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_in_place(path: Path) -> None:
    """Make the part of ``path`` the file itself, once all of it is on the disk."""
    part = part_path(path)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8 and with line ends as they are.

    Raises:
        InputDataError: It cannot be written.
        MissingResourceError: There is no space left.
    """
    part = part_path(path)
    with naming_write_faults(path, part):
        part.write_text(text, encoding="utf-8", newline="")
        put_in_place(path)


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` write a file beside ``path``, then put it in its place.

    Args:
        path: The file.
        write: Writes to the path that it is given, whose ending is not that of ``path``.

    Raises:
        InputDataError: The file cannot be written.
        MissingResourceError: There is no space left.
    """
    part = part_path(path)
    with naming_write_faults(path, part):
        write(part)
        part.replace(path)
    return path


def make_folder(path: Path) -> Path:
    """Make a folder and those above it.

    Raises:
        InputDataError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputDataError(
            f"The folder {path} for the results cannot be made: {error.strerror}; choose another --name, or "
            "another folder with --set predictions_dir=DIR."
        ) from None
    return path


@contextmanager
def naming_write_faults(
    path: Path, part: Path | None = None, *, needed_bytes: int | None = None, advice: str = ""
) -> Iterator[None]:
    """Say which file or folder cannot be written in the block, why, and what to do.

    Args:
        path: What is written.
        part: Where it is written first; taken away where that fails, to make room again.
        needed_bytes: About how much space it takes, where that is known.
        advice: What to do once the fault is mended, where that is not obvious.

    Raises:
        InputDataError: It cannot be written.
        MissingResourceError: There is no space left.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        free = _free_bytes(path)
        if part is not None and not part.is_dir():
            part.unlink(missing_ok=True)
        end = f" {advice}" if advice else ""
        # PyTorch and GDAL say that a file could not be written, but not why.
        unexplained = not isinstance(error, OSError) or error.errno is None
        if getattr(error, "errno", None) in _NO_SPACE or (unexplained and free < ROOM_BYTES):
            needed = f", about {megabytes(needed_bytes)} are needed" if needed_bytes else ""
            why = os.strerror(errno.ENOSPC) if unexplained else fault_in_words(error)
            room = f"{why}; {megabytes(free)} are free there{needed}"
            raise MissingResourceError(
                f"There is no space left to write {path} ({room}). Free some, and run again.{end}"
            ) from None
        raise InputDataError(
            f"{path} cannot be written: {fault_in_words(error)}. Mend that, and run again.{end}"
        ) from None


def fault_in_words(error: Exception) -> str:
    """Word why a file could not be written, in one line."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")


def _free_bytes(path: Path) -> int:
    try:
        return free_disk_bytes(path.parent)
    except OSError:
        return 0
