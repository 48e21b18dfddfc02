"""Finding the raw tiles of a folder, and the names that tiles may have. No raster is opened."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.sensors.sensors import (
    GROUND_TRUTH_NAME,
    GROUND_TRUTH_PICTURE_NAME,
    RasterName,
    SensorTable,
    contest_sensors,
)

MOST_NAME_BYTES = 200
"""Longest name of a tile: file systems allow 255 bytes, and the store adds endings."""

RENAME_TILE = "Rename its folder to letters, digits, '-' and '_', such as Tile1."
"""The fix for a name that cannot be used."""


_SIDE_FILES = re.compile(r"\..*|__macosx|thumbs\.db|desktop\.ini|.*\.aux\.xml|.*\.ovr|.*\.tfw", re.IGNORECASE)
"""Files of file browsers and GIS tools, passed over in silence."""


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that puts ``Tile2`` before ``Tile10``."""
    pieces = re.split(r"(\d+)", name)
    return tuple(_number(piece) if index % 2 else piece for index, piece in enumerate(pieces)), name


def is_tile_name(name: str) -> bool:
    """Return whether a tile's folder in a store can have this name.

    The name may not be empty, start with a dot, hold a separator or a character that cannot be printed, or
    be too long for a file system once the store adds an ending.
    """
    return (
        bool(name)
        and name.isprintable()
        and not name.startswith(".")
        and not re.search(r"[/\\:]", name)
        and len(name.encode()) <= MOST_NAME_BYTES
    )


def shown_name(name: str) -> str:
    """Return a name with characters that cannot be printed written as escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in name)


def _number(digits: str) -> int:
    # Numbers beyond any tile's only need an order; Python refuses to read those of thousands of digits.
    return int(digits) if len(digits) < 4000 else 10**4000


@dataclass(frozen=True)
class RawTile:
    """One tile as it lies on disk.

    Attributes:
        name: The folder's name, such as ``Tile12``.
        folder: The tile's folder.
        rasters: The file of each raster, in the order of channels: by sensor, date and band. Rasters of
            several bands share a file where it holds them all.
        sensors: The description of the sensors, by which files are known.
        ground_truth: The label grid; ``None`` for tiles without labels.
        duplicates: Pairs of (file that is read, file passed over) where two names mean the same raster,
            such as ``..._B02.tif`` and ``..._B02.TIF``.
        unknown_files: Entries that are neither rasters of a known sensor nor labels; never read.
    """

    name: str
    folder: Path
    rasters: Mapping[RasterName, Path]
    ground_truth: Path | None
    sensors: SensorTable = field(default_factory=contest_sensors, repr=False, compare=False)
    duplicates: tuple[tuple[Path, Path], ...] = field(default=())
    unknown_files: tuple[Path, ...] = field(default=())

    def dates(self, sensor: str) -> tuple[date, ...]:
        """Return the sensor's dates of which this tile holds at least one band, in order."""
        return tuple(sorted({name.acquired for name in self.rasters if name.sensor == sensor}))


@dataclass(frozen=True)
class RawFolder:
    """What a folder of tiles holds.

    Attributes:
        path: The folder.
        tiles: Its tiles in natural order.
        sensors: The description of the sensors, by which files are known.
        stray_files: Rasters that lie beside the tiles' folders; never read.
        empty_folders: Sub-folders without a known raster.
        closed_folders: Sub-folders that may not be listed.
    """

    path: Path
    tiles: tuple[RawTile, ...]
    sensors: SensorTable
    stray_files: tuple[Path, ...] = ()
    empty_folders: tuple[Path, ...] = ()
    closed_folders: tuple[Path, ...] = ()


def find_tiles(raw_dir: Path, sensors: SensorTable | None = None) -> tuple[RawTile, ...]:
    """Find the tiles of a folder.

    Args:
        raw_dir: Folder that holds the tiles' folders, or the folder of a single tile.
        sensors: The sensors whose files are known; the contest's unless given.

    Returns:
        The tiles in natural order of their names, whatever order the file system lists them in.

    Raises:
        InputDataError: The folder does not exist, may not be listed, or holds no tiles.
    """
    found = scan_raw_folder(raw_dir, sensors)
    if found.closed_folders:
        raise InputDataError(_closed_message(found.closed_folders[0]))
    return found.tiles


