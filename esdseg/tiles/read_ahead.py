"""Having the system read files from the disk while others are worked on."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def announce(paths: Iterable[Path]) -> None:
    """Say that files will be read soon, so that nobody waits for the disk when they are.

    Where the system takes no such advice, and for what is no readable file, nothing happens: whoever reads it
    tells what is wrong.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)
