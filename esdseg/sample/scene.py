"""A sample scene: one georeferenced area of any size, written as agencies deliver it, with what stands there.

The land is generated as a whole, so nothing in it shows where tiles will be cut. Rasters are in native
pixels: two Sentinel-2 granules that overlap, with bands of 10, 20 and 60 m; Landsat-8 in pixels of 30 and
15 m, half a pixel off them; Sentinel-1, terrain-corrected, over the western two thirds; night lights in
longitude and latitude.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from esdseg.errors import UsageError
from esdseg.sample.dates import (
    RANDOM,
    DrawnDate,
    TileDates,
    add_product_offset,
    load_dates,
    random_dates,
    scene_dates,
)
from esdseg.sample.regions import SAVANNA, Region, find_region
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M
from esdseg.sensors.sensors import contest_sensors
from esdseg.system.files import naming_write_faults, part_path, remove_folder, write_geotiff
from esdseg.system.processes import ItemListener, ignore

if TYPE_CHECKING:
    from esdseg.sample.settlements import Buildings, Lamps, Settlements

Rasters = Iterator[tuple[tuple[date, str], npt.NDArray[Any]]]
"""Date, band and raster, one after the other."""

SCENE_VERSION = 1
"""To be raised whenever the same seed gives another scene than before."""

SCENE_CRS = "EPSG:32736"
"""UTM zone 36 south, over Malawi."""

FIRST_CORNER_M = (420_000.0, 8_700_000.0)
SCENES_PER_ROW = 4
"""The scene of each seed lies east of that of the seed before, edge to edge, four in a row."""

SCENE_ROWS = 10
"""Rows of scenes; those of further seeds lie where others lay."""

REGION_DISTANCE_M = 1_100_000.0
"""Scenes of different regions lie so far from each other to the south."""

LEAST_SIZE_KM, MOST_SIZE_KM = 8.0, 100.0
"""A tile, and the width of a Sentinel-2 granule."""

GRANULES = (("36LXH", 0.0, 0.55), ("36LYH", 0.45, 1.0))
"""Name, and first and last column as shares of the scene's width, of each Sentinel-2 granule."""

RADAR_SHARE = 2 / 3
"""Share of the scene's width that Sentinel-1 saw, from the west."""

LANDSAT_OFFSET_PX = 1.5
"""How far Landsat's first pixels begin outside: centres of its pixels of 30 m lie on multiples of 30 m."""

ARC_SECONDS_15 = 1 / 240
"""Side of a native cell of night lights in degrees."""

LIGHTS_MARGIN = 0.1
"""How far the raster of night lights reaches beyond the scene, in degrees."""

HOUSE_MARGIN_M = 0.5
"""Distance of a house's outline from the border of its cell: none stands across one."""

SCENE_STAMP = "scene.json"
"""File in the folder with what decides the scene."""

BYTES_PER_KM2 = 500_000
"""Approximate size of a scene on disk."""


@dataclass(frozen=True)
class SceneStamp:
    """What decides a sample scene."""

    version: int
    seed: int
    size_km: float
    dates: dict[str, list[str]]
    region: str


@dataclass(frozen=True)
class SampleScene:
    """What was written.

    Attributes:
        folder: The folder.
        scenes: The folder in it with the rasters, which ``esdseg cut`` and ``esdseg predict`` take.
        buildings: Outlines of all buildings, GeoJSON.
        lit: Outlines of all lit areas, a GeoPackage.
        truth: Label codes of all cells, a raster of 500 m.
    """

    folder: Path

    @property
    def scenes(self) -> Path:  # noqa: D102
        return self.folder / "scenes"

    @property
    def buildings(self) -> Path:  # noqa: D102
        return self.folder / "buildings.geojson"

    @property
    def lit(self) -> Path:  # noqa: D102
        return self.folder / "lit.gpkg"

    @property
    def truth(self) -> Path:  # noqa: D102
        return self.folder / "truth.tif"


