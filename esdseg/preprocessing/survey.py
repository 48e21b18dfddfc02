"""What a raw folder holds for a configuration, before any tile is converted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.usable_tiles import MOST_NAMED, find_usable_tiles, shorten
from esdseg.sensors.channels import Channel, channel_table, select_channels
from esdseg.store.layout import SplitName
from esdseg.store.manifest import SourceFingerprint, SplitSettings, StoreSettings, config_hash
from esdseg.store.splits import split_tiles
from esdseg.system.processes import ItemListener
from esdseg.tiles.completeness import folder_problems, listing_problems
from esdseg.tiles.discovery import RawFolder, RawTile, scan_raw_folder, union_of_dates


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
