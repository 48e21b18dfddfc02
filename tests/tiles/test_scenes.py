import pickle
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform, transform_bounds

from esdseg.errors import InputDataError, UsageError
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.area import CellGrid, choose_grid
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.reading import TileFileError, read_raster
from esdseg.tiles.scenes import SceneReader, find_scenes
from tests.make_tiles import write_raster, write_tile
from tests.tiles.conftest import FEW_DATES, own_sensor

RED = RasterName("sentinel2", date(2020, 8, 16), "B04")
RED_FILE = "T36LYH_20200816T074619_B04_10m.tif"
ZONE = rasterio.CRS.from_epsg(32736).to_wkt()
LEFT, TOP = 600_000, 8_600_000


def noise(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 10_000, (rows, columns), dtype=np.uint16)


def at(left: float = LEFT, top: float = TOP, size: float = 10.0) -> Affine:
    return Affine(size, 0, left, 0, -size, top)


def read(folder: Path, name: RasterName, grid: CellGrid) -> npt.NDArray[np.generic]:
    with SceneReader(find_scenes(folder)) as reader:
        return reader.read(name, grid)


def test_files_of_one_date_lie_side_by_side_in_any_folder(tmp_path: Path) -> None:
    west = write_raster(tmp_path / RED_FILE, noise(100, 100), "EPSG:32736", at())
    inner = tmp_path / "S2A.SAFE" / "GRANULE" / "IMG_DATA"
    inner.mkdir(parents=True)
    east = write_raster(
        inner / RED_FILE.replace("LYH", "LZH"), noise(100, 100, 1), "EPSG:32736", at(LEFT + 1000)
    )
    (tmp_path / "groundTruth.tif").touch()
    scenes = find_scenes(tmp_path)
    assert {name: set(paths) for name, paths in scenes.rasters.items()} == {RED: {west, east}}
    assert pickle.loads(pickle.dumps(scenes)) == scenes
    grid = choose_grid(scenes)
    assert grid == CellGrid(ZONE, LEFT, TOP, rows=2, columns=4)
    values = read(tmp_path, RED, grid)
    np.testing.assert_array_equal(values, np.hstack([noise(100, 100), noise(100, 100, 1)]))


def test_parts_of_a_scene_are_the_scene_pixel_by_pixel(tmp_path: Path) -> None:
    whole = noise(420, 310)
    write_raster(tmp_path / RED_FILE, whole, "EPSG:32736", at(LEFT + 120, TOP - 230))
    scenes = find_scenes(tmp_path)
    grid = choose_grid(scenes)
    assert grid.bounds == (LEFT, TOP - 4500, LEFT + 3500, TOP)
    seen = np.zeros((grid.rows * 50, grid.columns * 50), np.uint16)
    with SceneReader(scenes) as reader:
        for row in range(grid.rows):
            for column in range(0, grid.columns, 2):
                part = reader.read(RED, grid.part(row, column, 1, 2))
                into = seen[row * 50 : row * 50 + 50, column * 50 : column * 50 + 100]
                into[...] = part[:, : into.shape[1]]
    np.testing.assert_array_equal(seen[23:443, 12:322], whole)
    seen[23:443, 12:322] = 0
    assert not seen.any()


def test_a_folder_of_tiles_reads_as_scenes_as_it_does_as_tiles(tmp_path: Path) -> None:
    write_tile(tmp_path / "Tile1", dates=FEW_DATES, crs="EPSG:32736")
    (tile,) = find_tiles(tmp_path)
    scenes = find_scenes(tmp_path)
    grid = choose_grid(scenes)
    assert (grid.rows, grid.columns) == (16, 16)
    assert set(scenes.rasters) == set(tile.rasters)
    with SceneReader(scenes) as reader:
        for name, path in tile.rasters.items():
            values = reader.read(name, grid)
            expected = read_raster(path)
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected)


