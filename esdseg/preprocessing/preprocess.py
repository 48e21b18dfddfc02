"""Writing a processed store: tiles in parallel, the manifest last."""

import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.planning import (
    check_room,
    cost_warnings,
    describe_redrawn,
    estimate,
    refuse_other_store,
    stored_tiles,
)
from esdseg.preprocessing.survey import Survey, fingerprint, shorten, survey_tiles
from esdseg.preprocessing.tile_image import TileImage, fill_image
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES, UNKNOWN_LABEL
from esdseg.sensors.sensors import RasterName
from esdseg.store.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SPLIT_FOLDERS,
    UNFINISHED_NAME,
    ChannelSummaries,
    Manifest,
    SourceFingerprint,
    SplitName,
    StoreSettings,
    TileEntry,
    store_path,
    tile_path,
    write_manifest,
)
from esdseg.store.statistics import ChannelStatistics
from esdseg.store.tile_store import TileArrays, remove_tile, write_tile
from esdseg.system.dask_cluster import map_on_cluster
from esdseg.system.files import naming_write_faults, remove_folder
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.cost import MEGABYTES_PER_RASTER, Cost
from esdseg.tiles.discovery import RawTile
from esdseg.tiles.reading import read_ground_truth

CostListener = Callable[[Cost, tuple[str, ...]], None]
"""Told of an estimate, and of what in it the machine may not bear."""


