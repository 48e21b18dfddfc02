"""What a check finds: problems, each with its fix, and notes that call for nothing."""

from dataclasses import dataclass
from typing import Literal

from esdseg.tiles.reading import FileFault, TileFileError

ProblemKind = Literal[
    FileFault, "missing", "doubled", "misnamed", "misplaced", "empty", "constant", "georeference"
]


@dataclass(frozen=True)
class Problem:
    """Something that spoils results or stops preprocessing.

    Attributes:
        tile: Name of the tile or of the sub-folder; ``None`` where it concerns the whole folder.
        file: Name of the file, or a pattern for several; ``None`` where it concerns the whole tile.
        kind: What is wrong, as one word.
        message: What is wrong, as a sentence.
        fix: What the user can do.
    """

    tile: str | None
    file: str | None
    kind: ProblemKind
    message: str
    fix: str

    def to_json(self) -> dict[str, str | None]:
        """Return the attributes as plain values."""
        return {
            "tile": self.tile,
            "file": self.file,
            "kind": self.kind,
            "message": self.message,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Note:
    """Something worth knowing that is no problem.

    Attributes:
        tile: Name of the tile; ``None`` where it concerns the whole folder.
        file: Name of the file, or a pattern for several; ``None`` where it concerns no file.
        message: What there is to know.
    """

    tile: str | None
    file: str | None
    message: str

    def to_json(self) -> dict[str, str | None]:
        """Return the attributes as plain values."""
        return {"tile": self.tile, "file": self.file, "message": self.message}


def problem_of(error: TileFileError, tile: str) -> Problem:
    """Turn an error of reading a file into a problem of its tile."""
    return Problem(tile, error.path.name, error.kind, error.what, error.fix)
