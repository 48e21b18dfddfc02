"""Writing a processed store: raw tiles are converted in parallel, and the manifest is written last."""

import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.preprocessing.bad_tiles import fingerprint, shorten
from esdseg.preprocessing.contents import TileContents, content_warnings
from esdseg.preprocessing.planning import PreprocessPlan, check_room, cost_warnings, plan_run
from esdseg.preprocessing.survey import Survey, survey_tiles
from esdseg.preprocessing.tile_image import fill_image
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.commands import preprocess_command
from esdseg.store.identity import describe_tile
from esdseg.store.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    SPLIT_FOLDERS,
    UNFINISHED_NAME,
    Manifest,
    SplitName,
    TileEntry,
    store_path,
    tile_path,
    write_manifest,
)
from esdseg.store.tile_store import TileArrays, TileReader, remove_tile, write_tile
from esdseg.system.dask_cluster import map_on_cluster
from esdseg.system.files import naming_write_faults, remove_folder
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.cost import Cost, stored_tile_bytes
from esdseg.tiles.reading import read_ground_truth


@dataclass(frozen=True)
class PreprocessResult:
    """What a run did.

    Attributes:
        store: The store's folder.
        written: Tiles written in this run, in natural order.
        reused: Tiles that were stored already as they should be.
        splits: Number of tiles in each split.
        num_layers: Layers of the image of the tile that has the most.
        notes: What was done to values beyond the recipe: offsets subtracted, and files turned in this run.
        warnings: What the user may want to mend.
        skipped: What is wrong with each tile that was left out, by its name.
        seconds: Time from start to end.
        bytes: Size of the store on disk.
    """

    store: Path
    written: tuple[str, ...]
    reused: tuple[str, ...]
    splits: dict[SplitName, int]
    num_layers: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    skipped: Mapping[str, str]
    seconds: float
    bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the result as plain values."""
        return {**asdict(self), "store": str(self.store), "seconds": round(self.seconds, 3)}


def preprocess(
    config: PreprocessConfig,
    *,
    overwrite: bool = False,
    on_tile: ItemListener | None = None,
    on_read: ItemListener | None = None,
    on_cost: Callable[[Cost, tuple[str, ...]], None] | None = None,
) -> PreprocessResult:
    """Write the processed store of a configuration, or bring it up to date.

    Tiles that are stored already, from the same files and with the same settings, are kept, so an
    interrupted run goes on where it stopped and a finished store is left as it is. The checksums of kept
    tiles are verified, and damaged tiles are written again.

    Args:
        config: The settings.
        overwrite: Build the store afresh, whatever it holds.
        on_tile: Called after each written tile with its name, the number written and the number to write.
        on_read: Called after each tile that was verified, raw or in the store, with its name, the number
            verified and the number of all.
        on_cost: Called before the first tile with the estimate for the tiles to be written, and a sentence
            for each part of it that may be more than the machine has.

    Returns:
        What was done.

    Raises:
        InputDataError: The raw tiles cannot be stored, the store was made with other settings, or another
            process is writing it.
        MissingResourceError: The disk is full or has too little room, the system ended a worker for want of
            memory, or the Dask cluster is not there or cannot do it.
        UsageError: The Dask scheduler's address can never work.
        KeyboardInterrupt: Interrupted; finished tiles are kept.
    """
    start = time.monotonic()
    if config.dask is not None:
        # Workers were started in other folders, where relative paths name other files.
        given = {name: getattr(config, name) for name in ("raw_dir", "processed_dir", "labels")}
        paths = {name: path.absolute() for name, path in given.items() if path is not None}
        config = config.model_copy(update=paths)
    survey = survey_tiles(config, on_read)
    store = store_path(config.processed_dir, config.subtile_size)
    with exclusive_writer(store, "choose another --processed-dir"):
        plan = plan_run(config, survey, overwrite=overwrite, on_read=on_read)
        _clear(plan, overwrite)
        check_room(store, plan.cost)
        jobs = [survey.of_tile(tile) for tile in survey.tiles if tile.name not in plan.kept]
        if on_cost is not None and jobs:
            on_cost(plan.cost, cost_warnings(store, plan.cost))
        entries = dict(plan.kept)
        contents = {name: _stored_contents(plan, name, config) for name in plan.kept}
        try:
            # The workers end before the lock is released, so none of them writes to the store afterwards.
            with closing(_convert(jobs, store, config, plan.cost.workers)) as converted:
                for number, (job, (entry, content)) in enumerate(converted, start=1):
                    name = job.tiles[0].name
                    entries[name], contents[name] = entry, content
                    if on_tile is not None:
                        on_tile(name, number, len(jobs))
            _write_manifest(store, survey, entries)
        finally:
            remove_folder(store / UNFINISHED_NAME)
    return PreprocessResult(
        store=store,
        written=tuple(job.tiles[0].name for job in jobs),
        reused=tuple(tile.name for tile in survey.tiles if tile.name in plan.kept),
        splits={split: list(survey.splits.values()).count(split) for split in SPLIT_FOLDERS},
        num_layers=len(survey.most_layers),
        notes=(*plan.notes, *_notes_of_turned(contents)),
        warnings=(*plan.warnings, *content_warnings(survey, entries, contents)),
        skipped=survey.skipped,
        seconds=time.monotonic() - start,
        bytes=sum(path.stat().st_size for path in store.rglob("*") if path.is_file()),
    )


def _clear(plan: PreprocessPlan, overwrite: bool) -> None:
    """Remove what a killed run left, and the stored tiles that the run does not leave in their places."""
    if overwrite or plan.is_redrawn:
        # Until all tiles are in their new places, the store counts as unfinished.
        (plan.store / MANIFEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(plan.store / UNFINISHED_NAME, ignore_errors=True)
    places = {tile_path(plan.store, split, name) for name, split in plan.survey.splits.items()}
    for folder in SPLIT_FOLDERS.values():
        for path in (plan.store / folder).glob("*.zarr"):
            if overwrite or path not in places:
                remove_tile(path, plan.store / UNFINISHED_NAME / path.name)


def _convert(
    jobs: list[Survey], store: Path, config: PreprocessConfig, workers: int
) -> Generator[tuple[Survey, tuple[TileEntry, TileContents]]]:
    convert = partial(_convert_tile, store)
    if config.dask is not None and jobs:
        return map_on_cluster(convert, jobs, config.dask)
    return map_unordered(convert, jobs, workers)


def _convert_tile(store: Path, survey: Survey) -> tuple[TileEntry, TileContents]:
    """Read, convert and write the tile of a survey of one tile; runs in a worker."""
    (tile,) = survey.tiles
    split, source = survey.splits[tile.name], survey.fingerprints[tile.name]
    layers, settings = survey.layers(tile), survey.settings
    arrays = _workspace(len(layers), threading.get_ident())
    grid, acquisitions = fill_image(
        arrays, tile, layers, survey.bands, settings.recipe, settings.reflectance_offset
    )
    arrays.label[...] = UNKNOWN_LABEL
    if tile.ground_truth is not None:
        arrays.label[...] = grid.orient(tile.ground_truth, read_ground_truth(tile.ground_truth))
    if fingerprint(tile) != source:
        raise InputDataError(
            f"{tile.folder} was changed while it was read. Run again once nothing writes to it; finished "
            "tiles are kept."
        )
    entry = describe_tile(arrays, split, source, grid.georeference, acquisitions)
    path = tile_path(store, split, tile.name)
    unfinished = store / UNFINISHED_NAME / path.name
    needed_bytes = stored_tile_bytes(layers)
    with naming_write_faults(path, needed_bytes=needed_bytes, advice="Finished tiles are kept."):
        write_tile(path, unfinished, arrays, entry, survey.config_hash, survey.settings.subtile_size)
    turned = tuple(file.name for file in sorted(grid.turned))
    return entry, replace(TileContents.of(arrays.code_counts, layers), turned=turned)


def _notes_of_turned(contents: Mapping[str, TileContents]) -> list[str]:
    turned = [f"{tile}/{file}" for tile, content in contents.items() for file in content.turned]
    return [f"Turned, as their rows ran in the opposite order: {shorten(turned, ', ')}."] if turned else []


@lru_cache(maxsize=1)
def _workspace(layers: int, thread: int) -> TileArrays:
    """Return arrays for one tile. A thread's next tile mostly reuses them: fresh memory takes time."""
    return TileArrays.empty(layers)


def _stored_contents(plan: PreprocessPlan, name: str, config: PreprocessConfig) -> TileContents:
    entry = plan.kept[name]
    path = tile_path(plan.store, entry.split, name)
    reader = TileReader(path, entry, preprocess_command(config, "--overwrite"))
    (tile,) = (tile for tile in plan.survey.tiles if tile.name == name)
    return TileContents.of(reader.read_code_counts(), plan.survey.layers(tile))


def _write_manifest(store: Path, survey: Survey, entries: Mapping[str, TileEntry]) -> None:
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        config=survey.settings,
        config_hash=survey.config_hash,
        split=survey.split_settings,
        sensors=survey.sensors,
        bands=dict(survey.bands),
        tiles={tile.name: entries[tile.name] for tile in survey.tiles},
        skipped=dict(survey.skipped),
    )
    write_manifest(store, manifest)
