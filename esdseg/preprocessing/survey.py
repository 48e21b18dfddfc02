"""The survey of a raw folder before any tile is converted: usable tiles, their split and their bands."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from esdseg.config.loading import load_sensors
from esdseg.config.preprocessing import RECIPES, PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.bad_tiles import (
    MOST_NAMED,
    BadTiles,
    find_bad_tiles,
    fingerprint_tiles,
    shorten,
    unusable_message,
)
from esdseg.preprocessing.label_files import attach_labels
from esdseg.preprocessing.tile_image import Bands
from esdseg.sensors.channels import Layer, check_bands, check_names, expand_bands, layer_table
from esdseg.sensors.sensors import RasterName, SensorTable
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
from esdseg.store.store import raw_tiles_message
from esdseg.store.tile_store import read_entry
from esdseg.system.processes import ItemListener
from esdseg.tiles.discovery import RawFolder, RawTile, holds_tiles, scan_raw_folder
from esdseg.tiles.problems import common_dates, expected_dates, folder_problems, listing_problems


@dataclass(frozen=True)
class Survey:
    """The raw tiles, and what a configuration makes of them.

    Attributes:
        tiles: The usable tiles in natural order.
        splits: The split of each tile.
        fingerprints: The files of each tile as they are now.
        sensors: The description of the sensors.
        bands: Bands and projections to store, by sensor.
        settings: Settings that shape the images.
        split_settings: Settings that shape the split.
        skipped: What is wrong with each tile that is left out, by its name; empty without ``skip_bad``.
        warnings: One sentence for each thing that the user may want to mend.
    """

    tiles: tuple[RawTile, ...]
    splits: Mapping[str, SplitName]
    fingerprints: Mapping[str, SourceFingerprint]
    sensors: SensorTable
    bands: Mapping[str, tuple[str, ...]]
    settings: StoreSettings
    split_settings: SplitSettings
    skipped: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def config_hash(self) -> str:
        """The hash that all tiles of the store share."""
        return config_hash(self.settings, self.sensors, self.bands)

    def layers(self, tile: RawTile) -> tuple[Layer, ...]:
        """Return the layers of a tile's image."""
        dates = {sensor: tile.dates(sensor) for sensor in self.bands}
        return layer_table(dates, self.sensors, self.bands)

    @property
    def most_layers(self) -> tuple[Layer, ...]:
        """The layers of the tile that has the most."""
        return max((self.layers(tile) for tile in self.tiles), key=len)

    def of_tile(self, tile: RawTile) -> "Survey":
        """Return the part of the survey that a worker needs to convert one tile."""
        name = tile.name
        return replace(
            self,
            tiles=(tile,),
            splits={name: self.splits[name]},
            fingerprints={name: self.fingerprints[name]},
            skipped={},
            warnings=(),
        )


def survey_tiles(config: PreprocessConfig, on_read: ItemListener | None = None) -> Survey:
    """Find the usable tiles of ``config.raw_dir``, split them and list their bands.

    Without ``skip_bad`` and ``strict`` no raster is opened: a broken one ends the run when its tile is
    written. With ``skip_bad``, all tiles that are not stored yet are read first, since the split is drawn
    over the good tiles alone. A store with tiles left out is then the one that the folder would give without
    them. With ``strict``, all tiles are read at every run.

    Args:
        config: The settings.
        on_read: With ``skip_bad`` or ``strict``, called after each tile that was read with its name, the
            number read so far and the number of all.

    Raises:
        InputDataError: Raw tiles lie where the store should be, there are no usable tiles, a selected sensor
            is nowhere, the folder of labels fits no tile, the split is impossible, or, without ``skip_bad``,
            a tile's name cannot name a folder or a label grid is wrong, or, with ``strict``, a tile misses a
            raster or has another problem.
    """
    sensors = load_sensors(config.sensors)
    _check_settings(config, sensors)
    store = store_path(config.processed_dir, config.subtile_size)
    if not store.exists() and holds_tiles(config.processed_dir, sensors):
        raise InputDataError(raw_tiles_message(config.processed_dir))
    folder = scan_raw_folder(config.raw_dir, sensors)
    bad = BadTiles(folder.path, config.skip_bad)
    label_warnings: tuple[str, ...] = ()
    if config.labels is not None:
        labelled, label_warnings = attach_labels(folder.tiles, config.labels, bad)
        folder = replace(folder, tiles=tuple(labelled))
    fingerprints = fingerprint_tiles(folder, bad)
    tiles = [tile for tile in folder.tiles if tile.name in fingerprints]
    if (config.skip_bad or config.strict) and tiles:
        bands = _stored_bands(tiles, sensors, config)
        unread = tiles if config.strict else _never_stored(tiles, fingerprints, config, sensors, bands)
        faults = find_bad_tiles(unread, bands, config, on_read)
        for tile in unread:
            if tile.name in faults and not config.skip_bad:
                raise InputDataError(unusable_message(tile, faults[tile.name]))
        bad.faults |= faults
        tiles = bad.without(tiles)
    if config.strict and tiles:
        bands, common = _stored_bands(tiles, sensors, config), common_dates(tiles)
        for tile in tiles:
            missing = missing_rasters(tile, bands, common)
            if missing:
                bad.add(
                    tile.name,
                    f"{shorten(missing)}. Add the rasters, leave out the tile, or select other "
                    "bands; without --strict they are no data.",
                )
        tiles = bad.without(tiles)
    if not tiles:
        raise InputDataError(
            f"None of the tiles in {folder.path} can be used. "
            + shorten([f"{name}: {fault}" for name, fault in bad.in_natural_order().items()], " ")
        )
    bands, common = _stored_bands(tiles, sensors, config), common_dates(tiles)
    return Survey(
        tiles=tuple(tiles),
        splits=_draw_split(tiles, config, bad),
        fingerprints={tile.name: fingerprints[tile.name] for tile in tiles},
        sensors=sensors,
        bands=bands,
        settings=StoreSettings.of(config, sensors),
        split_settings=SplitSettings(
            seed=config.seed, val_fraction=config.val_fraction, test_fraction=config.test_fraction
        ),
        skipped=bad.in_natural_order(),
        warnings=(
            *(f"{line}; no data there." for tile in tiles for line in missing_rasters(tile, bands, common)),
            *label_warnings,
            *_warnings_of_unlabelled(tiles),
            *_warnings_of_listing(folder, tiles),
        ),
    )


