"""Cutting scenes into tiles of the contest's form: 16 x 16 label cells, 800 x 800 px, a folder each.

Tiles lie edge to edge from the north-western corner of the area (or share ``overlap`` cells) and are numbered
in reading order. The last ones of a row or column reach beyond the area where it is no multiple of a tile:
they hold what the scenes measured there, and no data where that is nothing. So no cell is in two tiles.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from esdseg.config.cutting import CutConfig
from esdseg.config.loading import load_sensors
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.sensors.classes import CLASSES, GRID_SIZE
from esdseg.sensors.sensors import GROUND_TRUTH_NAME
from esdseg.system.files import write_text
from esdseg.system.locks import exclusive_writer
from esdseg.system.memory import free_disk_bytes, megabytes
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.area import CellGrid, choose_grid, extents, overlap, read_area
from esdseg.tiles.cost import Cost, choose_workers
from esdseg.tiles.labelling import CodeGrid, label_cells
from esdseg.tiles.reading import UNKNOWN_CODE
from esdseg.tiles.scenes import Scenes, find_scenes
from esdseg.tiles.tile_writing import CutJob, CutTile, cut_run

FORMAT_VERSION = 1
"""To be raised whenever the same scenes and settings give other tiles than before."""

STAMP_NAME = "cut.json"
"""File beside the tiles with what decides them, by which a run knows the tiles of an earlier one."""

SECONDS_PER_RASTER = 0.04
"""Reading, compressing and writing one raster of a tile, on one core of a shared server."""

MEGABYTES_PER_RASTER: Mapping[str, float] = {"night_light": 0.01, "radar": 2.1, "optical": 0.4}
"""Size of a written raster by the kind of its sensor, measured on the contest's Tile1."""

WORKER_MEGABYTES = 500
"""Memory of one worker at its peak: an acquisition of a tile, GDAL's cache, and the libraries."""

MOST_LIT_SHARE = 0.5
"""Share of cells above which a threshold of light is taken to lie below the raster's darkness."""

MOST_TILES_A_RUN = 8
"""Neighbouring tiles that a worker cuts at once; the scenes' files are opened once for them."""


_LIT_CODES = [kind.code for kind in CLASSES if kind.name.endswith("_lit")]


