"""Telling which raw tiles cannot be preprocessed, so that ``--skip-bad`` can leave them out of the split."""

from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path

from esdseg.errors import InputDataError
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import RasterName
from esdseg.system.memory import available_cores
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import TileFileError, read_ground_truth, read_raster

FAULTS_NAMED = 3
"""Faults of one tile that are spelt out before the rest is counted."""

TILES_A_WORKER = 8
"""Starting a process takes as long as reading this many tiles, so that fewer do not pay."""


def find_bad_tiles(
    tiles: Sequence[RawTile],
    channels: Sequence[Channel],
    workers: int | None,
    on_tile: ItemListener | None = None,
) -> dict[str, str]:
    """Read tiles and say which cannot be used.

    Args:
        tiles: What to read.
        channels: The channels that are wanted of them.
        workers: Processes; by default one a core, if there is enough to do.
        on_tile: Told of each tile that has been read.

    Returns:
        What is wrong with each bad tile, by its name.
    """
    found: dict[str, str] = {}
    used = workers or min(available_cores(), ceil(len(tiles) / TILES_A_WORKER))
    read = partial(describe_faults, channels=tuple(channels))
    for number, (tile, faults) in enumerate(map_unordered(read, tiles, used), start=1):
        if faults is not None:
            found[tile.name] = faults
        if on_tile is not None:
            on_tile(tile.name, number, len(tiles))
    return found


def describe_faults(tile: RawTile, channels: Sequence[Channel]) -> str | None:
    """Read all files of a tile that its channels and labels need; say what is wrong, or ``None``."""
    faults: list[str] = []
    for path in _needed_rasters(tile, channels):
        try:
            read_raster(path)
        except TileFileError as error:
            faults.append(f"{path.name}: {error.what} {error.fix}")
    if tile.ground_truth is not None:
        try:
            read_ground_truth(tile.ground_truth)
        except TileFileError as error:
            faults.append(f"{tile.ground_truth.name}: {error.what} {error.fix}")
    if not faults:
        return None
    more = len(faults) - FAULTS_NAMED
    return " ".join(faults[:FAULTS_NAMED]) + (f" And {more} more of its files." if more > 0 else "")


def refuse_bad_tile(tile: RawTile, channels: Sequence[Channel]) -> None:
    """Read a tile before anything that hangs on it is changed.

    Raises:
        InputDataError: It cannot be used.
    """
    faults = describe_faults(tile, channels)
    if faults is not None:
        raise InputDataError(f"{tile.folder} cannot be used. {faults} Or leave the tile out with --skip-bad.")


def _needed_rasters(tile: RawTile, channels: Sequence[Channel]) -> list[Path]:
    wanted = {RasterName(one.sensor, one.acquired, one.band) for one in channels if one.acquired is not None}
    # A glitch of night lights is told by all nights, whichever are selected.
    nights = any(one.sensor == "viirs" for one in channels)
    return [
        path for name, path in tile.rasters.items() if name in wanted or (nights and name.sensor == "viirs")
    ]