def scan_raw_folder(raw_dir: Path, sensors: SensorTable | None = None) -> RawFolder:
    """List the tiles of a folder and what else lies there.

    Sub-folders that hold rasters are the tiles. Where there is none and the folder itself holds rasters,
    it is the one tile.

    Args:
        raw_dir: Folder that holds the tiles' folders, or the folder of a single tile.
        sensors: The sensors whose files are known; the contest's unless given.

    Raises:
        InputDataError: The folder does not exist, may not be listed, or holds no tiles.
    """
    sensors = sensors or contest_sensors()
    entries = _list_folder(raw_dir)
    tiles, empty, closed = [], [], []
    for folder in entries:
        try:
            if _SIDE_FILES.fullmatch(folder.name) or not folder.is_dir():
                continue
            tile = _read_tile_folder(folder, _entries(folder), sensors)
        except OSError:
            closed.append(folder)
            continue
        if tile is None:
            empty.append(folder)
        else:
            tiles.append(tile)
    itself = _read_tile_folder(raw_dir, entries, sensors)
    if tiles:
        stray = tuple(itself.rasters.values()) if itself is not None else ()
        return RawFolder(raw_dir, tuple(tiles), sensors, stray, tuple(empty), tuple(closed))
    if itself is not None:
        return RawFolder(raw_dir, (itself,), sensors)
    raise InputDataError(_no_tiles_message(raw_dir, sensors, empty, closed))


def holds_tiles(folder: Path, sensors: SensorTable | None = None) -> bool:
    """Return whether a folder holds raw tiles, or is one; of the contest's sensors unless given."""
    try:
        scan_raw_folder(folder, sensors)
    except InputDataError:
        return False
    return True


def holds_ground_truth(folder: Path) -> bool:
    """Return whether a folder holds a label grid, as a tile does that lost its rasters."""
    return (folder / GROUND_TRUTH_NAME).exists()


def union_of_dates(tiles: Sequence[RawTile], sensors: SensorTable) -> dict[str, tuple[date, ...]]:
    """Return, for each sensor that any tile holds, the dates of all tiles together, in order."""
    dates = {name: {day for tile in tiles for day in tile.dates(name)} for name in sensors.names}
    return {sensor: tuple(sorted(days)) for sensor, days in dates.items() if days}


def _list_folder(folder: Path) -> list[Path]:
    try:
        return _entries(folder)
    except NotADirectoryError:
        raise InputDataError(
            f"{folder} is a file, not a folder of tiles; unpack it or point to a folder."
        ) from None
    except PermissionError:
        raise InputDataError(_closed_message(folder)) from None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        fault = "does not exist" if missing else f"cannot be listed ({error.strerror})"
        raise InputDataError(
            f"The folder {folder} {fault}; put the contest's TileN folders there or make some with "
            f"`esdseg sample {folder}`, or point to another folder."
        ) from None


def _closed_message(folder: Path) -> str:
    return f"The folder {folder} may not be listed; give yourself the right to read it."


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))


def _read_tile_folder(folder: Path, entries: Iterable[Path], sensors: SensorTable) -> RawTile | None:
    rasters: dict[RasterName, Path] = {}
    ground_truth: Path | None = None
    duplicates, unknown = [], []
    found = {path: sensors.read_file_name(path.name) for path in entries}
    # The exact names come first, so that of two names for one raster the exact one is read.
    for path in sorted(
        found, key=lambda entry: (not _is_exact_name(entry.name, found[entry], sensors), entry.name)
    ):
        if found[path]:
            kept = [rasters.setdefault(name, path) for name in found[path]]
            duplicates += [(other, path) for other in dict.fromkeys(kept) if other != path]
        elif path.name.lower() == GROUND_TRUTH_NAME.lower():
            ground_truth = ground_truth or path
            if ground_truth != path:
                duplicates.append((ground_truth, path))
        elif path.name != GROUND_TRUTH_PICTURE_NAME and not _SIDE_FILES.fullmatch(path.name):
            unknown.append(path)
    if not rasters:
        return None
    ordered = {
        name: rasters[name] for name in sorted(rasters, key=lambda name: _channel_order(name, sensors))
    }
    # "." and ".." have no name of their own.
    tile_name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    return RawTile(tile_name, folder, ordered, ground_truth, sensors, tuple(duplicates), tuple(unknown))


def _is_exact_name(file_name: str, names: Sequence[RasterName], sensors: SensorTable) -> bool:
    if not names:
        return file_name == GROUND_TRUTH_NAME
    return file_name == sensors.sensor(names[0].sensor).file_name(names[0].acquired, names[0].band)


def _channel_order(name: RasterName, sensors: SensorTable) -> tuple[int, date, int]:
    bands = sensors.sensor(name.sensor).band_names
    return sensors.names.index(name.sensor), name.acquired, bands.index(name.band)


def _no_tiles_message(raw_dir: Path, sensors: SensorTable, empty: list[Path], closed: list[Path]) -> str:
    if closed:
        return _closed_message(closed[0])
    for folder in empty:
        try:
            inner = [entry for entry in _entries(folder) if entry.is_dir()]
            holds_tiles = any(_read_tile_folder(entry, _entries(entry), sensors) for entry in inner)
        except OSError:
            continue
        if holds_tiles:
            return f"{raw_dir} holds no tiles itself, but {folder} does; point to {folder} instead."
    return (
        f"{raw_dir} holds no tiles: no folder in it has a raster such as {sensors.example_name}. Put the "
        f"contest's TileN folders there or make some with `esdseg sample {raw_dir}`."
    )