def write_sample_scene(
    output_dir: Path,
    *,
    seed: int,
    size_km: float,
    dates: Path | Literal["random"] | None = None,
    region: str = SAVANNA.name,
    on_step: ItemListener = ignore,
) -> SampleScene:
    """Write a sample scene, whole or not at all.

    The seed and the region alone decide the land and what stands on it; other dates see the same land. A
    scene that is there already, of the same settings, is kept as it is.

    Args:
        output_dir: The scene's folder.
        seed: Name of the land, 0 or more; the scene of the next seed lies east of it.
        size_km: Side of the scene, a multiple of 0.5.
        dates: A file of dates, whose sensors that it does not name have the usual ones; ``random`` for others
            by the seed; six weeks of 2021 unless given.
        region: What kind of land it is, one of :data:`~esdseg.sample.regions.REGIONS`.
        on_step: Called before each step with its name, the number done and of all.

    Raises:
        UsageError: A number is out of its range, there is no such region, or the folder holds something else.
        InputDataError: The folder cannot be written.
        MissingResourceError: There is no space left.
    """
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be 0 or more")
    if not LEAST_SIZE_KM <= size_km <= MOST_SIZE_KM or size_km % 0.5:
        raise UsageError(
            f"a scene of {size_km:g} km cannot be made; its size is {LEAST_SIZE_KM:g} to {MOST_SIZE_KM:g} "
            "km, in steps of 0.5"
        )
    kind = find_region(region)
    chosen = scene_dates()
    if dates == RANDOM:
        chosen = random_dates(seed, 0)
    elif isinstance(dates, Path):
        chosen = load_dates(dates, scene_dates())
    written = {
        name: [f"{day.acquired}:{day.look}:{day.clouds:g}" for day in days] for name, days in chosen.items()
    }
    stamp = SceneStamp(SCENE_VERSION, seed, size_km, written, region)
    scene = SampleScene(output_dir)
    if _is_there(output_dir, stamp):
        return scene
    part = part_path(output_dir.absolute())
    needed = round(BYTES_PER_KM2 * size_km**2)
    with naming_write_faults(output_dir, needed_bytes=needed):
        remove_folder(part)
        try:
            (part / scene.scenes.name).mkdir(parents=True)
            _write(SampleScene(part), seed, round(size_km * 1000 / PIXEL_SIZE_M), chosen, kind, on_step)
            (part / SCENE_STAMP).write_text(json.dumps(asdict(stamp), indent=2) + "\n")
            part.rename(output_dir)
        finally:
            remove_folder(part)
    return scene


def _is_there(folder: Path, stamp: SceneStamp) -> bool:
    """Return whether a folder holds the scene already; refuse one that holds something else."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the sample scene")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        found = json.loads((folder / SCENE_STAMP).read_text())
    except (OSError, ValueError):
        raise UsageError(
            f"{folder} holds something else than a sample scene; choose another folder"
        ) from None
    if isinstance(found, dict):
        found = {"region": SAVANNA.name, **found}
    if found != json.loads(json.dumps(asdict(stamp))):
        raise UsageError(f"{folder} holds a sample scene of other settings; choose another folder")
    return True


def scene_corner_m(seed: int, size_km: float, region: Region = SAVANNA) -> tuple[float, float]:
    """Return x and y of a scene's north-western corner in :data:`SCENE_CRS`."""
    row, column = divmod(seed, SCENES_PER_ROW)
    north = FIRST_CORNER_M[1] - region.place * REGION_DISTANCE_M
    return FIRST_CORNER_M[0] + column * size_km * 1000, north - row % SCENE_ROWS * size_km * 1000


