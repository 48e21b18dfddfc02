"""What a raw folder holds for a configuration, before any tile is converted."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.bad_tiles import find_bad_tiles
from esdseg.sensors.channels import Channel, channel_table, select_channels
from esdseg.sensors.sensors import RasterName, get_sensor
from esdseg.store.manifest import (
    SPLIT_FOLDERS,
    SourceFingerprint,
    SplitName,
    SplitSettings,
    StoreSettings,
    config_hash,
    store_path,
    tile_path,
)
from esdseg.store.splits import split_tiles
from esdseg.store.tile_store import read_entry
from esdseg.system.processes import ItemListener
from esdseg.tiles.completeness import folder_problems, listing_problems
from esdseg.tiles.discovery import (
    RENAME_TILE,
    RawFolder,
    RawTile,
    is_tile_name,
    natural_key,
    scan_raw_folder,
    shown_name,
    union_of_dates,
)


@dataclass(frozen=True)
class Survey:
    """The raw tiles, and what a configuration makes of them.

    Attributes:
        tiles: In natural order.
        splits: Each tile's split.
        fingerprints: Each tile's files as they are now.
        channels: The image's channels.
        projected_dates: Nights that the projections of VIIRS look at.
        settings: What shapes the images.
        split_settings: What shapes the split.
        skipped: What is wrong with each tile that is left out, by its name.
        warnings: One sentence for each thing that the user may want to mend.
    """

    tiles: tuple[RawTile, ...]
    splits: Mapping[str, SplitName]
    fingerprints: Mapping[str, SourceFingerprint]
    channels: tuple[Channel, ...]
    projected_dates: tuple[date, ...]
    settings: StoreSettings
    split_settings: SplitSettings
    skipped: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def config_hash(self) -> str:
        """The hash that all tiles of the store share."""
        return config_hash(self.settings, self.channel_names)


def survey_tiles(config: PreprocessConfig, on_read: ItemListener | None = None) -> Survey:
    """Find the tiles of ``config.raw_dir``, split them and list their channels.

    The split is drawn over the tiles that are kept, so that a store with tiles left out is the one that the
    folder would give without them.

    Args:
        config: The settings.
        on_read: With ``skip_bad``, told of each tile that was read to see whether it is good.

    Raises:
        InputDataError: There are no tiles, a selected band or date is nowhere, the split is impossible, or,
            without ``skip_bad``, a tile's name cannot name a folder, or, with ``strict``, it misses a raster.
    """
    folder = scan_raw_folder(config.raw_dir)
    usable = find_usable_tiles(folder, config, on_read)
    tiles, channels = usable.tiles, usable.channels
    labelled = [tile.name for tile in tiles if tile.ground_truth is not None]
    splits: dict[str, SplitName] = {tile.name: "test" for tile in tiles}
    try:
        splits.update(split_tiles(labelled, config.val_fraction, config.seed, config.test_fraction))
    except InputDataError as error:
        left_out = f" Left out as bad: {shorten(list(usable.skipped), ', ')}." if usable.skipped else ""
        raise InputDataError(f"{error}{left_out}") from None
    return Survey(
        tiles=tiles,
        splits=splits,
        fingerprints=usable.fingerprints,
        channels=channels,
        projected_dates=_projected_dates(channel_table(union_of_dates(tiles)), config),
        settings=StoreSettings.of(config),
        split_settings=SplitSettings(
            seed=config.seed, val_fraction=config.val_fraction, test_fraction=config.test_fraction
        ),
        skipped=usable.skipped,
        warnings=(
            *(f"{line}; stored as no data." for line in usable.missing),
            *_warn_of_unlabelled(tiles, labelled),
            *_warn_of_listing(folder, tiles),
        ),
    )


def _projected_dates(table: Sequence[Channel], config: PreprocessConfig) -> tuple[date, ...]:
    """Return the selected nights; all of them where none is selected by date."""
    nights = tuple(dict.fromkeys(c.acquired for c in table if c.sensor == "viirs" and c.acquired))
    if not nights or not (config.selected_dates or {}).get("viirs"):
        return nights
    selected = select_channels(table, {"viirs": ["DNB"]}, config.selected_dates)
    return tuple(channel.acquired for channel in selected if channel.acquired)


def _warn_of_unlabelled(tiles: Sequence[RawTile], labelled: Sequence[str]) -> tuple[str, ...]:
    unlabelled = [tile.name for tile in tiles if tile.name not in labelled]
    if not unlabelled or not labelled:
        return ()
    return (
        f"{shorten(unlabelled, ', ')} without groundTruth.tif: stored in Test/, neither trained on nor "
        "scored.",
    )


def _warn_of_listing(folder: RawFolder, tiles: Sequence[RawTile]) -> Iterator[str]:
    """Yield what lies in the folder and is not read, though it seems to be meant."""
    closed = {path.name for path in folder.closed_folders}
    problems = [problem for problem in folder_problems(folder) if problem.tile not in closed]
    problems += [one for tile in tiles for one in listing_problems(tile)]
    for kind in dict.fromkeys(problem.kind for problem in problems):
        alike = [problem for problem in problems if problem.kind == kind]
        for problem in alike[:MOST_NAMED]:
            place = "/".join(filter(None, (problem.tile, problem.file)))
            yield f"{place}: {problem.message} {problem.fix}"
        if len(alike) > MOST_NAMED:
            yield f"{len(alike) - MOST_NAMED} more of the kind; `esdseg check {folder.path}` lists all."


MOST_NAMED = 5
"""Items that a message names before it says how many more there are."""


@dataclass(frozen=True)
class UsableTiles:
    """The tiles to store.

    Attributes:
        tiles: In natural order.
        fingerprints: Each tile's files as they are now.
        channels: The images' channels.
        missing: A sentence for each date or band that a tile lacks.
        skipped: What is wrong with each tile that is left out, by its name; empty without ``skip_bad``.
    """

    tiles: tuple[RawTile, ...]
    fingerprints: Mapping[str, SourceFingerprint]
    channels: tuple[Channel, ...]
    missing: tuple[str, ...]
    skipped: Mapping[str, str]


def find_usable_tiles(
    folder: RawFolder, config: PreprocessConfig, on_read: ItemListener | None = None
) -> UsableTiles:
    """Choose the tiles to store and list their channels.

    Without ``skip_bad`` no raster is opened: a broken one ends the run when its tile is written. With it all
    tiles are read first, since a split can only be drawn over tiles that are known to be good; those that
    are stored already, from the same files and with the same settings, have been read before.

    Args:
        folder: What was found.
        config: The settings.
        on_read: Told of each tile that was read to see whether it is good.

    Raises:
        InputDataError: A tile is bad and is not to be skipped, or none is good.
    """
    skipped = _Skipped(folder.path, config.skip_bad)
    for closed in folder.closed_folders:
        skipped.add(
            closed.name, f"{closed} may not be listed. Give yourself the right to read it, or move it away."
        )
    tiles, fingerprints = _look_at(folder, skipped)
    if config.skip_bad and tiles:
        channels = _channels(tiles, config)
        unread = _never_stored(tiles, fingerprints, config, channels)
        skipped.faults |= find_bad_tiles(unread, channels, config.workers, on_read)
        tiles = [tile for tile in tiles if tile.name not in skipped.faults]
    if config.strict and tiles:
        channels = _channels(tiles, config)
        for tile in tiles:
            lacking = missing_rasters(tile, channels)
            if lacking:
                skipped.add(
                    tile.name,
                    f"{shorten(lacking)}. Add the rasters, leave out the tile, or select other dates and "
                    "bands; without --strict they are stored as no data.",
                )
        tiles = [tile for tile in tiles if tile.name not in skipped.faults]
    if not tiles:
        raise InputDataError(
            f"None of the tiles in {folder.path} can be used. "
            + shorten([f"{name}: {fault}" for name, fault in skipped.faults.items()], " ")
        )
    channels = _channels(tiles, config)
    return UsableTiles(
        tiles=tuple(tiles),
        fingerprints={tile.name: fingerprints[tile.name] for tile in tiles},
        channels=channels,
        missing=tuple(line for tile in tiles for line in missing_rasters(tile, channels)),
        skipped=dict(sorted(skipped.faults.items(), key=lambda item: natural_key(item[0]))),
    )


def missing_rasters(tile: RawTile, channels: Sequence[Channel]) -> list[str]:
    """Say which rasters of the selected channels a tile lacks, one sentence a sensor and date."""
    wanted: dict[tuple[str, date], list[str]] = {}
    held: set[tuple[str, date]] = set()
    for channel in channels:
        if channel.acquired is None:
            continue
        key = channel.sensor, channel.acquired
        if RasterName(channel.sensor, channel.acquired, channel.band) in tile.rasters:
            held.add(key)
        else:
            wanted.setdefault(key, []).append(channel.band)
    sentences = []
    for (sensor, acquired), bands in wanted.items():
        title = get_sensor(sensor).title
        if (sensor, acquired) in held:
            noun = "band" if len(bands) == 1 else "bands"
            sentences.append(f"{tile.name} misses {noun} {', '.join(bands)} of {title} of {acquired}")
        else:
            sentences.append(f"{tile.name} misses {title} of {acquired}")
    return sentences


def shorten(items: Sequence[str], separator: str = "; ") -> str:
    """Join the first few of many items and say how many more there are."""
    more = f" and {len(items) - MOST_NAMED} more" if len(items) > MOST_NAMED else ""
    return separator.join(items[:MOST_NAMED]) + more


class _Skipped:
    """Gathers the faults of tiles, or ends the run at the first where none may be left out."""

    def __init__(self, root: Path, allowed: bool) -> None:
        self._root, self._allowed = root, allowed
        self.faults: dict[str, str] = {}

    def add(self, name: str, fault: str) -> None:
        if not self._allowed:
            raise InputDataError(fault)
        # What the store says of itself does not hang on the folder that a command was run in.
        self.faults[shown_name(name)] = fault.replace(f"{self._root}/", "")


def _look_at(folder: RawFolder, skipped: _Skipped) -> tuple[list[RawTile], dict[str, SourceFingerprint]]:
    """Return the tiles that look good from outside, and what they look like."""
    tiles: list[RawTile] = []
    fingerprints: dict[str, SourceFingerprint] = {}
    places: dict[Path, str] = {}
    for tile in folder.tiles:
        if not is_tile_name(tile.name):
            skipped.add(tile.name, f"A tile cannot be called {tile.name!r}. {RENAME_TILE}")
            continue
        original = places.setdefault(tile.folder.resolve(), tile.name)
        if original != tile.name:
            skipped.add(
                tile.name,
                f"{tile.folder} is {original} under another name. Remove one of the two; a split could put "
                "one to training and the other to validation.",
            )
            continue
        try:
            fingerprints[tile.name] = fingerprint(tile)
        except InputDataError as error:
            skipped.add(tile.name, str(error))
            continue
        tiles.append(tile)
    return tiles, fingerprints


def _channels(tiles: Sequence[RawTile], config: PreprocessConfig) -> tuple[Channel, ...]:
    table = channel_table(union_of_dates(tiles))
    return select_channels(table, config.selected_bands, config.selected_dates)


def _never_stored(
    tiles: Sequence[RawTile],
    fingerprints: Mapping[str, SourceFingerprint],
    config: PreprocessConfig,
    channels: Sequence[Channel],
) -> list[RawTile]:
    """Return the tiles that no run has read and stored as they are now."""
    store = store_path(config.processed_dir, config.subtile_size)
    tile_hash = config_hash(StoreSettings.of(config), [channel.name for channel in channels])
    unread = []
    for tile in tiles:
        stored = [read_entry(tile_path(store, split, tile.name)) for split in SPLIT_FOLDERS]
        known = [(entry[0].source, entry[1]) for entry in stored if entry is not None]
        if (fingerprints[tile.name], tile_hash) not in known:
            unread.append(tile)
    return unread


def fingerprint(tile: RawTile) -> SourceFingerprint:
    """Take names, sizes and times of a tile's files; no file is opened.

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