@dataclass(frozen=True)
class CutPlan:
    """What a run does, and what it costs.

    Attributes:
        output: Folder of the tiles.
        scenes: The rasters that are cut.
        grid: The cells of the area.
        tiles: The tiles that scenes reach into, in reading order.
        kept: Names of the tiles that are there already.
        labels: Label codes of the area, (rows, columns); ``None`` without labels.
        cost: Estimate for the tiles to be written.
        warnings: One sentence for each thing that the user may want to mend first.
        stamp: What decides the tiles.
    """

    output: Path
    scenes: Scenes
    grid: CellGrid
    tiles: tuple[CutTile, ...]
    kept: frozenset[str]
    labels: CodeGrid | None
    cost: Cost
    warnings: tuple[str, ...]
    stamp: Mapping[str, object]

    @property
    def dates(self) -> dict[str, tuple[date, ...]]:
        """The dates of each sensor that has any."""
        dates = {sensor: self.scenes.dates(sensor) for sensor in self.scenes.sensors.names}
        return {sensor: days for sensor, days in dates.items() if days}

    @property
    def crs_name(self) -> str:
        """The reference system in a few words."""
        from rasterio.crs import CRS

        crs = CRS.from_wkt(self.grid.crs_wkt)
        return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else self.grid.crs_wkt.split('"')[1]

    def to_json(self) -> dict[str, object]:
        """Return the plan as plain values."""
        return {
            "output": str(self.output),
            "crs": self.crs_name,
            "bounds_m": list(self.grid.bounds),
            "cells": [self.grid.rows, self.grid.columns],
            "tiles": len(self.tiles),
            "kept": len(self.kept),
            "dates": {sensor: [day.isoformat() for day in days] for sensor, days in self.dates.items()},
            "cost": asdict(self.cost),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class CutResult:
    """What a run did.

    Attributes:
        plan: What it was to do.
        written: Tiles written in this run, in reading order.
        empty: Tiles left out, as no cell of them was seen.
        code_counts: Labelled cells of all tiles by their code.
        seconds: Time from start to end.
        bytes: Size of all tiles.
    """

    plan: CutPlan
    written: tuple[str, ...]
    empty: tuple[str, ...]
    code_counts: Mapping[int, int]
    seconds: float
    bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the result as plain values."""
        return {
            **self.plan.to_json(),
            "written": list(self.written),
            "empty": list(self.empty),
            "label_cells": {str(code): number for code, number in self.code_counts.items()},
            "seconds": round(self.seconds, 3),
            "bytes": self.bytes,
        }


def plan_cut(config: CutConfig) -> CutPlan:
    """Return what :func:`cut` would do; nothing is written.

    Raises:
        UsageError: The area or the reference system can never work, or the folder holds other tiles.
        InputDataError: The scenes or the labels are missing, broken, or do not cover the area.
    """
    sensors = load_sensors(config.sensors)
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"{config.output} is a file; name a folder for the tiles.")
    scenes = find_scenes(config.scenes, sensors)
    grid = choose_grid(scenes, config.crs, config.area)
    tiles = _place_tiles(config, scenes, grid)
    stamp = _stamp(config, scenes, grid, tiles)
    _refuse_other_tiles(config.output, stamp)
    kept = frozenset(tile.name for tile in tiles if (config.output / tile.name).is_dir())
    cost = _estimate(scenes, len(tiles) - len(kept), config.workers)
    labels = label_cells(config, grid)
    return CutPlan(
        output=config.output,
        scenes=scenes,
        grid=grid,
        tiles=tiles,
        kept=kept,
        labels=labels,
        cost=cost,
        warnings=tuple(_warnings(config, cost, labels)),
        stamp=stamp,
    )


def cut(
    config: CutConfig,
    *,
    on_plan: Callable[[CutPlan], None] | None = None,
    on_tile: ItemListener | None = None,
) -> CutResult:
    """Cut scenes into tiles.

    Each tile is written to a hidden folder and renamed. An interrupted run leaves whole tiles only, and the
    next one, with the same settings and scenes, goes on.

    Args:
        config: The settings.
        on_plan: Called before the first tile with what is done and what it costs.
        on_tile: Called after each tile, kept ones left out, with its name, the number done and to do.

    Returns:
        What was done.

    Raises:
        UsageError: The area or the reference system can never work, or the folder holds other tiles.
        InputDataError: The scenes or the labels are missing, broken, or do not cover the area.
        MissingResourceError: The disk has too little room, or the system ended a worker.
        KeyboardInterrupt: Interrupted; finished tiles are kept.
    """
    start = time.monotonic()
    plan = plan_cut(config)
    with exclusive_writer(plan.output, "choose another folder"):
        if free_disk_bytes(plan.output) < plan.cost.disk_bytes / 2:
            raise MissingResourceError(
                f"{_disk_words(plan.output, plan.cost)} Free some, or cut a smaller --area."
            )
        if on_plan is not None:
            on_plan(plan)
        write_text(plan.output / STAMP_NAME, json.dumps(plan.stamp, indent=2) + "\n")
        jobs = [(tile, _labels_of(plan, tile)) for tile in plan.tiles if tile.name not in plan.kept]
        work = partial(cut_run, plan.output, plan.scenes, plan.grid, config.resampling)
        written: set[CutTile] = set()
        empty: set[CutTile] = set()
        done = 0
        # Closed before the lock is released: no process of this run writes to the folder afterwards.
        with closing(map_unordered(work, _runs(jobs, plan.cost.workers), plan.cost.workers)) as finished:
            for run, has_data in finished:
                for (tile, _), is_written in zip(run, has_data, strict=True):
                    (written if is_written else empty).add(tile)
                    done += 1
                    if on_tile is not None:
                        on_tile(tile.name if is_written else f"{tile.name} (no data)", done, len(jobs))
    if not written and not plan.kept:
        raise InputDataError(f"Nothing was measured in the area of {plan.output}; give another --area.")
    folders = [plan.output / tile.name for tile in plan.tiles if tile not in empty]
    return CutResult(
        plan=plan,
        written=tuple(tile.name for tile in plan.tiles if tile in written),
        empty=tuple(tile.name for tile in plan.tiles if tile in empty),
        code_counts=_count_codes(folders),
        seconds=time.monotonic() - start,
        bytes=sum(path.stat().st_size for folder in folders for path in folder.iterdir()),
    )


def _place_tiles(config: CutConfig, scenes: Scenes, grid: CellGrid) -> tuple[CutTile, ...]:
    """Return the tiles of an area that it and the scenes' extents reach into, numbered in reading order."""
    import shapely

    covered = extents(scenes, grid.crs_wkt)
    asked = None if config.area is None else read_area(config.area, config.crs).in_crs(grid.crs_wkt)
    step = GRID_SIZE - config.overlap
    places = []
    for row in _starts(grid.rows, step):
        for column in _starts(grid.columns, step):
            bounds = grid.part(row, column, GRID_SIZE, GRID_SIZE).bounds
            is_asked = asked is None or shapely.intersects(asked, shapely.box(*bounds))
            if is_asked and any(overlap(bounds, extent) for extent in covered):
                places.append((row, column))
    return tuple(CutTile(number, *place) for number, place in enumerate(places, start=1))


def _starts(cells: int, step: int) -> range:
    """Return the first cells of tiles along one side, as many as reach its end."""
    return range(0, max(1, cells - GRID_SIZE + step), step)


def _stamp(config: CutConfig, scenes: Scenes, grid: CellGrid, tiles: Iterable[CutTile]) -> dict[str, object]:
    """Return what decides the tiles, under the words that a refusal names it by."""
    rasters = [(str(path.relative_to(scenes.folder)), path) for path in scenes.files]
    sources = [config.labels, config.buildings, config.lights, config.lit]
    labels = [(name.name, name) for name in sources if name is not None]
    return {
        "version": FORMAT_VERSION,
        "area": [*grid.bounds, _digest(repr([(tile.row, tile.column) for tile in tiles]))],
        "reference system": grid.crs_wkt,
        "overlap": config.overlap,
        "resampling": config.resampling,
        "sensors": _digest(scenes.sensors.model_dump_json()),
        "scenes' files": _digest(repr([(name, path.stat().st_size) for name, path in rasters])),
        "labels": _digest(
            repr(
                [
                    (name, path.stat().st_size, path.stat().st_mtime_ns)
                    for name, path in labels
                    if path.exists()
                ]
            )
            + f"{config.light_threshold:g}"
        )
        if config.has_labels
        else None,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse_other_tiles(output: Path, stamp: Mapping[str, object]) -> None:
    """Refuse a folder whose tiles would be mixed with those of another source or other settings."""
    path, fix = output / STAMP_NAME, "choose another folder"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(output.glob("Tile*")):
            raise UsageError(f"{output} holds tiles that `esdseg cut` did not write; {fix}.") from None
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}); {fix}.") from None
    others = [key for key, value in stamp.items() if not isinstance(found, dict) or found.get(key) != value]
    if others:
        raise UsageError(f"{output} holds tiles of another run: other {', '.join(others)}; {fix}.")


