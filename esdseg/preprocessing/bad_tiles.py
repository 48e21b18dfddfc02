"""The raw tiles that cannot be preprocessed, and why; ``--skip-bad`` leaves them out of the split."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import get_args

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.tile_image import Bands, files_to_read
from esdseg.store.manifest import SourceFingerprint
from esdseg.system.memory import available_cores
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.checking import TileCheck, check_tile, copy_problems
from esdseg.tiles.discovery import RENAME_TILE, RawFolder, RawTile, is_tile_name, natural_key, shown_name
from esdseg.tiles.problems import Problem
from esdseg.tiles.reading import FileFault

FAULTS_NAMED = 3
"""Problems of one tile that are spelt out before the rest is counted."""

TILES_PER_WORKER = 8
"""Starting a process takes as long as reading this many tiles, so fewer tiles get no process of their own."""


MOST_NAMED = 5
"""Items that a message names before it says how many more there are."""


class BadTiles:
    """Collects the bad tiles of a folder; without ``skip_bad`` the first one ends the run.

    Attributes:
        faults: What is wrong with each bad tile, by its name.
    """

    def __init__(self, root: Path, skip_bad: bool) -> None:
        self._root, self._skip_bad = root, skip_bad
        self.faults: dict[str, str] = {}

    def add(self, name: str, fault: str) -> None:
        """Note a bad tile.

        Raises:
            InputDataError: Bad tiles are not to be skipped.
        """
        if not self._skip_bad:
            raise InputDataError(fault)
        # The manifest keeps the text, which must not depend on the folder that the command was run in.
        self.faults[shown_name(name)] = fault.replace(f"{self._root}/", "")

    def without(self, tiles: Sequence[RawTile]) -> list[RawTile]:
        """Return the tiles that are not bad, in the order given."""
        return [tile for tile in tiles if tile.name not in self.faults]

    def in_natural_order(self) -> dict[str, str]:
        """Return the faults in natural order of the tiles' names."""
        return dict(sorted(self.faults.items(), key=lambda item: natural_key(item[0])))


def shorten(items: Sequence[str], separator: str = "; ") -> str:
    """Join the first few of many items and say how many more there are."""
    more = f" and {len(items) - MOST_NAMED} more" if len(items) > MOST_NAMED else ""
    return separator.join(items[:MOST_NAMED]) + more


def fingerprint(tile: RawTile) -> SourceFingerprint:
    """Return the fingerprint of a tile's files: names, sizes and times of change; no file is opened.

    As with make and rsync, a file that was changed and then given its old size and time back is not noticed.

    Raises:
        InputDataError: A file is gone or may not be looked at.
    """
    digest, size = hashlib.sha256(), 0
    paths = [*tile.rasters.values(), *([tile.ground_truth] if tile.ground_truth else [])]
    for path in sorted(paths, key=lambda path: path.name):
        try:
            status = path.stat()
        except OSError as error:
            raise InputDataError(
                f"{path} cannot be read: {error.strerror}; fetch or link it again."
            ) from None
        digest.update(f"{path.name}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
        size += status.st_size
    return SourceFingerprint(files=len(paths), bytes=size, digest=digest.hexdigest())


def fingerprint_tiles(folder: RawFolder, bad: BadTiles) -> dict[str, SourceFingerprint]:
    """Return the fingerprints of the tiles that a store can name and that appear once, by name.

    Args:
        folder: The raw tiles.
        bad: Receives the tiles with impossible names, second links to a tile, and what may not be listed.

    Raises:
        InputDataError: A tile is bad, and bad tiles are not to be skipped.
    """
    for closed in folder.closed_folders:
        bad.add(
            closed.name, f"{closed} may not be listed. Give yourself the right to read it, or move it away."
        )
    fingerprints: dict[str, SourceFingerprint] = {}
    first_names: dict[Path, str] = {}
    for tile in folder.tiles:
        if not is_tile_name(tile.name):
            bad.add(tile.name, f"A tile cannot be called {tile.name!r}. {RENAME_TILE}")
            continue
        original = first_names.setdefault(tile.folder.resolve(), tile.name)
        if original != tile.name:
            bad.add(
                tile.name,
                f"{tile.folder} is {original} under another name. Move one of the two elsewhere; a split "
                "could put one to training and the other to validation.",
            )
            continue
        try:
            fingerprints[tile.name] = fingerprint(tile)
        except InputDataError as error:
            bad.add(tile.name, str(error))
    return fingerprints


def find_bad_tiles(
    tiles: Sequence[RawTile],
    bands: Bands,
    config: PreprocessConfig,
    on_read: ItemListener | None = None,
) -> dict[str, str]:
    """Read tiles and return what is wrong with each that cannot be used, by its name.

    Args:
        tiles: The tiles to read.
        bands: The bands that a store needs of them, by sensor.
        config: With ``strict``, whatever ``esdseg check`` calls a problem of a tile makes it bad; else only
            files that cannot be read or do not fit the others.
        on_read: Called after each tile with its name, the number read so far and the number of all.
    """
    workers = config.workers or min(available_cores(), ceil(len(tiles) / TILES_PER_WORKER))
    check = partial(_check_needed_files, bands=bands)
    checks: dict[str, TileCheck] = {}
    for tile, checked in map_unordered(check, tiles, workers):
        checks[tile.name] = checked
        if on_read is not None:
            on_read(tile.name, len(checks), len(tiles))
    in_order = [checks[tile.name] for tile in tiles]
    copies = {problem.tile: problem for problem in copy_problems(in_order)} if config.strict else {}
    faults_by_tile: dict[str, str] = {}
    for checked in in_order:
        name = checked.tile.name
        faults = _describe([*checked.problems, *([copies[name]] if name in copies else [])], config)
        if faults is not None:
            faults_by_tile[name] = faults
    return faults_by_tile


def refuse_bad_tile(tile: RawTile, bands: Bands, config: PreprocessConfig) -> None:
    """Read a tile, and refuse it if it cannot be used.

    Raises:
        InputDataError: The tile cannot be used.
    """
    faults = _describe(_check_needed_files(tile, bands).problems, config)
    if faults is not None:
        raise InputDataError(unusable_message(tile, faults))


def unusable_message(tile: RawTile, faults: str) -> str:
    """Word the refusal of a tile that is not to be skipped."""
    return f"{tile.folder} cannot be used. {faults} Or leave the tile out with --skip-bad."


def _check_needed_files(tile: RawTile, bands: Bands) -> TileCheck:
    """Check the files of a tile that its bands and labels need."""
    needed = set(files_to_read(tile, bands))
    rasters = {name: path for name, path in tile.rasters.items() if path in needed}
    # Counts of values are large, and not needed here.
    return replace(check_tile(replace(tile, rasters=rasters)), values={})


def _describe(problems: Sequence[Problem], config: PreprocessConfig) -> str | None:
    """Say what makes a tile unusable; ``None`` if nothing does."""
    refused = [problem for problem in problems if config.strict or problem.kind in get_args(FileFault)]
    if config.reflectance_offset != "by_date":
        refused = [problem for problem in refused if problem.kind != "offset"]
    if not refused:
        return None
    faults = [
        f"{f'{problem.file}: ' if problem.file else ''}{problem.message} {problem.fix}" for problem in refused
    ]
    more = len(faults) - FAULTS_NAMED
    return " ".join(faults[:FAULTS_NAMED]) + (f" And {more} more problems." if more > 0 else "")
