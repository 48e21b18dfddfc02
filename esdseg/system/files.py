"""Writing files, GeoTIFFs among them, so that a reader finds the old or the new one, never a part of one.

A file is first written to its part, ``.NAME.part`` beside it, and then renamed.
"""

import ctypes
import errno
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.system.memory import free_disk_bytes, megabytes

if TYPE_CHECKING:
    import numpy.typing as npt

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a full disk, a used-up quota, and a limit on the size of files."""

ROOM_BYTES = 1_000_000
"""Free space below which a library that fails to write without a reason is taken to lack space."""

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux' ``renameat2``: paths are relative to the working folder, and the two change places."""

_RENAME_SWAP = 2
"""Of macOS' ``renamex_np``."""

REMOVALS = 50
SECONDS_BETWEEN_REMOVALS = 0.1
"""How often, and how far apart, a folder is removed that other threads still write to."""


def part_path(path: Path) -> Path:
    """Return the path of the part: beside ``path``, so that renaming is atomic."""
    return path.with_name(f".{path.name}.part")


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, even while threads of a failed writer still add files for a moment."""
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
    """Remove the parts that killed processes left in a folder; no other process may be writing there."""
    for path in folder.glob(str(part_path(Path("*")))):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def put_in_place(path: Path) -> None:
    """Rename the part of ``path`` to ``path``, once all of its bytes are on the disk."""
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


def make_folder(
    path: Path, fix: str = "choose another --name, or another folder with --set predictions_dir=DIR"
) -> Path:
    """Make a folder and those above it.

    Args:
        path: The folder.
        fix: What to do where it cannot be made; of the results of a command, unless given.

    Raises:
        InputDataError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputDataError(f"The folder {path} cannot be made: {error.strerror}; {fix}.") from None
    return path


@contextmanager
def naming_write_faults(
    path: Path, part: Path | None = None, *, needed_bytes: int | None = None, advice: str = ""
) -> Iterator[None]:
    """Turn errors of writing in the block into messages with the path, the reason and the fix.

    Args:
        path: The file or folder that is written.
        part: Its part, where there is one; removed on an error, to free its space.
        needed_bytes: Approximate size of what is written, where that is known.
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
    """Return in one line why a file could not be written."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0].rstrip(".")


def _free_bytes(path: Path) -> int:
    try:
        return free_disk_bytes(path.parent)
    except OSError:
        return 0


def write_geotiff(
    path: Path,
    bands: "npt.NDArray[Any]",
    profile: Mapping[str, Any],
    describe: Callable[[Any], None] = lambda file: None,
) -> None:
    """Write a GeoTIFF, in memory first: on a full disk GDAL may leave a broken file and say nothing.

    Args:
        path: The file.
        bands: Its values, (bands, rows, columns).
        profile: Reference system, transform, no data and options of GDAL, by rasterio's names.
        describe: Sets colours, descriptions and tags of the file, which rasterio has open.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = bands.shape
    size = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with warnings.catch_warnings():
        # The contest's tiles lie nowhere, and so do maps of them: nothing to warn of.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", **size, **profile) as file:
                file.write(bands)
                describe(file)
            path.write_bytes(memory.getbuffer())