def _estimate(scenes: Scenes, tiles: int, workers: int | None) -> Cost:
    used = choose_workers(workers, tiles)
    megabytes_a_tile = sum(
        MEGABYTES_PER_RASTER[scenes.sensors.sensor(name.sensor).kind] for name in scenes.rasters
    )
    return Cost(
        workers=used,
        seconds=ceil(tiles / used) * SECONDS_PER_RASTER * len(scenes.rasters),
        memory_bytes=used * WORKER_MEGABYTES * 10**6,
        disk_bytes=round(tiles * megabytes_a_tile * 1e6),
    )


def _warnings(config: CutConfig, cost: Cost, labels: CodeGrid | None) -> Iterator[str]:
    if config.lights is not None and labels is not None:
        lit_share = np.isin(labels, _LIT_CODES).sum() / max(1, np.count_nonzero(labels))
        if lit_share > MOST_LIT_SHARE:
            yield (
                f"A threshold of {config.light_threshold:g} calls {lit_share:.0%} of the cells lit: "
                f"{config.lights} is brighter nearly everywhere, as nights with moonlight or airglow are. "
                "Take a composite, or a --light-threshold above its dark places."
            )
    if config.overlap and config.has_labels:
        yield (
            f"Neighbouring tiles share {config.overlap} cells: cut tiles to train on without --overlap, or a "
            "cell may be trained on in one tile and scored in another."
        )
    if free_disk_bytes(config.output) < cost.disk_bytes:
        yield f"{_disk_words(config.output, cost)} It may not suffice."


def _disk_words(output: Path, cost: Cost) -> str:
    needed, free = megabytes(cost.disk_bytes), megabytes(free_disk_bytes(output))
    return f"The tiles will take about {needed} of disk, and {free} are free at {output}."


def _labels_of(plan: CutPlan, tile: CutTile) -> CodeGrid | None:
    """Return the label codes of a tile, (16, 16), unknown beyond the area."""
    if plan.labels is None:
        return None
    codes = np.full((GRID_SIZE, GRID_SIZE), UNKNOWN_CODE, np.uint16)
    part = plan.labels[tile.row : tile.row + GRID_SIZE, tile.column : tile.column + GRID_SIZE]
    codes[: part.shape[0], : part.shape[1]] = part
    return codes


def _runs(jobs: list[CutJob], workers: int) -> list[tuple[CutJob, ...]]:
    """Divide tiles into runs of neighbours, several a worker."""
    length = min(MOST_TILES_A_RUN, max(1, len(jobs) // (4 * workers)))
    return [tuple(jobs[start : start + length]) for start in range(0, len(jobs), length)]


def _count_codes(folders: Iterable[Path]) -> dict[int, int]:
    """Count the labelled cells of tiles by their code."""
    from esdseg.tiles.reading import read_label_codes

    counts: Counter[int] = Counter()
    for folder in folders:
        if (folder / GROUND_TRUTH_NAME).exists():
            counts.update(read_label_codes(folder / GROUND_TRUTH_NAME).ravel().tolist())
    return dict(sorted(counts.items()))
