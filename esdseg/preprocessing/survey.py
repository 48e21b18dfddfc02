"""What a raw folder holds for a configuration, before any raster is opened."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from esdseg.channels import Channel, channel_table, select_channels
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.sensors import RasterName, get_sensor
from esdseg.store import SplitName, split_tiles
from esdseg.store.layout import checked_tile_name
from esdseg.store.manifest import SourceFingerprint, SplitSettings, StoreSettings, config_hash
from esdseg.tiles import RawTile, find_tiles, union_of_dates

MOST_NAMED = 5
"""Items that a message names before it says how many more there are."""


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
        warnings: One sentence for each thing that the user may want to mend.
    """

    tiles: tuple[RawTile, ...]
    splits: Mapping[str, SplitName]
    fingerprints: Mapping[str, SourceFingerprint]
    channels: tuple[Channel, ...]
    projected_dates: tuple[date, ...]
    settings: StoreSettings
    split_settings: SplitSettings
    warnings: tuple[str, ...]

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def config_hash(self) -> str:
        """The hash that all tiles of the store share."""
        return config_hash(self.settings, self.channel_names)


def survey_tiles(config: PreprocessConfig) -> Survey:
    """Find the tiles of ``config.raw_dir``, split them and list their channels.

    Raises:
        InputDataError: There are no tiles, a selected band or date is nowhere, the split is impossible, a
            tile's name cannot name a folder, or, with ``strict``, a tile misses a raster.
    """
    tiles = find_tiles(config.raw_dir)
    for tile in tiles:
        checked_tile_name(tile.name)
    table = channel_table(union_of_dates(tiles))
    channels = select_channels(table, config.selected_bands, config.selected_dates)
    missing = tuple(line for tile in tiles for line in missing_rasters(tile, channels))
    if config.strict and missing:
        raise InputDataError(
            f"{_shorten(missing)}. Add the rasters, leave out the tile, or select other dates and bands; "
            "without --strict they are stored as no data."
        )
    labelled = [tile.name for tile in tiles if tile.ground_truth is not None]
    splits: dict[str, SplitName] = {tile.name: "test" for tile in tiles}
    splits.update(split_tiles(labelled, config.val_fraction, config.seed, config.test_fraction))
    return Survey(
        tiles=tiles,
        splits=splits,
        fingerprints={tile.name: fingerprint(tile) for tile in tiles},
        channels=channels,
        projected_dates=_projected_dates(table, config),
        settings=StoreSettings(
            subtile_size=config.subtile_size,
            selected_bands=config.selected_bands,
            selected_dates=config.selected_dates,
            recipe=config.recipe,
        ),
        split_settings=SplitSettings(
            seed=config.seed, val_fraction=config.val_fraction, test_fraction=config.test_fraction
        ),
        warnings=(
            *(f"{line}; stored as no data." for line in missing),
            *_warn_of_unlabelled(tiles, labelled),
        ),
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


def fingerprint(tile: RawTile) -> SourceFingerprint:
    """Take names, sizes and times of a tile's files; no file is opened.

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
        f"{_shorten(unlabelled, ', ')} without groundTruth.tif: stored in Test/, neither trained on nor "
        "scored.",
    )


def _shorten(items: Sequence[str], separator: str = "; ") -> str:
    more = f" and {len(items) - MOST_NAMED} more" if len(items) > MOST_NAMED else ""
    return separator.join(items[:MOST_NAMED]) + more
