"""Problems of raw tiles, each with its fix, and those that show in the listing before any file is opened."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Literal

from esdseg.sensors.sensors import GROUND_TRUTH_NAME, RASTER_ENDINGS, RasterName, Sensor, SensorTable
from esdseg.tiles.discovery import RENAME_TILE, RawFolder, RawTile, holds_ground_truth, is_tile_name
from esdseg.tiles.reading import FileFault, TileFileError

ProblemKind = Literal[
    FileFault, "missing", "doubled", "misnamed", "misplaced", "empty", "constant", "unlabelled"
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


def problems_of(errors: Iterable[TileFileError], tile: RawTile) -> Iterator[Problem]:
    """Turn errors of a tile's files into problems, one for all files that have the same error."""
    alike: dict[tuple[FileFault, str, str], list[str]] = {}
    for error in errors:
        names = alike.setdefault((error.kind, error.fault, error.fix), [])
        # A file of several bands is read, and refused, once a band.
        if error.path.name not in names:
            names.append(error.path.name)
    for (kind, fault, fix), names in alike.items():
        message = fault if len(names) == 1 else f"Each of {len(names)} files: {fault[0].lower()}{fault[1:]}"
        yield Problem(tile.name, _pattern(names, tile), kind, message, fix)


def _pattern(names: list[str], tile: RawTile) -> str:
    """Name one or several rasters of a tile, by a pattern where that means them alone."""
    words = zip(*(name.split("_") for name in names), strict=False)
    start = "".join(f"{alike[0]}_" for alike in takewhile(lambda alike: len(set(alike)) == 1, words))
    like_it = [path.name for path in tile.rasters.values() if path.name.startswith(start)]
    if len(names) > 1 and start and sorted(like_it) == sorted(names):
        return f"{start}*{Path(names[0]).suffix}"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


_FILLED = "Fetch it again; preprocess otherwise fills it with no data (with --strict it refuses the tile)."
SHORTEST_BEGINNING = 3
"""Letters before the first token of a pattern by which a misspelt name is known; fewer tell nothing."""

_LIKE_A_TILE = re.compile(r"tile[ _-]?\d+", re.IGNORECASE)


def folder_problems(folder: RawFolder) -> Iterator[Problem]:
    """Yield what lies in the wrong place in the folder of the tiles."""
    if folder.stray_files:
        yield Problem(
            None,
            folder.stray_files[0].name,
            "misplaced",
            f"{_rasters(len(folder.stray_files))} beside the tiles' folders and not read.",
            "Move what belongs to a tile into its folder, and the rest elsewhere.",
        )
    for closed in folder.closed_folders:
        yield Problem(
            closed.name,
            None,
            "unreadable",
            "The folder may not be listed.",
            f"Give yourself the right to read it: chmod u+rx {closed}",
        )
    for empty in folder.empty_folders:
        if _LIKE_A_TILE.fullmatch(empty.name) or holds_ground_truth(empty):
            yield Problem(
                empty.name,
                None,
                "missing",
                "The folder holds no raster of a known sensor; it is passed over.",
                "Fetch or unpack the tile again; its rasters lie in the folder itself, not one level deeper.",
            )


def folder_notes(folder: RawFolder) -> Iterator[Note]:
    """Yield what is worth knowing of the folder as a whole."""
    for empty in folder.empty_folders:
        if not (_LIKE_A_TILE.fullmatch(empty.name) or holds_ground_truth(empty)):
            yield Note(
                None, f"{empty.name}/", "The folder holds no raster of a known sensor and is passed over."
            )
    unlabelled = [tile.name for tile in folder.tiles if tile.ground_truth is None]
    if len(unlabelled) == len(folder.tiles):
        yield Note(
            None,
            GROUND_TRUTH_NAME,
            "No tile has a ground truth: these tiles can be mapped, not trained on or scored.",
        )
    else:
        for name in unlabelled:
            yield Note(name, GROUND_TRUTH_NAME, "No ground truth: the tile can be mapped, not trained on.")


def date_notes(dates: Mapping[str, Sequence[date]], sensors: SensorTable) -> Iterator[Note]:
    """Yield how the dates of all tiles differ from those of their description, if they share any."""
    for sensor in sensors.all:
        present = dates.get(sensor.name, ())
        if not present:
            yield Note(None, None, f"No tile holds {sensor.title}.")
            continue
        if not set(present) & set(sensor.dates):
            # Another place or year, or a description without dates of its own.
            continue
        absent = [day for day in sensor.dates if day not in present]
        extra = [day for day in present if day not in sensor.dates]
        if absent:
            yield Note(
                None, None, f"{sensor.title}: no tile holds {', '.join(map(str, absent))} of the contest."
            )
        if extra:
            yield Note(
                None, None, f"{sensor.title}: not among the contest's dates: {', '.join(map(str, extra))}."
            )