def _write(
    scene: SampleScene, seed: int, size_px: int, dates: TileDates, region: Region, on_step: ItemListener
) -> None:
    from esdseg.sample.fields import native_layout
    from esdseg.sample.land import build_land, fertility_field
    from esdseg.sample.optical import render_landsat8, render_sentinel2
    from esdseg.sample.parameters import draw_scene_parameters
    from esdseg.sample.radar import render_sentinel1
    from esdseg.sample.settlements import build_settlements, label_grid
    from esdseg.sample.terrain import build_terrain

    total = 3 + sum(map(len, dates.values()))
    corner = scene_corner_m(seed, size_px * PIXEL_SIZE_M / 1000, region)
    land_seeds = np.random.SeedSequence(seed, spawn_key=(0, 1, *region.spawn_key)).spawn(4)
    terrain_rng, fertility_rng, people_rng, land_rng = map(np.random.default_rng, land_seeds)
    on_step("relief, streams and roads", 0, total)
    parameters = draw_scene_parameters(seed, size_px, region)
    terrain = build_terrain(parameters, terrain_rng)
    fertility = fertility_field(parameters, terrain, fertility_rng)
    on_step("settlements", 1, total)
    settlements = build_settlements(parameters, terrain, fertility, people_rng)
    _write_truth(scene, label_grid(settlements.buildings, settlements.lamps, size_px), corner)
    _write_settlements(scene, settlements, corner, size_px, people_rng)
    on_step("land cover", 2, total)
    land = build_land(parameters, terrain, fertility, settlements, land_rng)

    layout = native_layout(size_px)
    skies = {sensor: _sky(seed, sensor, dates) for sensor in dates}
    writer = _RasterWriter(scene.scenes, corner, size_px)
    sources: tuple[tuple[str, Rasters, Callable[[date, str, npt.NDArray[Any]], None]], ...] = (
        (
            "VIIRS",
            _nights(settlements.lamps, corner, size_px, dates["viirs"], skies["viirs"]),
            writer.write_night,
        ),
        (
            "Sentinel-1",
            render_sentinel1(
                terrain,
                land,
                settlements.buildings,
                dates["sentinel1"],
                skies["sentinel1"],
                layout,
                region.radar_ground,
            ),
            writer.write_radar,
        ),
        (
            "Sentinel-2",
            render_sentinel2(parameters, land, dates["sentinel2"], skies["sentinel2"], layout),
            writer.write_granules,
        ),
        (
            "Landsat-8",
            render_landsat8(
                parameters,
                terrain,
                land,
                dates["landsat8"],
                skies["landsat8"],
                native_layout(size_px, LANDSAT_OFFSET_PX),
            ),
            writer.write_landsat,
        ),
    )
    done, before = 2, None
    for title, rasters, write in sources:
        for (day, band), raster in rasters:
            if (title, day) != before:
                done, before = done + 1, (title, day)
                on_step(f"{title} {day}", done, total)
            write(day, band, raster)


def _sky(seed: int, sensor: str, dates: TileDates) -> np.random.Generator:
    """Return the source of clouds, haze and noise: other dates have others over the same land."""
    days = [day.acquired.toordinal() for day in dates[sensor]]
    return np.random.default_rng([seed, list(dates).index(sensor), *days])


def _nights(
    lamps: "Lamps",
    corner_m: tuple[float, float],
    size_px: int,
    dates: Sequence[DrawnDate],
    rng: np.random.Generator,
) -> Rasters:
    """Render the nights on cells of 15 arc seconds around a scene."""
    from rasterio.warp import transform

    from esdseg.sample.night_lights import render_nights

    west, north, shape = _lights_grid(corner_m, size_px)
    x, y = corner_m[0] + lamps.column * PIXEL_SIZE_M, corner_m[1] - lamps.row * PIXEL_SIZE_M
    longitudes, latitudes = transform(SCENE_CRS, "EPSG:4326", x, y)
    positions = (
        ((north - np.array(latitudes)) / ARC_SECONDS_15).astype(np.float32),
        ((np.array(longitudes) - west) / ARC_SECONDS_15).astype(np.float32),
    )
    yield from render_nights(positions, lamps.power, shape, dates, rng)