def test_tiles_off_the_usual_lattice_keep_their_own_cells(tmp_path: Path) -> None:
    for number, left in (("1", 600_123.0), ("2", 612_123.0)):
        (tmp_path / number).mkdir()
        write_raster(tmp_path / number / RED_FILE, noise(800, 800), "EPSG:32736", at(left, 8_600_007))
    assert choose_grid(find_scenes(tmp_path)).bounds == (600_123, 8_592_007, 620_123, 8_600_007)


def test_another_reference_system_is_looked_up_by_nearest_neighbour(tmp_path: Path) -> None:
    """Against PROJ's place of each pixel's centre, and against rasterio's own reprojection."""
    scene, place = noise(300, 1000), at(-60_000, TOP)
    write_raster(tmp_path / RED_FILE, scene, "EPSG:32737", place)
    grid = choose_grid(find_scenes(tmp_path), crs="EPSG:32736").part(3, 2, 2, 16)
    values = read(tmp_path, RED, grid)
    rows, columns = np.mgrid[:100, :800] + 0.5
    x, y = grid.left_m + columns.ravel() * 10, grid.top_m - rows.ravel() * 10
    column, row = ~place @ np.array(transform("EPSG:32736", "EPSG:32737", x, y))
    is_clear = (np.abs(column - column.round()) > 0.002) & (np.abs(row - row.round()) > 0.002)
    expected = scene[np.floor(row).astype(int), np.floor(column).astype(int)]
    assert is_clear.mean() > 0.98
    np.testing.assert_array_equal(values.ravel()[is_clear], expected[is_clear])
    own = np.zeros((100, 800), np.uint16)
    reproject(
        scene,
        own,
        src_transform=place,
        src_crs="EPSG:32737",
        dst_transform=Affine(*grid.georeference.transform),
        dst_crs="EPSG:32736",
        resampling=Resampling.nearest,
    )
    # It allows itself an eighth of a pixel.
    assert (values == own).mean() > 0.98


def test_scenes_of_two_zones_across_the_equator_meet_without_a_gap(tmp_path: Path) -> None:
    """A field of longitude and latitude, seen by one raster in zone 36 north and one in zone 37 south."""

    def field(epsg: str, place: Affine) -> npt.NDArray[np.uint16]:
        columns, rows = np.meshgrid(np.arange(500) + 0.5, np.arange(500) + 0.5)
        x, y = place @ (columns.ravel(), rows.ravel())
        longitude, latitude = transform(epsg, "EPSG:4326", x, y)
        values = 30_000 + 40_000 * (np.array(longitude) - 36) + 90_000 * np.array(latitude)
        return values.reshape(500, 500).astype(np.uint16)

    # Both hold the corner where the zones' border, 36 degrees east, meets the equator.
    corner_36 = transform("EPSG:4326", "EPSG:32636", [36], [0])
    corner_37 = transform("EPSG:4326", "EPSG:32737", [36], [0])
    north = at(corner_36[0][0] - 4500, 2500)
    south = at(corner_37[0][0] - 500, 10_002_500)
    write_raster(tmp_path / RED_FILE, field("EPSG:32636", north), "EPSG:32636", north)
    write_raster(
        tmp_path / RED_FILE.replace("36LYH", "37MBV"), field("EPSG:32737", south), "EPSG:32737", south
    )
    scenes = find_scenes(tmp_path)
    grid = choose_grid(scenes, area="35.98,-0.02,36.03,0.02")
    assert rasterio.CRS.from_wkt(grid.crs_wkt).to_epsg() == 32637
    values = read(tmp_path, RED, grid).astype(int)
    expected = np.zeros_like(values)
    columns, rows = np.meshgrid(np.arange(values.shape[1]) + 0.5, np.arange(values.shape[0]) + 0.5)
    x, y = Affine(*grid.georeference.transform) @ (columns.ravel(), rows.ravel())
    longitude, latitude = (np.array(degrees) for degrees in transform(grid.crs_wkt, "EPSG:4326", x, y))
    expected = (30_000 + 40_000 * (longitude - 36) + 90_000 * latitude).reshape(values.shape)
    assert values.all()
    # Half a pixel is 4 by its longitude and 8 by its latitude.
    assert np.abs(values - expected).max() < 14


