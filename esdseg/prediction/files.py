"""Writing results, and saying what to do where they cannot be written."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.system.files import naming_write_faults, part_path
from esdseg.system.locks import exclusive_writer

UNFINISHED_NAME = ".unfinished"
"""Folder of results that are still being written; never read, cleaned up by the next run."""


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
def replacing_together(folder: Path, last: str) -> Iterator[Path]:
    """Let files be written apart, and put them into a folder once all are there.

    What the folder held is as it was until then, and nobody else writes to it meanwhile.

    Args:
        folder: Where they go; made if it is not there.
        last: The file that vouches for the others: the old one goes first, the new one comes last.

    Yields:
        The folder to write to.

    Raises:
        InputDataError: Another process is writing to the folder, or it cannot be written to.
        MissingResourceError: There is no space left.
    """
    make_folder(folder)
    with exclusive_writer(folder, "choose another --name"):
        unfinished = folder / UNFINISHED_NAME
        shutil.rmtree(unfinished, ignore_errors=True)
        with naming_write_faults(folder):
            unfinished.mkdir()
        try:
            yield unfinished
            with naming_write_faults(folder):
                (folder / last).unlink(missing_ok=True)
                for path in sorted(path for path in unfinished.rglob("*") if path.is_file()):
                    target = folder / path.relative_to(unfinished)
                    if target != folder / last:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        path.replace(target)
                (unfinished / last).replace(folder / last)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


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


def write_text(path: Path, text: str) -> Path:
    """Write a text file; see :func:`write_whole`."""
    return write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