def _lights_grid(corner_m: tuple[float, float], size_px: int) -> tuple[float, float, tuple[int, int]]:
    """Return western and northern edge in degrees, and rows and columns, of the raster of night lights."""
    from rasterio.warp import transform_bounds

    (left, top), side = corner_m, size_px * PIXEL_SIZE_M
    bounds = transform_bounds(SCENE_CRS, "EPSG:4326", left, top - side, left + side, top)
    west, south, east, north = (
        round((edge + sign * LIGHTS_MARGIN) / ARC_SECONDS_15)
        for edge, sign in zip(bounds, (-1, -1, 1, 1), strict=True)
    )
    return west * ARC_SECONDS_15, north * ARC_SECONDS_15, (north - south, east - west)


@dataclass(frozen=True)
class _RasterWriter:
    """Writes rasters of native pixels under the agencies' names.

    Attributes:
        folder: The folder of the scenes.
        corner_m: The scene's north-western corner.
        size_px: The scene's side in pixels.
    """

    folder: Path
    corner_m: tuple[float, float]
    size_px: int

    def write_granules(self, day: date, band: str, raster: npt.NDArray[Any]) -> None:
        """Write a Sentinel-2 band as two granules, in the folders of the agency's archive."""
        sensor = contest_sensors().sensor("sentinel2")
        size_m = sensor.band(band).native_size_m
        raster = add_product_offset(raster, sensor, day)
        for granule, first, last in GRANULES:
            # Whole pixels of 60 m, so that the bands of a granule begin at one place.
            start, end = (round(share * self.size_px / 6) * round(60 / size_m) for share in (first, last))
            archive = f"S2A_MSIL2A_{day:%Y%m%d}T074619_N0301_R135_T{granule}_{day:%Y%m%d}T101525.SAFE"
            name = f"T{granule}_{day:%Y%m%d}T074619_{band}_{size_m:.0f}m.tif"
            self._write(
                f"sentinel2/{archive}/IMG_DATA/R{size_m:.0f}m/{name}",
                raster[:, start:end],
                size_m,
                start * size_m,
            )

    def write_landsat(self, day: date, band: str, raster: npt.NDArray[Any]) -> None:
        """Write a Landsat-8 band in 16 bits."""
        values = np.clip(raster, 1, 65534).astype(np.uint16)
        name = f"landsat8/LC08_L1TP_169070_{day:%Y%m%d}_{day:%Y%m%d}_02_T1_{band}.TIF"
        outside_m = LANDSAT_OFFSET_PX * PIXEL_SIZE_M
        size_m = contest_sensors().sensor("landsat8").band(band).native_size_m
        self._write(name, values, size_m, -outside_m, outside_m)

    def write_radar(self, day: date, band: str, raster: npt.NDArray[Any]) -> None:
        """Write a Sentinel-1 band, calibrated and terrain-corrected."""
        seen = raster[:, : round(RADAR_SHARE * raster.shape[1])]
        name = f"sentinel1/S1A_IW_{day:%Y%m%d}T031512_DVP_RTC10_G_sauned_4F2A_{band}.tif"
        self._write(name, seen, PIXEL_SIZE_M, no_data=0.0)

    def write_night(self, day: date, band: str, raster: npt.NDArray[Any]) -> None:
        """Write a night's light in longitude and latitude."""
        west, north, _ = _lights_grid(self.corner_m, self.size_px)
        path = self.folder / f"viirs/VNP46A1.A{day:%Y%j}.h21v10.001.{day:%Y%j}091234.tif"
        _write_raster(path, raster, "EPSG:4326", ARC_SECONDS_15, (west, north))

    def _write(
        self,
        name: str,
        raster: npt.NDArray[Any],
        size_m: float,
        right_m: float = 0.0,
        up_m: float = 0.0,
        no_data: float | None = None,
    ) -> None:
        corner = self.corner_m[0] + right_m, self.corner_m[1] + up_m
        _write_raster(self.folder / name, raster, SCENE_CRS, size_m, corner, no_data)


