"""Files that are handed in: the class's leaderboard takes a table of all cells, the contest a zip of maps."""

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from esdseg.config.evaluation import RestitchConfig
from esdseg.errors import InputDataError
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, GRID_SIZE, NUM_CLASSES
from esdseg.system.files import write_text, write_whole
from esdseg.tiles.discovery import natural_key

TABLE_NAME = "results.csv"
ZIP_NAME = "submission.zip"

SUBMITTED_TILES = 19
"""Tiles of the contest's validation set, and of its test set: Tile1 to Tile19."""

NAMED_NUMBERS = 5
"""Missing tiles that a message names, at most."""

FILL_CLASS = CLASSES[1]
"""Of cells without data, as a submission has an answer for every cell: the contest's most frequent class."""

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The same maps give the same zip."""


@dataclass(frozen=True)
class Submission:
    """What is handed in.

    Attributes:
        path: ``results.csv`` or ``submission.zip``.
        notes: Sentences that the user should know.
    """

    path: Path
    notes: tuple[str, ...]


def check_submission(config: RestitchConfig, tiles: Sequence[str]) -> None:
    """Refuse tiles that are not those that are handed in, before anything is predicted.

    Args:
        config: The settings.
        tiles: Names of the tiles that are mapped.

    Raises:
        InputDataError: A submission is asked for, and the tiles are not Tile1 to Tile19.
    """
    if config.submission is None or config.any_tiles:
        return
    numbers = [_number(tile) for tile in tiles]
    wanted = range(1, SUBMITTED_TILES + 1)
    if sorted(number or 0 for number in numbers) == list(wanted):
        return
    missing = [str(number) for number in wanted if number not in numbers]
    lacking = f", without {', '.join(missing)}" if 0 < len(missing) <= NAMED_NUMBERS else ""
    raise InputDataError(
        f"A submission has the tiles Tile1 to Tile{SUBMITTED_TILES}, and here are {len(tiles)} tiles"
        f"{lacking}. Preprocess the {SUBMITTED_TILES} tiles alone into a folder of their own and name it by "
        "--processed-dir, or add --any-tiles to hand in these, numbered from 1 in natural order."
    )


def write_submission(
    folder: Path, config: RestitchConfig, classes: Mapping[str, npt.NDArray[np.uint8]]
) -> Submission | None:
    """Write what is handed in.

    Args:
        folder: Where it goes.
        config: The settings.
        classes: Label indices (16, 16) of each tile, 0 to 3; 255 without data.

    Returns:
        The file; ``None`` where no submission is asked for.

    Raises:
        InputDataError: The tiles are not those of a submission, or the file cannot be written.
        MissingResourceError: There is no space left.
    """
    if config.submission is None:
        return None
    check_submission(config, list(classes))
    names = sorted(classes, key=natural_key)
    numbered = {
        number if config.any_tiles else _number(name) or number: np.where(
            classes[name] < NUM_CLASSES, classes[name], FILL_CLASS.index
        )
        for number, name in enumerate(names, start=1)
    }
    if config.submission == "classroom":
        path = _write_table(folder / TABLE_NAME, dict(sorted(numbered.items())))
    else:
        path = _write_zip(folder / ZIP_NAME, numbered, config)
    return Submission(path, _notes(config, names, classes))


def _number(tile: str) -> int | None:
    found = re.search(r"\d+$", tile)
    return int(found[0]) if found else None


def _write_table(path: Path, numbered: Mapping[int, npt.NDArray[np.uint8]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("pixelId", "predictions"))
    for number, labels in numbered.items():
        first = (number - 1) * GRID_SIZE**2
        writer.writerows(enumerate(labels.ravel().tolist(), start=first))
    write_text(path, text.getvalue())
    return path


def _write_zip(path: Path, numbered: Mapping[int, npt.NDArray[np.uint8]], config: RestitchConfig) -> Path:
    inside, outside = config.contest_values
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, labels in numbered.items():
            values = np.where(labels == CONTEST_CLASS.index, inside, outside).astype(np.uint8)
            raster = io.BytesIO()
            Image.fromarray(values).save(raster, format="TIFF")
            name = config.contest_names.format(number=number)
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), raster.getvalue(), zipfile.ZIP_DEFLATED)
    return write_whole(path, lambda part: part.write_bytes(content.getvalue()))


def _notes(
    config: RestitchConfig, names: Sequence[str], classes: Mapping[str, npt.NDArray[np.uint8]]
) -> tuple[str, ...]:
    notes = []
    lacking = {name: int((classes[name] >= NUM_CLASSES).sum()) for name in names}
    if any(lacking.values()):
        tiles = ", ".join(name for name in names if lacking[name])
        notes.append(
            f"{sum(lacking.values())} cells of {tiles} have no data; the submission calls them "
            f"{FILL_CLASS.title.lower()}, since it needs an answer for every cell."
        )
    if config.submission == "contest":
        inside, outside = config.contest_values
        notes.append(
            f"The zip holds maps of {inside} for settlement without electricity and {outside} elsewhere. The "
            "organisers' rules are not known to esdseg: compare names and values with theirs before you hand "
            "it in, and change them by --contest-names and --contest-values."
        )
    if config.any_tiles:
        notes.append(f"Tiles are numbered from 1 in this order: {', '.join(names)}.")
    return tuple(notes)
