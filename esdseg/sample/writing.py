"""Writing sample tiles as the contest delivers them, each whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from esdseg.errors import UsageError
from esdseg.sample.dates import RANDOM, TileDates, add_product_offset, contest_dates, load_dates, random_dates
from esdseg.sample.regions import SAVANNA, Region, find_region
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M
from esdseg.sensors.sensors import (
    GROUND_TRUTH_NAME,
    GROUND_TRUTH_PICTURE_NAME,
    Sensor,
    SensorTable,
    contest_sensors,
)
from esdseg.system.files import naming_write_faults, part_path, write_geotiff, write_text
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import ItemListener, map_unordered

GENERATOR_VERSION = 2
"""To be raised whenever the same seed gives other tiles than before."""

TILE_BYTES = 170_000_000
"""Approximate size of a tile on disk."""

STAMP_NAME = "sample.json"
"""File beside the tiles with the generator's version, the seed and the CRS that they were made with."""

CRS = "EPSG:32736"
"""UTM zone 36 south, over Malawi: where a real tile's pixel sizes place it."""

FIRST_CORNER_M = (560_000.0, 8_560_000.0)
TILE_DISTANCE_M = 12_000.0
TILES_PER_ROW = 10

SETS = 24
SET_DISTANCE_M = 150_000.0
"""Tiles of different seeds, up to so many, lie so far from each other to the south: they are other places."""

REGION_DISTANCE_M = 130_000.0
"""Tiles of different regions lie so far from each other to the east."""


@dataclass(frozen=True)
class SampleStamp:
    """The settings that decide what sample tiles look like."""

    generator_version: int
    seed: int
    crs: str | None
    sensors: tuple[str, ...]
    dates: str
    region: str


@dataclass(frozen=True)
class PlannedDates:
    """Where the dates of sample tiles come from.

    Attributes:
        seed: Name of the set of tiles.
        is_random: Whether every tile has other dates.
        of_file: The dates of a file, which all tiles have.
    """

    seed: int
    is_random: bool
    of_file: TileDates | None

    def of_tile(self, number: int) -> TileDates:
        """Return the dates of a tile."""
        if self.is_random:
            return random_dates(self.seed, number)
        return contest_dates() if self.of_file is None else self.of_file

    def describe(self) -> str:
        """Return what tells these dates from others."""
        if self.is_random:
            return RANDOM
        if self.of_file is None:
            return "contest"
        days = [
            f"{day.acquired}:{day.look}:{day.clouds:g}" for drawn in self.of_file.values() for day in drawn
        ]
        return hashlib.sha256(" ".join(days).encode()).hexdigest()[:12]


def write_sample_tiles(
    output_dir: Path,
    *,
    tiles: int,
    seed: int,
    crs: bool,
    workers: int,
    sensors: SensorTable | None = None,
    dates: Path | Literal["random"] | None = None,
    region: str = SAVANNA.name,
    on_tile: ItemListener | None = None,
) -> list[Path]:
    """Write ``output_dir/Tile1`` to ``TileN`` with rasters, the labels and their picture each.

    With the contest's sensors and dates these are 98 rasters.

    A tile depends on the region, the seed and its number alone. It is written to a hidden folder beside
    its place and renamed, so an interrupted run leaves whole tiles only and the next one goes on: tiles
    that are already there, made with the same version, seed and CRS, are kept as they are.

    Args:
        output_dir: Folder of the tiles; made if it is not there.
        tiles: Number of tiles, 1 or more.
        seed: Name of the set, 0 or more.
        crs: Write a UTM CRS and transform; the contest's own rasters have none.
        workers: Processes, 1 or more; they do not change what is written.
        sensors: The sensors to write, under the names of their files; the contest's unless given. A sensor
            whose description does not say what it is simulated as is left out.
        dates: A file of dates; ``random`` for other dates, other numbers of them and other clouds in every
            tile; the contest's unless given.
        region: What kind of land it is, one of :data:`~esdseg.sample.regions.REGIONS`.
        on_tile: Called after each tile that is in place, kept ones included.

    Returns:
        The tiles' folders in order.

    Raises:
        UsageError: A number is out of its range, there is no such region, ``output_dir`` is a file, or it
            holds tiles that were not made with these settings or are not whole.
        InputDataError: ``output_dir`` cannot be written, or another process is writing to it.
        MissingResourceError: There is no space left.
    """
    for name, value, lowest in (("tiles", tiles, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < lowest:
            raise UsageError(f"{name} is {value}; it must be {lowest} or more")
    if output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"{output_dir} is a file; name a folder for the sample tiles")
    find_region(region)
    drawn = drawn_sensors(sensors or contest_sensors())
    planned = PlannedDates(seed, dates == RANDOM, load_dates(dates) if isinstance(dates, Path) else None)
    names = tuple(sensor.name for sensor in drawn)
    stamp = SampleStamp(GENERATOR_VERSION, seed, CRS if crs else None, names, planned.describe(), region)
    folders = [output_dir / f"Tile{number}" for number in range(1, tiles + 1)]
    _refuse_other_tiles(output_dir, stamp)
    for number, folder in enumerate(folders, start=1):
        if folder.exists():
            _refuse_incomplete(folder, drawn, planned.of_tile(number))
    with exclusive_writer(output_dir, "choose another folder"):
        write_text(output_dir / STAMP_NAME, json.dumps(asdict(stamp), indent=2) + "\n")
        kept = [folder for folder in folders if folder.exists()]
        numbers = [number for number, folder in enumerate(folders, start=1) if folder not in kept]
        write = partial(_write_tile, output_dir, stamp, drawn, planned)
        # Closed before the lock is released: no process of this run writes to the folder afterwards.
        with closing(map_unordered(write, numbers, workers)) as written:
            done_tiles = chain((folder.name for folder in kept), (name for _, name in written))
            for done, name in enumerate(done_tiles, start=1):
                if on_tile is not None:
                    on_tile(name, done, tiles)
    return folders


def _refuse_other_tiles(output_dir: Path, stamp: SampleStamp) -> None:
    """Refuse a folder whose tiles would be mixed with those of another source or other settings."""
    if not any(output_dir.glob("Tile*")):
        return
    path = output_dir / STAMP_NAME
    fix = "choose another folder"
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"{output_dir} holds tiles that `esdseg sample` did not write; {fix}") from None
    except ValueError as error:
        raise UsageError(f"{path} cannot be read ({error}); {fix}") from error
    if isinstance(found, dict):
        found = {"region": SAVANNA.name, **found}
    wanted = json.loads(json.dumps(asdict(stamp)))
    if found != wanted:
        known = found if isinstance(found, dict) else {}
        others = [name for name, value in wanted.items() if known.get(name) != value]
        raise UsageError(
            f"{output_dir} holds sample tiles of {_describe(known, others)}, not of "
            f"{_describe(wanted, others)}; {fix}"
        )