@dataclass(frozen=True)
class PreprocessResult:
    """What a run did.

    Attributes:
        store: The store's folder.
        written: Tiles written in this run, in natural order.
        reused: Tiles that were there already as they should be.
        splits: Number of tiles in each split.
        num_channels: Channels of the image.
        warnings: What the user may want to mend.
        skipped: What is wrong with each tile that was left out, by its name.
        seconds: Time from start to end.
        bytes: Size of the store on disk.
    """

    store: Path
    written: tuple[str, ...]
    reused: tuple[str, ...]
    splits: dict[SplitName, int]
    num_channels: int
    warnings: tuple[str, ...]
    skipped: Mapping[str, str]
    seconds: float
    bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the result as plain values."""
        return {
            "store": str(self.store),
            "written": list(self.written),
            "reused": list(self.reused),
            "splits": dict(self.splits),
            "num_channels": self.num_channels,
            "warnings": list(self.warnings),
            "skipped": dict(self.skipped),
            "seconds": round(self.seconds, 3),
            "bytes": self.bytes,
        }


def preprocess(
    config: PreprocessConfig,
    *,
    overwrite: bool = False,
    on_tile: Callable[[str, int, int], None] | None = None,
    on_read: ItemListener | None = None,
    on_cost: CostListener | None = None,
) -> PreprocessResult:
    """Write the processed store of a configuration, or bring it up to date.

    Tiles that are stored already, from the same files and with the same settings, are kept, so an
    interrupted run goes on where it stopped and a finished store is left as it is. Of each the checksums are
    verified, and what has been damaged is written again.

    Args:
        config: The settings.
        overwrite: Build the store afresh, whatever it holds.
        on_tile: Called after each written tile with its name, how many are written and how many will be.
        on_read: Told of each tile that was read to see whether it, or its place in the store, is good.
        on_cost: Told before the first tile what writing them will need.

    Returns:
        What was done.

    Raises:
        InputDataError: The raw tiles do not allow it, the store was made with other settings, or another
            process is writing it.
        MissingResourceError: The disk is full or has too little room, the system ended a worker for want of
            memory, or the Dask cluster is not there or cannot do it.
        UsageError: The Dask scheduler's address can never work.
        KeyboardInterrupt: Interrupted; finished tiles are kept.
    """
    start = time.monotonic()
    if config.dask is not None:
        # Workers were started in other folders.
        paths = {name: getattr(config, name).absolute() for name in ("raw_dir", "processed_dir")}
        config = config.model_copy(update=paths)
    found = survey_tiles(config, on_read)
    store = store_path(config.processed_dir, config.subtile_size)
    with exclusive_writer(store, "choose another --processed-dir"):
        warnings = found.warnings
        if overwrite:
            # Without its manifest a store counts as unfinished, should the run be cut off here.
            (store / MANIFEST_NAME).unlink(missing_ok=True)
            _remove_tiles(store, keep=frozenset())
        else:
            manifest = refuse_other_store(store, config, found)
            redrawn = describe_redrawn(manifest, found) if manifest is not None else None
            if redrawn is not None:
                # Tiles change their places: until all have, the store counts as unfinished.
                (store / MANIFEST_NAME).unlink()
                warnings = (*warnings, redrawn)
        shutil.rmtree(store / UNFINISHED_NAME, ignore_errors=True)
        stored = stored_tiles(store, found, on_read)
        entries = stored.entries
        reused = tuple(tile.name for tile in found.tiles if tile.name in entries)
        _remove_tiles(store, keep=frozenset(_folder(store, found, tile) for tile in found.tiles))
        jobs = [_job(store, found, tile) for tile in found.tiles if tile.name not in entries]
        cost = estimate(found, len(jobs), config.workers)
        check_room(store, cost)
        if on_cost is not None and jobs:
            on_cost(cost, tuple(cost_warnings(store, cost)))
        try:
            # Closed before the folder is given up: no process of this run writes to it afterwards.
            with closing(_spread(jobs, config, cost.workers)) as written:
                for job, entry in written:
                    entries[job.tile.name] = entry
                    if on_tile is not None:
                        on_tile(job.tile.name, len(entries) - len(reused), len(jobs))
            _finish(store, found, entries)
        finally:
            remove_folder(store / UNFINISHED_NAME)
    return PreprocessResult(
        store=store,
        written=tuple(job.tile.name for job in jobs),
        reused=reused,
        splits={split: list(found.splits.values()).count(split) for split in SPLIT_FOLDERS},
        num_channels=len(found.channels),
        warnings=(*warnings, *stored.warnings, *content_warnings(found, entries)),
        skipped=found.skipped,
        seconds=time.monotonic() - start,
        bytes=sum(path.stat().st_size for path in store.rglob("*") if path.is_file()),
    )


@dataclass(frozen=True)
class _Job:
    """All that a worker needs to write one tile."""

    tile: RawTile
    split: SplitName
    source: SourceFingerprint
    channels: tuple[Channel, ...]
    projected_dates: tuple[date, ...]
    settings: StoreSettings
    config_hash: str
    path: Path
    unfinished: Path


def _spread(
    jobs: Sequence[_Job], config: PreprocessConfig, workers: int
) -> Generator[tuple[_Job, TileEntry]]:
    if config.dask is not None and jobs:
        return map_on_cluster(_write, jobs, config.dask)
    return map_unordered(_write, jobs, workers)


def _job(store: Path, found: Survey, tile: RawTile) -> _Job:
    path = _folder(store, found, tile)
    return _Job(
        tile=tile,
        split=found.splits[tile.name],
        source=found.fingerprints[tile.name],
        channels=found.channels,
        projected_dates=found.projected_dates,
        settings=found.settings,
        config_hash=found.config_hash,
        path=path,
        unfinished=store / UNFINISHED_NAME / path.name,
    )


def _folder(store: Path, found: Survey, tile: RawTile) -> Path:
    return tile_path(store, found.splits[tile.name], tile.name)


def _write(job: _Job) -> TileEntry:
    """Read, convert and write one tile; runs in a worker."""
    image = _workspace(len(job.channels), threading.get_ident())
    georeference = fill_image(image, job.tile, job.channels, job.projected_dates, job.settings.recipe)
    label = np.full((GRID_SIZE, GRID_SIZE), UNKNOWN_LABEL, np.uint8)
    if job.tile.ground_truth is not None:
        label = read_ground_truth(job.tile.ground_truth)
    if fingerprint(job.tile) != job.source:
        raise InputDataError(
            f"{job.tile.folder} was changed while it was read. Run again once nothing writes to it; finished "
            "tiles are kept."
        )
    cells = np.bincount(label.ravel(), minlength=UNKNOWN_LABEL + 1)
    entry = TileEntry(
        split=job.split,
        source=job.source,
        class_counts=tuple(cells[:NUM_CLASSES].tolist()),
        unknown_cells=int(cells[UNKNOWN_LABEL]),
        summaries=ChannelSummaries.from_statistics(ChannelStatistics(image.code_counts)),
        georeference=georeference,
    )
    arrays = TileArrays(image.values, label, image.code_counts)
    needed = sum(MEGABYTES_PER_RASTER[channel.sensor] for channel in job.channels) * 1e6
    with naming_write_faults(job.path, needed_bytes=round(needed), advice="Finished tiles are kept."):
        write_tile(job.path, job.unfinished, arrays, entry, job.config_hash, job.settings.subtile_size)
    return entry


@lru_cache(maxsize=1)
def _workspace(channels: int, thread: int) -> TileImage:
    """Return room for one image, mostly the same for a thread's tiles: fresh memory takes time to get."""
    return TileImage.empty(channels)


