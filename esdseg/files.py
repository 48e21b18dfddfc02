"""Writing files so that a reader finds the old or the new one, never a part."""

import os
from pathlib import Path


def part_path(path: Path) -> Path:
    """Return where to write what will become ``path``: beside it, so that renaming is atomic."""
    return path.with_name(f".{path.name}.part")


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8 and with line ends as they are.

    Raises:
        OSError: It cannot be written.
    """
    part = part_path(path)
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
