"""Checking a folder of raw tiles: each tile by itself, then the tiles against each other."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import ceil
from pathlib import Path

import numpy as np

from esdseg.sensors.channels import Channel, channel_table
from esdseg.sensors.classes import CLASSES
from esdseg.sensors.sensors import GROUND_TRUTH_NAME, RasterName, Sensor, SensorTable
from esdseg.system.memory import available_cores
from esdseg.system.processes import ItemListener, map_unordered
from esdseg.tiles.check_report import CheckReport, SensorReport, TileReport
from esdseg.tiles.clouds import (
    FloatArray,
    estimate_sky,
    list_acquisitions,
    sample_reflectance,
    sky_bands,
)
from esdseg.tiles.cost import estimate_cost
from esdseg.tiles.discovery import RawFolder, RawTile, natural_key, scan_raw_folder, union_of_dates
from esdseg.tiles.problems import (
    Note,
    Problem,
    common_dates,
    date_notes,
    folder_notes,
    folder_problems,
    listing_notes,
    listing_problems,
    missing_problems,
    problems_of,
)
from esdseg.tiles.reading import (
    UNKNOWN_CODE,
    Georeference,
    RasterArray,
    TileFileError,
    announce,
    read_georeference,
    read_georeferenced_raster,
    read_label_codes,
    without_side_files,
)
from esdseg.tiles.tile_grid import TileGrid, judge_grid
from esdseg.tiles.values import (
    LOWEST_SHARE,
    ValueCounts,
    changes_offset,
    count_values,
    merge_counts,
    missing_offset,
    offset_notes,
)

TILES_A_WORKER = 8
"""Starting a process takes as long as checking this many tiles, so that fewer do not pay."""

MOSTLY_EMPTY_SHARE = 0.5
"""Share of a raster without a measurement from which it is worth a note."""

_KNOWN_CODES = {label_class.code for label_class in CLASSES}
_FETCH_AGAIN = "Fetch it again, or leave the band or date out of the selection."

BandValues = dict[tuple[str, str], ValueCounts]


def check_tiles(
    raw_dir: Path,
    *,
    sensors: SensorTable | None = None,
    workers: int | None = None,
    on_tile: ItemListener | None = None,
) -> CheckReport:
    """Read all tiles of a folder and report what they hold and what is wrong with them.

    Args:
        raw_dir: Folder that holds the tiles' folders, or the folder of a single tile.
        sensors: The sensors whose files are known; the contest's unless given.
        workers: Processes, each with one tile at a time; by default one a core, if there is enough to do.
            The cost of preprocessing is estimated for the same setting.
        on_tile: Called after each tile that has been read.

    Raises:
        InputDataError: The folder does not exist, may not be listed, or holds no tiles.
        MissingResourceError: The system ended a process.
    """
    folder = scan_raw_folder(raw_dir, sensors)
    readers = workers or min(available_cores(), ceil(len(folder.tiles) / TILES_A_WORKER))
    values: BandValues = {}
    checks: list[TileCheck] = []
    for tile, check in map_unordered(check_tile, folder.tiles, readers):
        # Counts take half a megabyte a band: added up at once, so that memory does not grow with the tiles.
        _add_values(values, check.values)
        checks.append(replace(check, values={}))
        if on_tile is not None:
            on_tile(tile.name, len(checks), len(folder.tiles))
    checks.sort(key=lambda check: natural_key(check.tile.name))
    dates = union_of_dates(folder.tiles, folder.sensors)
    tile_notes = (note for check in checks for note in check.notes)
    return CheckReport(
        raw_dir=raw_dir,
        tiles=tuple(check.report for check in checks),
        sensors=tuple(_sensor_reports(folder.tiles, folder.sensors, dates, values)),
        problems=(*folder_problems(folder), *_tile_problems(checks, dates)),
        notes=(
            *folder_notes(folder),
            *date_notes(dates, folder.sensors),
            *offset_notes([check.lowest_values for check in checks], folder.sensors),
            *tile_notes,
        ),
        cost=estimate_cost(len(folder.tiles), _most_channels(folder), workers),
    )


def _most_channels(folder: RawFolder) -> tuple[Channel, ...]:
    """Return the channels of a tile that has as many dates of each sensor as any of the folder's."""
    counts = {
        name: max((len(tile.dates(name)) for tile in folder.tiles), default=0)
        for name in folder.sensors.names
    }
    return channel_table(counts, folder.sensors)