def _finish(store: Path, found: Survey, entries: dict[str, TileEntry]) -> None:
    """Write the manifest last: a store without one is unfinished."""
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        config=found.settings,
        config_hash=found.config_hash,
        split=found.split_settings,
        channels=found.channel_names,
        tiles={tile.name: entries[tile.name] for tile in found.tiles},
        skipped=dict(found.skipped),
    )
    write_manifest(store, manifest)


def _remove_tiles(store: Path, keep: frozenset[Path]) -> None:
    """Remove stored tiles that are not among ``keep``; nothing else in the folder is touched.

    A tile is moved out of its place first, so that half of one is never found there.
    """
    for folder in SPLIT_FOLDERS.values():
        for path in (store / folder).glob("*.zarr"):
            if path not in keep:
                remove_tile(path, store / UNFINISHED_NAME / path.name)


def content_warnings(found: Survey, entries: Mapping[str, TileEntry]) -> Iterator[str]:
    """Yield one sentence for each kind of finding.

    Args:
        found: The raw tiles.
        entries: What is stored of each.
    """
    empty, constant, unlabelled = [], [], []
    for tile in found.tiles:
        entry = entries[tile.name]
        summaries = entry.summaries
        for channel, count, low, high in zip(
            found.channels, summaries.count, summaries.minimum, summaries.maximum, strict=True
        ):
            path = _raster_of(tile, channel)
            if path is None:
                continue
            if count == 0:
                empty.append(f"{tile.name}/{path.name}")
            # A few native cells of night light may well be equally dark; no other sensor sees but one value.
            elif low == high and channel.sensor != "viirs":
                constant.append(f"{tile.name}/{path.name}")
        if tile.ground_truth is not None and entry.unknown_cells:
            unlabelled.append(f"{tile.name} ({entry.unknown_cells})")
    if empty:
        yield f"No pixel holds a measurement, stored as no data: {shorten(empty, ', ')}."
    if constant:
        yield f"All pixels hold the same value: {shorten(constant, ', ')}."
    if unlabelled:
        yield f"Label cells of code 0, which are neither trained on nor scored: {shorten(unlabelled, ', ')}."
    copies = list(_copies(found, entries))
    if copies:
        yield (
            f"Their values are the same, so one is a copy: {shorten(copies, ', ')}. Remove one of each; a "
            "split could put one to training and the other to validation."
        )


def _raster_of(tile: RawTile, channel: Channel) -> Path | None:
    """Return the file that a channel is read from; ``None`` for projections and for what the tile lacks."""
    if channel.acquired is None:
        return None
    return tile.rasters.get(RasterName(channel.sensor, channel.acquired, channel.band))


def _copies(found: Survey, entries: Mapping[str, TileEntry]) -> Iterator[str]:
    """Yield pairs of tiles with the same moments in every channel that measures more than dark nights."""
    measured = [index for index, channel in enumerate(found.channels) if channel.sensor != "viirs"]
    first_with: dict[tuple[object, ...], str] = {}
    for tile in found.tiles:
        summaries = entries[tile.name].summaries
        moments = tuple((summaries.mean[index], summaries.m2[index]) for index in measured)
        if any(m2 for _, m2 in moments):
            original = first_with.setdefault(moments, tile.name)
            if original != tile.name:
                yield f"{tile.name} and {original}"
