"""``predict``: from checkpoints and scenes, tiles or a store to the map of an area."""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from esdseg import __version__
from esdseg.config.evaluation import MapConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.mapping.area_input import AreaInput
from esdseg.mapping.area_map import AreaMap, DatesUsed, assemble, choose_picture_px, dates_notes
from esdseg.mapping.blocks import (
    BlockMap,
    MapJob,
    all_channels,
    bands_to_read,
    predict_block,
    predict_on_cluster,
)
from esdseg.mapping.input_folder import open_area
from esdseg.mapping.lattice import Block
from esdseg.mapping.map_result import (
    MapResult,
    describe_map,
    no_place_note,
    nothing_mapped,
    share_notes,
    temperature_notes,
)
from esdseg.mapping.output_folder import (
    DESCRIPTION_NAME,
    keeping_blocks,
    replacing_map,
    require_input,
    require_replaceable,
)
from esdseg.mapping.products import MapSource, write_products, write_tiles
from esdseg.mapping.settlements import SettlementOptions
from esdseg.mapping.supplements import check_supplements
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint
from esdseg.models.device import choose_accelerator
from esdseg.prediction.calibration import Calibration
from esdseg.prediction.open_checkpoints import name_of_runs, open_runs
from esdseg.prediction.predictor import open_predictor
from esdseg.prediction.sources import Ensemble, Run
from esdseg.prediction.workers import describe_networks
from esdseg.sensors.channels import bands_of
from esdseg.sensors.classes import CONTEST_CLASS
from esdseg.store.store import open_store
from esdseg.system.dask_cluster import map_on_cluster
from esdseg.system.files import write_text
from esdseg.system.memory import available_cores
from esdseg.system.processes import ItemListener, ignore, map_unordered

CORES_A_WORKER = 2
"""Cores for each worker process. A worker takes 1.4 GB. Its threads keep two cores busy, except while it
reads, which is a quarter of the work."""

BLOCKS_A_WORKER = 6
"""Fewest blocks for each worker process. With fewer, loading PyTorch takes longer than the worker saves."""


def predict(
    config: MapConfig,
    source: Path,
    out: Path,
    on_block: ItemListener = ignore,
    on_choosing: ItemListener = ignore,
) -> MapResult:
    """Map an area: scenes, tiles or a store.

    Finished blocks are kept beside ``out`` until the map is whole, so the same call goes on where an earlier
    one was ended. ``out`` holds the whole map, or what it held before.

    Args:
        config: What predicts, and how.
        source: Folder of the scenes or tiles, or of a processed store.
        out: Folder of the map; an earlier map in it is replaced.
        on_block: Receives each finished block of 8 x 8 km.
        on_choosing: Receives each tile that was predicted to choose a temperature.

    Returns:
        The map and its files.

    Raises:
        InputDataError: A checkpoint or the input is missing, unreadable or does not fit, or no cell has
            enough of the network's channels.
        UsageError: The settings cannot work with these checkpoints or this input, or ``out`` holds other
            files.
        MissingResourceError: There is no space left, the system ended a worker for want of memory, or the
            Dask cluster is not there or cannot do it.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
    """
    require_input(source)
    require_replaceable(out)
    check_supplements(config.population, config.grid)
    runs = open_runs(config)
    checkpoints = tuple(checkpoint for run in runs for checkpoint in run.checkpoints)
    area = open_area(source, config, checkpoints)
    job = _plan(area, checkpoints, config)
    calibration = _calibrate(checkpoints, job, on_choosing) if config.calibrate else None
    with keeping_blocks(out, _identity(job)) as folder:
        _predict_blocks(job, folder, on_block)
        blocks = (BlockMap.read(path) for path in _block_files(job, folder).values())
        temperature = None if calibration is None else calibration.temperature
        area_map, dates = assemble(area.grid, blocks, job.picture_px, temperature)
        if area_map.is_mapped.any():
            result = _write(area_map, dates, job, runs, calibration, source, out)
    if not area_map.is_mapped.any():
        raise InputDataError(nothing_mapped(area_map, source, runs))
    return result