def _describe(stamp: Mapping[str, object], settings: Iterable[str]) -> str:
    """Return some settings of a stamp in words, such as ``region sahel, seed 0``."""
    words = []
    for name in settings:
        value = stamp.get(name, "unknown")
        if isinstance(value, list):
            value = " ".join(map(str, value))
        words.append("no CRS" if name == "crs" and value is None else f"{name.replace('_', ' ')} {value}")
    return ", ".join(words) or "other settings"


def drawn_sensors(sensors: SensorTable) -> tuple[Sensor, ...]:
    """Return the sensors of which sample tiles hold rasters.

    Raises:
        UsageError: There are none, or one has a band that cannot be drawn.
    """
    drawn = tuple(sensor for sensor in sensors.all if sensor.simulated_as is not None)
    for sensor in drawn:
        known = contest_sensors().sensor(str(sensor.simulated_as)).band_names
        strange = [band for band in sensor.band_names if band not in known]
        if strange:
            raise UsageError(
                f"{sensor.name} is simulated as {sensor.simulated_as}, which has no band {strange[0]}; its "
                f"bands: {', '.join(known)}"
            )
    if not drawn:
        raise UsageError("no sensor of this description can be simulated; give one a simulated_as")
    return drawn


def _refuse_incomplete(folder: Path, sensors: Sequence[Sensor], dates: TileDates) -> None:
    rasters = [
        sensor.file_name(day.acquired, band)
        for sensor in sensors
        for day in dates[str(sensor.simulated_as)]
        for band in sensor.band_names
    ]
    wanted = (*rasters, GROUND_TRUTH_NAME, GROUND_TRUTH_PICTURE_NAME)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {missing[0]} ({len(missing)} files in all), so it may not be a sample "
            "tile; move it elsewhere to have it written, or choose another folder"
        )


def _write_tile(
    output_dir: Path, stamp: SampleStamp, sensors: Sequence[Sensor], dates: PlannedDates, number: int
) -> str:
    """Generate and write one tile; return its name. Runs in a worker process."""
    from PIL import Image

    from esdseg.sample.settlements import label_picture
    from esdseg.sample.tile import generate_tile

    name = f"Tile{number}"
    region = find_region(stamp.region)
    written = {sensor.simulated_as for sensor in sensors}
    days = {sensor: drawn if sensor in written else () for sensor, drawn in dates.of_tile(number).items()}
    tile = generate_tile(stamp.seed, number, days, region)
    corner = tile_corner(stamp.seed, number, region)
    temporary = part_path(output_dir / name)
    try:
        with naming_write_faults(
            output_dir / name, needed_bytes=TILE_BYTES, advice="Finished tiles are kept."
        ):
            temporary.mkdir()
            for (simulated, acquired, band), raster in tile.rasters.items():
                for sensor in sensors:
                    if sensor.simulated_as == simulated and band in sensor.bands:
                        path = temporary / sensor.file_name(acquired, band)
                        numbers = add_product_offset(raster, sensor, acquired)
                        _write_raster(path, numbers, PIXEL_SIZE_M, stamp.crs, corner)
            labels, cell_size_m = temporary / GROUND_TRUTH_NAME, PIXEL_SIZE_M * CELL_SIZE_PX
            _write_raster(labels, tile.labels, cell_size_m, stamp.crs, corner)
            Image.fromarray(label_picture(tile.labels)).save(temporary / GROUND_TRUTH_PICTURE_NAME)
            temporary.rename(output_dir / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


def tile_corner(seed: int, number: int, region: Region = SAVANNA) -> tuple[float, float]:
    """Return x and y, in metres of :data:`CRS`, of a tile's north-western corner."""
    down, right = divmod(number - 1, TILES_PER_ROW)
    west, north = FIRST_CORNER_M
    south_m = down * TILE_DISTANCE_M + seed % SETS * SET_DISTANCE_M
    return west + right * TILE_DISTANCE_M + region.place * REGION_DISTANCE_M, north - south_m


def _write_raster(
    path: Path, raster: npt.NDArray[Any], pixel_size_m: float, crs: str | None, corner: tuple[float, float]
) -> None:
    """Write one band, uncompressed and in one strip as the contest's files are."""
    from affine import Affine

    profile: dict[str, Any] = {"blockysize": len(raster)}
    if crs is not None:
        west, north = corner
        profile |= {"crs": crs, "transform": Affine(pixel_size_m, 0.0, west, 0.0, -pixel_size_m, north)}
    write_geotiff(path, raster[None], profile)