def test_night_lights_in_degrees_fill_the_area_but_do_not_choose_it(tmp_path: Path) -> None:
    write_raster(tmp_path / RED_FILE, noise(100, 100), "EPSG:32736", at())
    lights = noise(2400, 2400)
    night = RasterName("viirs", date(2020, 8, 8), "DNB")
    place = Affine(1 / 240, 0, 30, 0, -1 / 240, -10)
    write_raster(tmp_path / "VNP46A1.A2020221.h21v10.001.tif", lights, "EPSG:4326", place)
    grid = choose_grid(find_scenes(tmp_path))
    assert (grid.rows, grid.columns) == (2, 2)
    x, y = grid.left_m + 505.0, grid.top_m - 705.0
    column, row = ~place @ np.array(transform("EPSG:32736", "EPSG:4326", [x], [y])).ravel()
    assert read(tmp_path, night, grid)[70, 50] == lights[int(row), int(column)]


def test_of_several_pixel_sizes_the_finest_is_read_where_it_measured(tmp_path: Path) -> None:
    fine, coarse = noise(100, 100), np.full((50, 50), 7, np.uint16)
    fine[:, 60:] = 0
    write_raster(tmp_path / RED_FILE.replace("36LYH", "36LAA"), coarse, "EPSG:32736", at(size=20.0))
    write_raster(tmp_path / RED_FILE, fine, "EPSG:32736", at())
    scenes = find_scenes(tmp_path)
    values = read(tmp_path, RED, choose_grid(scenes))
    np.testing.assert_array_equal(values[:, :60], fine[:, :60])
    assert np.all(values[:, 60:] == 7)


def test_pixels_in_degrees_and_in_metres_are_compared_on_the_ground(tmp_path: Path) -> None:
    (longitude,), (latitude,) = transform("EPSG:32736", "EPSG:4326", [LEFT], [TOP])
    coarse = np.full((60, 60), 7, np.uint16)
    place = Affine(0.00036, 0, longitude - 0.005, 0, -0.00036, latitude + 0.005)
    write_raster(tmp_path / RED_FILE.replace("36LYH", "36LAA"), coarse, "EPSG:4326", place)
    write_raster(tmp_path / RED_FILE, noise(100, 100), "EPSG:32736", at())
    grid = CellGrid(ZONE, LEFT, TOP, rows=2, columns=2)
    np.testing.assert_array_equal(read(tmp_path, RED, grid), noise(100, 100))


def test_where_nothing_was_measured_is_no_data_of_the_type(tmp_path: Path) -> None:
    radar = np.full((50, 100), 0.25, np.float32)
    write_raster(tmp_path / "S1A_IW_GRDH_20200804_VV.tif", radar, "EPSG:32736", at())
    with rasterio.open(tmp_path / "S1A_IW_GRDH_20200804_VV.tif", "r+") as tagged:
        tagged.write(np.full((1, 50, 10), -1, np.float32), window=((0, 50), (0, 10)))
        tagged.nodata = -1
    write_raster(tmp_path / RED_FILE, noise(50, 100), "EPSG:32736", at(LEFT + 500))
    scenes = find_scenes(tmp_path)
    grid = choose_grid(scenes)
    assert (grid.rows, grid.columns) == (1, 3)
    with SceneReader(scenes) as reader:
        power = reader.read(RasterName("sentinel1", date(2020, 8, 4), "VV"), grid)
        assert power.dtype == np.float32
        assert np.isnan(power[:, :10]).all()
        assert np.isnan(power[:, 100:]).all()
        assert np.all(power[:, 10:100] == np.float32(0.25))
        assert not reader.read(RED, grid)[:, :50].any()
        assert reader.dates("sentinel2", grid.part(0, 0, 1, 1)) == ()
        assert reader.dates("sentinel2", grid.part(0, 1, 1, 1)) == (RED.acquired,)
        assert reader.dates("sentinel1", grid) == (date(2020, 8, 4),)