@dataclass(frozen=True)
class TileCheck:
    """What one tile's files hold.

    Attributes:
        tile: The tile.
        report: What it holds.
        problems: What is wrong with its files; what other tiles have and it lacks is not known here.
        notes: What is worth knowing.
        values: Counts of the values of each sensor and band, over the dates.
        signature: A raster and the checksum of its pixels, by which copies of a tile are known.
        lowest_values: The 1 % quantile of the darkest band of each date of the sensors whose newer products
            have an offset.
    """

    tile: RawTile
    report: TileReport
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    values: BandValues
    signature: tuple[RasterName, int] | None
    lowest_values: Mapping[tuple[str, date], float]


@without_side_files()
def check_tile(tile: RawTile) -> TileCheck:
    """Read and judge all files of one tile; a broken file is a problem in the result, not an error."""
    problems = list(listing_problems(tile))
    notes = list(listing_notes(tile))
    errors: list[TileFileError] = []
    values: BandValues = {}
    lowest_values: dict[tuple[str, date], float] = {}
    samples: dict[RasterName, FloatArray] = {}
    missing: dict[tuple[str, date], float] = {}
    light: dict[tuple[str, date], float] = {}
    references: dict[Path, Georeference | None] = {}
    signature: tuple[RasterName, int] | None = None
    announce(tile.rasters.values())
    for name, path in tile.rasters.items():
        try:
            raster, references[path] = read_georeferenced_raster(path, tile.sensors, name.band)
        except TileFileError as error:
            errors.append(error)
            continue
        sensor = tile.sensors.sensor(name.sensor)
        if error_of_offset := missing_offset(path, raster, sensor, name.acquired):
            errors.append(error_of_offset)
        counted = count_values(raster, sensor)
        problems += _value_problems(tile, path.name, sensor, counted)
        notes += _value_notes(tile, path.name, sensor, counted)
        _add_values(values, {(name.sensor, name.band): counted})
        key = (name.sensor, name.acquired)
        missing[key] = max(missing.get(key, 0.0), 1 - counted.measured / counted.pixels)
        if sensor.kind == "night_light" and counted.measured:
            light[key] = counted.quantile(0.5)
        if changes_offset(sensor) and counted.measured:
            lowest = counted.quantile(LOWEST_SHARE)
            lowest_values[key] = min(lowest, lowest_values.get(key, lowest))
        if name.band in sky_bands(sensor):
            samples[name] = sample_reflectance(raster, sensor, sensor.has_offset(name.acquired))
        if signature is None:
            signature = _signature(name, sensor, raster, counted)
    codes, labels = None, None
    if tile.ground_truth is not None:
        try:
            codes, labels = read_label_codes(tile.ground_truth), read_georeference(tile.ground_truth)
        except TileFileError as error:
            errors.append(error)
    grid = judge_grid(references, tile.ground_truth, labels)
    samples = {name: grid.orient(tile.rasters[name], sample) for name, sample in samples.items()}
    problems += problems_of((*errors, *grid.misfits), tile)
    notes += _grid_notes(tile, grid, references)
    label_cells = None
    if codes is not None:
        found, cells = np.unique(codes, return_counts=True)
        label_cells = dict(zip(found.tolist(), cells.tolist(), strict=True))
        problems += _label_problems(tile, label_cells)
        notes += _label_notes(tile, label_cells)
    georeferenced = any(reference is not None for reference in references.values())
    dates = {sensor: tile.dates(sensor) for sensor in tile.sensors.names}
    acquisitions = list_acquisitions(dates, estimate_sky(samples, tile.sensors), missing, light)
    report = TileReport(tile.name, len(tile.rasters), label_cells, acquisitions, georeferenced)
    return TileCheck(tile, report, tuple(problems), tuple(notes), values, signature, lowest_values)


def _add_values(values: BandValues, more: BandValues) -> None:
    for key, counted in more.items():
        values[key] = merge_counts([values[key], counted]) if key in values else counted


def _value_problems(tile: RawTile, file: str, sensor: Sensor, counted: ValueCounts) -> Iterator[Problem]:
    if counted.measured == 0:
        yield Problem(tile.name, file, "empty", "No pixel holds a measurement.", _FETCH_AGAIN)
    # A few native cells of night light may well be equally dark; no other sensor sees nothing but one value.
    elif counted.is_constant and sensor.kind != "night_light":
        message = f"All pixels hold the same value, {counted.minimum:g}."
        yield Problem(tile.name, file, "constant", message, _FETCH_AGAIN)