def _write_raster(
    path: Path,
    raster: npt.NDArray[Any],
    crs: str,
    pixel_size: float,
    corner: tuple[float, float],
    no_data: float | None = None,
) -> None:
    """Write one band as a compressed GeoTIFF in blocks of 512 x 512 px; folders are made."""
    from affine import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "crs": crs,
        "transform": Affine(pixel_size, 0.0, corner[0], 0.0, -pixel_size, corner[1]),
        "nodata": no_data,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 3 if raster.dtype.kind == "f" else 2,
    }
    write_geotiff(path, raster[None], profile)


def _write_truth(scene: SampleScene, codes: npt.NDArray[np.uint16], corner_m: tuple[float, float]) -> None:
    _write_raster(scene.truth, codes.astype(np.uint8), SCENE_CRS, CELL_SIZE_PX * PIXEL_SIZE_M, corner_m, 0)


def _write_settlements(
    scene: SampleScene,
    settlements: "Settlements",
    corner_m: tuple[float, float],
    size_px: int,
    rng: np.random.Generator,
) -> None:
    """Write the outlines of buildings and of lit areas."""
    import rasterio
    import shapely
    from pyogrio.raw import write
    from rasterio.features import shapes
    from rasterio.warp import transform

    from esdseg.sample.settlements import LIT_THRESHOLD, ground_light

    houses = outline_buildings(settlements.buildings, corner_m, rng)
    in_degrees = shapely.transform(
        houses, lambda xy: np.column_stack(transform(SCENE_CRS, "EPSG:4326", xy[:, 0], xy[:, 1]))
    )
    area = np.round(settlements.buildings.area_m2.astype(np.float64), 1)
    write(
        scene.buildings,
        shapely.to_wkb(in_degrees),
        [area],
        ["area_in_meters"],
        crs="EPSG:4326",
        geometry_type="Polygon",
        driver="GeoJSON",
    )
    lit = (ground_light(settlements.lamps, size_px) >= LIT_THRESHOLD).astype(np.uint8)
    place = rasterio.Affine(PIXEL_SIZE_M, 0.0, corner_m[0], 0.0, -PIXEL_SIZE_M, corner_m[1])
    outlines = [shapely.geometry.shape(found) for found, _ in shapes(lit, lit > 0, transform=place)]
    write(
        scene.lit,
        shapely.to_wkb(np.array(outlines, object)),
        [],
        [],
        crs=SCENE_CRS,
        geometry_type="Polygon",
        driver="GPKG",
        layer="lit",
    )


def outline_buildings(
    buildings: "Buildings", corner_m: tuple[float, float], rng: np.random.Generator
) -> npt.NDArray[np.object_]:
    """Return a turned rectangle for each building, in metres of :data:`SCENE_CRS`.

    A house that would stand across a border of label cells is moved to the side of its centre, so the labels
    are the same by centres and by outlines.
    """
    import shapely

    aspect = rng.uniform(1.0, 1.8, buildings.row.size)
    width = np.sqrt(buildings.area_m2 / aspect)
    reach = np.hypot(width, width * aspect) / 2 + HOUSE_MARGIN_M
    center = []
    for place in (buildings.column, buildings.row):
        metres = place.astype(np.float64) * PIXEL_SIZE_M
        cell = CELL_SIZE_PX * PIXEL_SIZE_M
        start = np.floor(metres / cell) * cell
        center.append(np.clip(metres, start + reach, start + cell - reach))
    angle = rng.uniform(0, np.pi, buildings.row.size)
    along = np.stack([np.cos(angle), np.sin(angle)]) * width * aspect / 2
    across = np.stack([-np.sin(angle), np.cos(angle)]) * width / 2
    corners = [sign * along + other * across for sign, other in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    ring = np.stack(corners, axis=1).transpose(2, 1, 0)
    origin = np.stack([corner_m[0] + center[0], corner_m[1] - center[1]], axis=1)
    return np.asarray(shapely.polygons(ring + origin[:, None]), object)
