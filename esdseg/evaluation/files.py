"""Writing results, and saying what to do where they cannot be written."""

from collections.abc import Callable
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.files import part_path


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


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` write a file beside ``path``, then put it in its place.

    Args:
        path: The file.
        write: Writes to the path that it is given, whose ending is not that of ``path``.

    Raises:
        InputDataError: The file cannot be written.
    """
    part = part_path(path)
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        raise InputDataError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file; see :func:`write_whole`."""
    return write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
