"""The mistakes in a sweep file, each with its place."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from esdseg.config.loading import Key
from esdseg.config.section import did_you_mean, nearest_names
from esdseg.errors import ConfigError


class Mistakes:
    """Gathers the mistakes in a file, so that all are told at once.

    Args:
        file: The file.
        places: The place of each key in it, as ``FILE:LINE:COLUMN``.
    """

    def __init__(self, file: Path, places: Mapping[Key, str]) -> None:
        self._file = file
        self._places = places
        self._lines: dict[str, None] = {}

    def place(self, key: Key) -> str:
        """Return the place of a key, or of the nearest key above it that stands in the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._places:
                return self._places[key[:length]]
        return f"{self._file}:1:1"

    def add(self, key: Key, message: str) -> None:
        """Add a mistake at a key."""
        self._lines[f"{self.place(key)}: {message}"] = None

    def add_placed(self, message: str) -> None:
        """Add mistakes, a line each, that begin with their places."""
        for line in message.splitlines():
            self._lines[line] = None

    def add_unknown(self, key: Key, known: Sequence[str]) -> None:
        """Add an unknown key, with the nearest right one or all of them."""
        self.add(key, f"unknown key '{key[-1]}'; {suggestion(str(key[-1]), known)}")

    def raise_if_any(self) -> None:
        """Refuse the file if there are mistakes.

        Raises:
            ConfigError: With a line for each mistake, in the order of the file.
        """
        if self._lines:
            raise ConfigError("\n".join(sorted(self._lines, key=self._position)))

    def _position(self, line: str) -> tuple[int, int]:
        """Return line and column of a mistake; one outside the file comes first."""
        found = re.match(r":(\d+):(\d+)", line.removeprefix(str(self._file)))
        return (int(found[1]), int(found[2])) if found else (0, 0)


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return the names that were probably meant by an unknown one, in words, or all known names."""
    return did_you_mean(nearest_names(name, known)) or f"known: {', '.join(known)}."
