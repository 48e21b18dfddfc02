"""The raw tiles that a store is made of; with ``skip_bad``, without those that cannot be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.bad_tiles import find_bad_tiles
from esdseg.preprocessing.fingerprint import fingerprint
from esdseg.sensors.channels import Channel, channel_table, select_channels
from esdseg.sensors.sensors import RasterName, get_sensor
from esdseg.store.layout import SPLIT_FOLDERS, store_path, tile_path
from esdseg.store.manifest import SourceFingerprint, StoreSettings, config_hash
from esdseg.store.tile_store import read_entry
from esdseg.system.processes import ItemListener
from esdseg.tiles.discovery import RawFolder, RawTile, union_of_dates
from esdseg.tiles.names import RENAME_TILE, is_tile_name, natural_key, shown_name

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