@pytest.mark.parametrize("crs", ["EPSG:32736", "EPSG:32735"], ids=["read as it lies", "warped"])
def test_ground_beyond_a_scene_is_no_data_of_sensors_without_a_fill_value(tmp_path: Path, crs: str) -> None:
    values = noise(100, 100)
    values[:50, :50] = 65_535
    path = write_raster(tmp_path / "X_20200811_B2.tif", values, "EPSG:32736", at())
    with rasterio.open(path, "r+") as file:
        file.nodata = 65_535
    scenes = find_scenes(tmp_path, own_sensor())
    grid = choose_grid(scenes, crs)
    name = RasterName("own", date(2020, 8, 11), "B2")
    with SceneReader(scenes) as reader:
        found = reader.read(name, grid)
        assert np.isfinite(found).sum() == pytest.approx(7500, rel=0.02)
        assert set(found[np.isfinite(found)].tolist()) <= set(noise(100, 100).ravel().tolist())
        assert reader.dates("own", grid) == (date(2020, 8, 11),)
        assert reader.dates("own", grid.part(0, 4, 1, 1)) == ()
        if crs == "EPSG:32736":
            np.testing.assert_array_equal(found, np.where(values == 65_535, np.nan, values))
            assert reader.dates("own", grid.part(0, 0, 1, 1)) == ()
            measured = reader.read(name, grid.part(1, 0, 1, 2))
            assert measured.dtype == np.uint16
            np.testing.assert_array_equal(measured, values[50:])


def test_bands_of_one_file_are_told_apart(tmp_path: Path) -> None:
    from esdseg.config.loading import load_sensors

    description = tmp_path / "sensors.yml"
    description.write_text(
        "sensors:\n  planet:\n    title: Planet\n    kind: optical\n    dtypes: [uint16]\n"
        "    conversion: none\n    fill_value: 0\n"
        "    files: [{name: 'P_{date:%Y%m%d}', bands: [R, G]}]\n"
        "    bands: {R: {native_size_m: 5}, G: {native_size_m: 5}}\n"
    )
    both = np.stack([noise(100, 100), noise(100, 100, 1)])
    write_raster(tmp_path / "P_20230101.tif", both, "EPSG:32736", at(size=5.0))
    scenes = find_scenes(tmp_path, load_sensors(description))
    with SceneReader(scenes, "average") as reader:
        for band, values in zip("RG", both, strict=True):
            name = RasterName("planet", date(2023, 1, 1), band)
            mean = values.reshape(50, 2, 50, 2).mean(axis=(1, 3))
            assert np.abs(reader.read(name, choose_grid(scenes)) - mean).max() <= 0.5


def test_the_zone_is_that_of_the_middle_even_across_180_degrees(tmp_path: Path) -> None:
    for longitude in (-178.9, 179.3):
        name = f"T{'60KWF' if longitude > 0 else '01KAB'}_20200816T074619_B04_10m.tif"
        write_raster(tmp_path / name, noise(50, 50), "EPSG:4326", Affine(1e-4, 0, longitude, 0, -1e-4, -17))
    assert rasterio.CRS.from_wkt(choose_grid(find_scenes(tmp_path)).crs_wkt).to_epsg() == 32701


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_raster(folder / RED_FILE, noise(200, 200), "EPSG:32736", at())
    return folder