def _value_notes(tile: RawTile, file: str, sensor: Sensor, counted: ValueCounts) -> Iterator[Note]:
    empty_share = 1 - counted.measured / counted.pixels
    if MOSTLY_EMPTY_SHARE <= empty_share < 1:
        yield Note(tile.name, file, f"{empty_share:.0%} of the pixels hold no measurement.")
    elif counted.is_constant and sensor.kind == "night_light":
        yield Note(tile.name, file, f"All pixels hold the same value, {counted.minimum:g}.")


def _signature(
    name: RasterName, sensor: Sensor, raster: RasterArray, counted: ValueCounts
) -> tuple[RasterName, int] | None:
    # Night lights of two dark tiles may be equal pixel by pixel without being copies.
    if sensor.kind == "night_light" or counted.is_constant or counted.measured == 0:
        return None
    return name, zlib.crc32(np.ascontiguousarray(raster).data)


def _grid_notes(
    tile: RawTile, grid: TileGrid, references: Mapping[Path, Georeference | None]
) -> Iterator[Note]:
    for path in sorted(grid.turned):
        message = "Its rows run in the opposite order to those of the rasters; preprocess turns it."
        yield Note(tile.name, path.name, message)
    silent = sum(reference is None for reference in references.values())
    if 0 < silent < len(references):
        yield Note(
            tile.name,
            None,
            f"{silent} of its {len(references)} rasters do not say where they lie; they are taken to lie "
            "where the others do.",
        )


def _label_problems(tile: RawTile, label_cells: Mapping[int, int]) -> Iterator[Problem]:
    others = {code: number for code, number in label_cells.items() if code not in _KNOWN_CODES}
    if others:
        listed = ", ".join(f"{code} (cells: {number})" for code, number in others.items())
        yield Problem(
            tile.name,
            GROUND_TRUTH_NAME,
            "unlabelled" if set(others) == {UNKNOWN_CODE} else "wrong_labels",
            f"Label codes {listed} are not among {min(_KNOWN_CODES)} to {max(_KNOWN_CODES)}.",
            "Correct the codes (1 to 4, not 0 to 3); 0 is read as a cell without a known label.",
        )


def _label_notes(tile: RawTile, label_cells: Mapping[int, int]) -> Iterator[Note]:
    classes = set(label_cells) & _KNOWN_CODES
    if len(classes) == 1:
        yield Note(
            tile.name,
            GROUND_TRUTH_NAME,
            f"All labelled cells are of class {min(classes)}: such a map is most often a dummy. preprocess "
            "takes it as it is; move the file elsewhere if its labels shall not be used.",
        )


def _tile_problems(checks: Sequence[TileCheck], dates: dict[str, tuple[date, ...]]) -> Iterator[Problem]:
    copies = {problem.tile: problem for problem in copy_problems(checks)}
    common = common_dates([check.tile for check in checks])
    for check in checks:
        yield from missing_problems(check.tile, dates, common)
        yield from check.problems
        if check.tile.name in copies:
            yield copies[check.tile.name]


def copy_problems(checks: Sequence[TileCheck]) -> Iterator[Problem]:
    """Yield each tile whose pixels are those of a tile before it."""
    first_with: dict[tuple[RasterName, int], str] = {}
    for check in checks:
        if check.signature is None:
            continue
        original = first_with.setdefault(check.signature, check.tile.name)
        if original != check.tile.name:
            yield Problem(
                check.tile.name,
                check.tile.rasters[check.signature[0]].name,
                "doubled",
                f"The tile is a copy of {original}: their pixels are the same.",
                "Move one of the two elsewhere; else one could be trained on and the other scored.",
            )


def _sensor_reports(
    tiles: Sequence[RawTile], sensors: SensorTable, dates: dict[str, tuple[date, ...]], values: BandValues
) -> Iterator[SensorReport]:
    for sensor in sensors.all:
        if sensor.name not in dates:
            continue
        yield SensorReport(
            sensor=sensor,
            tiles=sum(bool(tile.dates(sensor.name)) for tile in tiles),
            dates={day: sum(day in tile.dates(sensor.name) for tile in tiles) for day in dates[sensor.name]},
            bands={
                band: values[sensor.name, band] for band in sensor.band_names if (sensor.name, band) in values
            },
        )