def listing_problems(tile: RawTile) -> Iterator[Problem]:
    """Yield doubled and misnamed files of one tile, and a name that it cannot keep."""
    if not is_tile_name(tile.name):
        yield Problem(
            tile.name, None, "misnamed", "A tile cannot be called so; preprocess refuses it.", RENAME_TILE
        )
    for kept, passed_over in tile.duplicates:
        yield Problem(
            tile.name,
            passed_over.name,
            "doubled",
            f"It means the same as {kept.name}, which is read; this one is not.",
            "Move the one that is wrong elsewhere.",
        )
    for path in tile.unknown_files:
        example = example_name(path, tile.sensors)
        if example is not None:
            yield Problem(
                tile.name,
                path.name,
                "misnamed",
                "The name resembles a raster's, but tells no known sensor, date and band; it is not read.",
                f"Rename it to a form such as {example}, or move it elsewhere.",
            )


def listing_notes(tile: RawTile) -> Iterator[Note]:
    """Yield files of one tile that are nothing to esdseg."""
    for path in tile.unknown_files:
        if example_name(path, tile.sensors) is None:
            yield Note(tile.name, path.name, "Unexpected; it is not read.")


def common_dates(tiles: Sequence[RawTile]) -> dict[str, tuple[date, ...]]:
    """Return, by sensor, the dates that at least half of the tiles hold, in order.

    Tiles may have dates of their own. Where most were taken on the same dates, one that lacks such a date
    lost it on the way.
    """
    held = Counter(
        (sensor, day) for tile in tiles for sensor in tile.sensors.names for day in tile.dates(sensor)
    )
    common: dict[str, list[date]] = {}
    for (sensor, day), number in held.items():
        if 2 * number >= len(tiles) > 1:
            common.setdefault(sensor, []).append(day)
    return {sensor: tuple(sorted(days)) for sensor, days in common.items()}


def expected_dates(tile: RawTile, sensor: str, common: Mapping[str, Sequence[date]]) -> tuple[date, ...]:
    """Return the dates of a sensor that a tile should hold: its own, and common ones where it shares any.

    Args:
        tile: The tile.
        sensor: Name of the sensor.
        common: What :func:`common_dates` gives for all tiles together.
    """
    own, shared = tile.dates(sensor), common.get(sensor, ())
    return tuple(sorted({*own, *shared})) if {*own} & {*shared} else own


def missing_problems(
    tile: RawTile, dates: Mapping[str, Sequence[date]], common: Mapping[str, Sequence[date]]
) -> Iterator[Problem]:
    """Yield what a tile lacks.

    Args:
        tile: The tile.
        dates: Each sensor's dates on all tiles together.
        common: What :func:`common_dates` gives for all tiles together.
    """
    for sensor in tile.sensors.all:
        if dates.get(sensor.name) and not tile.dates(sensor.name):
            yield Problem(
                tile.name,
                f"{sensor.files[0].beginning}*.tif",
                "missing",
                f"All of {sensor.title} is missing, which other tiles hold.",
                _FILLED,
            )
            continue
        for day in expected_dates(tile, sensor.name, common):
            yield from _missing_on(tile, sensor, day)


def example_name(path: Path, sensors: SensorTable) -> str | None:
    """Return a name of the form that a name that cannot be read was probably meant to have, if any."""
    name = path.name.lower()
    if not re.search(rf"{RASTER_ENDINGS}\b", name):
        return None
    return next(
        (
            sensor.example_name(pattern)
            for sensor in sensors.all
            for pattern in sensor.files
            if len(pattern.beginning) >= SHORTEST_BEGINNING and pattern.beginning.lower() in name
        ),
        None,
    )


def _missing_on(tile: RawTile, sensor: Sensor, day: date) -> Iterator[Problem]:
    absent = [band for band in sensor.band_names if RasterName(sensor.name, day, band) not in tile.rasters]
    if absent and len(absent) == len(sensor.bands):
        pattern = sensor.file_name(day, "*")
        message = f"{sensor.title} of {day} is missing, which other tiles hold."
        yield Problem(tile.name, pattern, "missing", message, _FILLED)
        return
    for band in absent:
        message = f"Band {band} of {sensor.title} of {day} is missing."
        yield Problem(tile.name, sensor.file_name(day, band), "missing", message, _FILLED)


def _rasters(number: int) -> str:
    return "1 raster lies" if number == 1 else f"{number} rasters lie"