def test_an_area_is_bounds_or_polygons(small: Path, tmp_path: Path) -> None:
    import json

    scenes = find_scenes(small)
    whole = choose_grid(scenes)
    in_metres = choose_grid(
        scenes, crs="EPSG:32736", area=f"{LEFT + 600},{TOP - 1400},{LEFT + 900},{TOP - 600}"
    )
    assert in_metres == whole.part(1, 1, 2, 1)
    bounds = transform_bounds("EPSG:32736", "EPSG:4326", LEFT + 600, TOP - 1400, LEFT + 900, TOP - 600)
    assert choose_grid(scenes, area=",".join(map(str, bounds))) == in_metres
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    drawn = tmp_path / "area.geojson"
    drawn.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert choose_grid(scenes, area=str(drawn)) == in_metres


@pytest.mark.parametrize(
    ("crs", "area", "said"),
    [
        ("EPSG:4326", None, "in degrees; cells of 500 m need metres"),
        ("EPSG:2225", None, "in units of US survey foot"),
        ("EPSG:3857", None, "leave --crs away"),
        ("zone 36", None, "no reference system that PROJ knows"),
        (None, "33.9,-12.6,33.8,-12.7", "empty"),
        (None, "600000,8590000,601000,8600000", "give --crs too"),
        (None, "1,2,3", "four numbers"),
    ],
)
def test_a_grid_that_can_never_be_is_refused(
    small: Path, crs: str | None, area: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        choose_grid(find_scenes(small), crs, area)


def test_an_area_outside_names_what_the_scenes_cover(small: Path) -> None:
    # The same whatever zone the area lies in.
    for area in ("10,10,11,11", "33,-13,33.1,-12.9", "179,-13,179.1,-12.9"):
        with pytest.raises(InputDataError, match=r"which cover 33\.9209,-12\.6807,33\.9394,-12\.6625\."):
            choose_grid(find_scenes(small), area=area)
    with pytest.raises(InputDataError, match="is no file"):
        choose_grid(find_scenes(small), area="malawi.gpkg")


def test_folders_without_scenes_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        find_scenes(tmp_path / "absent")
    (tmp_path / "S2A_MSIL2A.SAFE.zip").touch()
    with pytest.raises(InputDataError, match=r"Unpack .*SAFE\.zip"):
        find_scenes(tmp_path)


def test_rasters_that_lie_nowhere_are_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / RED_FILE, noise(50, 50))
    with pytest.raises(TileFileError, match=r"1 of 1 rasters .* do not.*esdseg preprocess"):
        choose_grid(find_scenes(tmp_path))


def test_rasters_on_a_local_grid_are_refused_as_those_that_lie_nowhere(tmp_path: Path) -> None:
    local = 'LOCAL_CS["a building site", UNIT["metre", 1]]'
    write_raster(tmp_path / RED_FILE, noise(50, 50), local, at())
    with pytest.raises(TileFileError, match=r"does not say where it lies \(1 of 1 rasters"):
        choose_grid(find_scenes(tmp_path))
    with pytest.raises(TileFileError, match="does not say where it lies, and a scene must"):
        read(tmp_path, RED, CellGrid(ZONE, LEFT, TOP, rows=1, columns=1))


def test_pixels_that_lie_on_the_grid_are_read_as_warping_gives_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (130, 170)).astype(np.uint16) * 400
    place = at(LEFT + 180, TOP + 120)
    path = write_raster(tmp_path / RED_FILE, values, "EPSG:32736", place)
    with rasterio.open(path, "r+") as file:
        file.nodata = 400
    grid = CellGrid(ZONE, LEFT, TOP, 2, 3)

    found = read(tmp_path, RED, grid)

    expected = np.full((100, 150), 400, np.uint16)
    reproject(
        values,
        expected,
        src_transform=place,
        src_crs=ZONE,
        src_nodata=400,
        dst_transform=at(),
        dst_crs=ZONE,
        dst_nodata=400,
        resampling=Resampling.nearest,
    )
    np.testing.assert_array_equal(found, np.where(expected == 400, 0, expected))
    shown = values[12:112, :132]
    np.testing.assert_array_equal(found[:, 18:], np.where(shown == 400, 0, shown))
    assert (found[:, :18] == 0).all()
