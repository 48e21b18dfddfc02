"""Checking a folder of raw tiles: the tiles in parallel, then what shows only between them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from math import ceil
from pathlib import Path

from esdseg.sensors.sensors import SENSORS, RasterName, SensorName
from esdseg.system.processes import ItemListener, default_workers, map_unordered
from esdseg.tiles.completeness import date_notes, folder_notes, folder_problems, missing_problems
from esdseg.tiles.cost import estimate_cost
from esdseg.tiles.discovery import RawTile, scan_raw_folder, union_of_dates
from esdseg.tiles.findings import Note, Problem
from esdseg.tiles.names import natural_key
from esdseg.tiles.report import CheckReport, SensorReport, TileReport
from esdseg.tiles.tile_check import TileCheck, check_tile
from esdseg.tiles.values import ValueCounts, merge_counts

TILES_A_WORKER = 8
"""Starting a process takes as long as checking this many tiles, so that fewer do not pay."""

BandValues = dict[tuple[SensorName, str], ValueCounts]


def check_tiles(
    raw_dir: Path, *, workers: int | None = None, on_tile: ItemListener | None = None
) -> CheckReport:
    """Read all tiles of a folder and report what they hold and what is wrong with them.

    Args:
        raw_dir: Folder that holds the tiles' folders, or the folder of a single tile.
        workers: Processes, each with one tile at a time; by default one a core, if there is enough to do.
            What preprocessing needs is estimated for this number, or for one a core.
        on_tile: Told of each tile that has been read.

    Raises:
        InputDataError: The folder does not exist, may not be listed, or holds no tiles.
        MissingResourceError: The system ended a process.
    """
    folder = scan_raw_folder(raw_dir)
    cores = default_workers() if workers is None else workers
    readers = min(cores, ceil(len(folder.tiles) / TILES_A_WORKER)) if workers is None else workers
    values: BandValues = {}
    checks: list[TileCheck] = []
    for tile, check in map_unordered(check_tile, folder.tiles, readers):
        # Half a megabyte a band: added up at once, so that memory does not grow with the tiles.
        _add_values(values, check)
        checks.append(check.without_values())
        if on_tile is not None:
            on_tile(tile.name, len(checks), len(folder.tiles))
    checks.sort(key=lambda check: natural_key(check.tile.name))
    dates = union_of_dates(folder.tiles)
    return CheckReport(
        raw_dir=raw_dir,
        tiles=tuple(_tile_report(check) for check in checks),
        sensors=tuple(_sensor_reports(folder.tiles, dates, values)),
        problems=(*folder_problems(folder), *_tile_problems(checks, dates)),
        notes=(*folder_notes(folder), *date_notes(dates), *_tile_notes(checks)),
        cost=estimate_cost(len(folder.tiles), dates, cores),
    )


def _add_values(values: BandValues, check: TileCheck) -> None:
    for key, counted in check.values.items():
        values[key] = merge_counts([values[key], counted]) if key in values else counted


def _tile_problems(
    checks: Sequence[TileCheck], dates: dict[SensorName, tuple[date, ...]]
) -> Iterator[Problem]:
    first_with: dict[tuple[RasterName, int], str] = {}
    for check in checks:
        yield from missing_problems(check.tile, dates)
        yield from check.problems
        if check.signature is None:
            continue
        original = first_with.setdefault(check.signature, check.tile.name)
        if original != check.tile.name:
            yield Problem(
                check.tile.name,
                check.tile.rasters[check.signature[0]].name,
                "doubled",
                f"The tile is a copy of {original}: their pixels are the same.",
                "Remove one of the two; a split could put one to training and the other to validation.",
            )


def _tile_notes(checks: Iterable[TileCheck]) -> Iterator[Note]:
    for check in checks:
        yield from check.notes


def _tile_report(check: TileCheck) -> TileReport:
    return TileReport(
        name=check.tile.name,
        rasters=len(check.tile.rasters),
        label_cells=check.label_cells,
        skies=check.skies,
        georeferenced=check.georeferenced,
    )


def _sensor_reports(
    tiles: Sequence[RawTile], dates: dict[SensorName, tuple[date, ...]], values: BandValues
) -> Iterator[SensorReport]:
    for sensor in SENSORS:
        if sensor.name not in dates:
            continue
        yield SensorReport(
            name=sensor.name,
            tiles=sum(bool(tile.dates(sensor.name)) for tile in tiles),
            dates={day: sum(day in tile.dates(sensor.name) for tile in tiles) for day in dates[sensor.name]},
            bands={
                band: values[sensor.name, band] for band in sensor.band_names if (sensor.name, band) in values
            },
        )
