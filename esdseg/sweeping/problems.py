"""Gathering everything that is wrong with a file, each with its place."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from esdseg.config.loading import Key
from esdseg.config.section import nearest_name
from esdseg.errors import ConfigError


class Problems:
    """What is wrong with a file.

    Args:
        file: The file.
        places: Of each key in it, as ``FILE:LINE:COLUMN``.
    """

    def __init__(self, file: Path, places: Mapping[Key, str]) -> None:
        self._file = file
        self._places = places
        self._lines: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._lines)

    def place(self, key: Key) -> str:
        """Return the place of a key, or of the nearest one above it that stands in the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._places:
                return self._places[key[:length]]
        return f"{self._file}:1:1"

    def add(self, key: Key, message: str) -> None:
        """Note that something is wrong at a key."""
        self._lines[f"{self.place(key)}: {message}"] = None

    def add_placed(self, message: str) -> None:
        """Note lines that name their places themselves."""
        for line in message.splitlines():
            self._lines[line] = None

    def add_unknown(self, key: Key, known: Sequence[str], what: str = "key") -> None:
        """Note an unknown name, with the nearest right one or all of them."""
        self.add(key, f"unknown {what} '{key[-1]}'; {suggestion(str(key[-1]), known)}")

    def raise_if_any(self) -> None:
        """Refuse the file.

        Raises:
            ConfigError: With a line for each problem.
        """
        if self._lines:
            raise ConfigError("\n".join(sorted(self._lines, key=self._position)))

    def _position(self, line: str) -> tuple[int, int]:
        """Return where a problem lies; one that comes from elsewhere lies before all others."""
        found = re.match(r":(\d+):(\d+)", line.removeprefix(str(self._file)))
        return (int(found[1]), int(found[2])) if found else (0, 0)


def suggestion(name: str, known: Sequence[str]) -> str:
    """Word what was probably meant by an unknown name."""
    nearest = nearest_name(name, known)
    return f"did you mean '{nearest}'?" if nearest else f"known: {', '.join(known)}."