def choose_overlap(config: MapConfig, checkpoints: Sequence[LoadedCheckpoint]) -> int:
    """Return how many label cells windows share: what was given, or at most half of the smallest window.

    Raises:
        UsageError: Windows cannot share so many.
    """
    sizes = [
        checkpoint.window_size for checkpoint in checkpoints if isinstance(checkpoint, NetworkCheckpoint)
    ]
    smallest = min(sizes, default=1)
    if not config.has_overlap_of_its_own:
        return min(config.overlap, smallest // 2)
    if config.overlap >= smallest:
        fix = f"use 0 to {smallest - 1}" if smallest > 1 else "leave --overlap out"
        raise UsageError(
            f"--overlap {config.overlap}: the windows are of {smallest} x {smallest} cells and cannot share "
            f"so many; {fix}."
        )
    return config.overlap


def _plan(area: AreaInput, checkpoints: Sequence[LoadedCheckpoint], config: MapConfig) -> MapJob:
    channels = all_channels(checkpoints)
    return MapJob(
        area,
        describe_networks(checkpoints),
        config,
        choose_overlap(config, checkpoints),
        bands_to_read(bands_of(channels), area),
        choose_picture_px(area.grid),
    )


def _calibrate(
    checkpoints: tuple[LoadedCheckpoint, ...], job: MapJob, on_choosing: ItemListener
) -> Calibration | None:
    """Fit a temperature on the validation tiles that a store holds, predicted as the map is."""
    config = job.config.model_copy(update={"overlap": job.overlap, "dask": None})
    store = open_store(config.processed_dir, config.subtile_size or checkpoints[0].subtile_size)
    with open_predictor(config) as predictor:
        return predictor.calibrate(Ensemble(checkpoints, store, ()), on_choosing).calibration


def _identity(job: MapJob) -> str:
    """Return a text that changes whenever a block would come out otherwise."""
    config = job.config
    hardware = config.accelerator, config.precision, config.tta, job.overlap, job.picture_px
    networks = [
        (
            str(network.path),
            network.window_size,
            network.metadata.model_dump_json(),
            _changed_at(network.path),
        )
        for network in job.networks
    ]
    area = job.area
    content = area.identity, area.grid, area.blocks, area.sensors.model_dump_json(), area.recipe
    parts = __version__, content, hardware, networks, job.bands
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _changed_at(path: Path) -> int:
    """Return when a checkpoint's file, or the bundle that holds it, was changed."""
    file = next(place for place in (path, *path.parents) if place.is_file())
    return file.stat().st_mtime_ns


def _block_files(job: MapJob, folder: Path) -> dict[Block, Path]:
    return {block: folder / f"{number}.npz" for number, block in enumerate(job.area.blocks, start=1)}


def _predict_blocks(job: MapJob, folder: Path, on_block: ItemListener) -> None:
    """Predict the blocks that are not there yet, and keep each in its file."""
    files = _block_files(job, folder)
    missing = [block for block, path in files.items() if not path.exists()]
    done = len(files) - len(missing)
    with closing(_predicted(job, missing)) as predicted:
        for number, (block, block_map) in enumerate(predicted, start=done + 1):
            block_map.write(files[block])
            on_block(block.name, number, len(files))


def _predicted(job: MapJob, blocks: Sequence[Block]) -> Generator[tuple[Block, BlockMap]]:
    """Predict blocks in this process, in several, or on a cluster, in the order in which they finish."""
    if job.config.dask is not None:
        return map_on_cluster(partial(predict_on_cluster, job), blocks, job.config.dask)
    cores = available_cores()
    is_on_cpu = choose_accelerator(job.config.accelerator) == "cpu"
    worthwhile = min(cores // CORES_A_WORKER, len(blocks) // BLOCKS_A_WORKER) if is_on_cpu else 1
    workers = min(job.config.workers or max(1, worthwhile), max(1, len(blocks)))
    if workers > 1:
        job = replace(job, threads=max(1, cores // workers))
    return map_unordered(partial(predict_block, job), blocks, workers)


def _write(
    area_map: AreaMap,
    dates: tuple[DatesUsed, ...],
    job: MapJob,
    runs: Sequence[Run],
    calibration: Calibration | None,
    source: Path,
    out: Path,
) -> MapResult:
    """Write all products of a map in the place of an earlier one."""
    config = job.config
    notes = (*share_notes(area_map), *temperature_notes(job, calibration), *dates_notes(dates))
    settlements = None
    with replacing_map(out) as folder:
        if job.area.is_georeferenced:
            checkpoints = tuple(str(run.path) for run in runs)
            name = name_of_runs(runs, config)
            made_at, area = datetime.now(UTC), source.absolute().name
            about = MapSource(area, name, checkpoints, made_at, notes, beside=(DESCRIPTION_NAME,))
            options = SettlementOptions(config.with_lit, config.population, config.grid, config.vector_crs)
            products = write_products(area_map, folder, about, options)
            written = products.files
            settlements = int((products.settlements.known.code == CONTEST_CLASS.code).sum())
        else:
            notes = (no_place_note(source, job.area.has_places), *notes)
            written = write_tiles(area_map, job.area.blocks, folder)
        written = (*written, folder / DESCRIPTION_NAME)
        files = tuple(path.relative_to(folder) for path in written)
        result = MapResult(
            out,
            tuple(out / path for path in files),
            area_map,
            job.area.is_georeferenced,
            dates,
            settlements,
            notes,
        )
        write_text(folder / DESCRIPTION_NAME, describe_map(result, job, runs, calibration, source))
    return result