def missing_rasters(tile: RawTile, bands: Bands, common: Mapping[str, Sequence[date]]) -> list[str]:
    """Return which rasters a tile lacks, one sentence a sensor and date.

    Args:
        tile: The tile.
        bands: The bands that are stored, by sensor.
        common: The dates that most tiles hold, by sensor.
    """
    sentences = []
    for name, stored in bands.items():
        sensor = tile.sensors.sensor(name)
        if not tile.dates(name):
            sentences.append(f"{tile.name} misses all of {sensor.title}")
        for day in expected_dates(tile, name, common):
            absent = [
                band
                for band in sensor.band_names
                if band in stored and RasterName(name, day, band) not in tile.rasters
            ]
            if absent:
                noun = "band" if len(absent) == 1 else "bands"
                which = f"{noun} {', '.join(absent)} of " if day in tile.dates(name) else ""
                sentences.append(f"{tile.name} misses {which}{sensor.title} of {day}")
    return sentences


def _check_settings(config: PreprocessConfig, sensors: SensorTable) -> None:
    """Refuse settings of sensors and bands that are not described (``ConfigError``)."""
    check_bands(sensors, config.selected_bands or {}, "selected_bands")
    if config.recipe not in RECIPES.values():
        check_names(sensors, config.recipe.sensors, "recipe")


def _stored_bands(
    tiles: Sequence[RawTile], sensors: SensorTable, config: PreprocessConfig
) -> dict[str, tuple[str, ...]]:
    present = {sensor for tile in tiles for sensor in sensors.names if tile.dates(sensor)}
    return expand_bands(sensors, config.selected_bands, present)


def _never_stored(
    tiles: Sequence[RawTile],
    fingerprints: Mapping[str, SourceFingerprint],
    config: PreprocessConfig,
    sensors: SensorTable,
    bands: Bands,
) -> list[RawTile]:
    """Return the tiles that no run has stored from their files as they are now; the others are good."""
    store = store_path(config.processed_dir, config.subtile_size)
    tile_hash = config_hash(StoreSettings.of(config, sensors), sensors, bands)
    unread = []
    for tile in tiles:
        stored = [read_entry(tile_path(store, split, tile.name)) for split in SPLIT_FOLDERS]
        known = [(entry[0].source, entry[1]) for entry in stored if entry is not None]
        if (fingerprints[tile.name], tile_hash) not in known:
            unread.append(tile)
    return unread


def _draw_split(tiles: Sequence[RawTile], config: PreprocessConfig, bad: BadTiles) -> dict[str, SplitName]:
    """Split the labelled tiles; tiles without labels are for testing."""
    labelled = [tile.name for tile in tiles if tile.ground_truth is not None]
    splits: dict[str, SplitName] = {tile.name: "test" for tile in tiles}
    try:
        splits.update(split_tiles(labelled, config.val_fraction, config.seed, config.test_fraction))
    except InputDataError as error:
        left_out = f" Left out as bad: {shorten(list(bad.in_natural_order()), ', ')}." if bad.faults else ""
        raise InputDataError(f"{error}{left_out}") from None
    return splits


def _warnings_of_unlabelled(tiles: Sequence[RawTile]) -> Iterator[str]:
    """Yield a sentence on the tiles without labels, where other tiles have labels."""
    unlabelled = [tile.name for tile in tiles if tile.ground_truth is None]
    if 0 < len(unlabelled) < len(tiles):
        yield (
            f"{shorten(unlabelled, ', ')} without groundTruth.tif: stored in Test/, not scored, and learned "
            "from by data.pseudo_labels alone."
        )


def _warnings_of_listing(folder: RawFolder, tiles: Sequence[RawTile]) -> Iterator[str]:
    """Yield a sentence on each file or folder that looks like data and is not read."""
    closed = {path.name for path in folder.closed_folders}
    problems = [problem for problem in folder_problems(folder) if problem.tile not in closed]
    problems += [problem for tile in tiles for problem in listing_problems(tile)]
    for kind in dict.fromkeys(problem.kind for problem in problems):
        alike = [problem for problem in problems if problem.kind == kind]
        for problem in alike[:MOST_NAMED]:
            place = "/".join(filter(None, (problem.tile, problem.file)))
            yield f"{place}: {problem.message} {problem.fix}"
        if len(alike) > MOST_NAMED:
            yield f"{len(alike) - MOST_NAMED} more of the kind; `esdseg check {folder.path}` lists all."
