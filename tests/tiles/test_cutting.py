import json
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from PIL import Image

from esdseg.config.cutting import CutConfig
from esdseg.config.loading import load_sensors
from esdseg.errors import InputDataError, UsageError
from esdseg.sensors.classes import CLASSES
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.checking import check_tiles
from esdseg.tiles.cutting import CutResult, cut, plan_cut
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.reading import read_georeference, read_ground_truth, read_raster
from tests.make_tiles import write_raster

ZONE = "EPSG:32736"
LEFT, TOP = 600_000, 8_600_000
RED = RasterName("sentinel2", date(2020, 8, 16), "B04")
RADAR = RasterName("sentinel1", date(2020, 8, 4), "VV")
CODES = np.random.default_rng(3).integers(1, 5, (40, 40)).astype(np.uint8)
"""Labels of 40 x 40 cells from the corner of the scenes."""


def noise(rows: int, columns: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 10_000, (rows, columns), dtype=np.uint16)


def at(left: float = LEFT, top: float = TOP, size: float = 10.0) -> Affine:
    return Affine(size, 0, left, 0, -size, top)


def red_light() -> npt.NDArray[np.uint16]:
    """Of 37 x 34 cells; nothing of cell (2, 20) was seen, and 40 % of cell (2, 22)."""
    red = noise(1850, 1700)
    red[100:150, 1000:1050] = 0
    red[120:150, 1100:1150] = 0
    return red


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red light of 37 x 34 cells in two granules, and radar of its western 8.5 cells alone."""
    folder = tmp_path_factory.mktemp("scenes")
    red = red_light()
    name = "T36LYH_20200816T074619_B04_10m.tif"
    write_raster(folder / name, red[:1000], ZONE, at())
    write_raster(folder / name.replace("LYH", "LYJ"), red[1000:], ZONE, at(top=TOP - 10_000))
    write_raster(folder / "S1A_IW_GRDH_20200804_VV.tif", noise(1850, 425, 1).astype(np.float32), ZONE, at())
    write_raster(folder / "labels.tif", CODES, ZONE, at(size=500.0))
    return folder


@pytest.fixture(scope="module")
def done(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> CutResult:
    output = tmp_path_factory.mktemp("cut") / "tiles"
    return cut(CutConfig(scenes=scenes, output=output, labels=scenes / "labels.tif", workers=1))


def test_tiles_are_the_scene_pixel_by_pixel(done: CutResult) -> None:
    tiles = find_tiles(done.plan.output)
    assert [tile.name for tile in tiles] == [f"Tile{number}" for number in range(1, 10)]
    seen = np.zeros((2400, 2400), np.uint16)
    for tile in tiles:
        reference = read_georeference(tile.rasters[RED])
        assert reference is not None
        assert rasterio.CRS.from_wkt(reference.crs_wkt).to_epsg() == 32736
        left, top = reference.transform[2], reference.transform[5]
        assert reference.transform == (10, 0, left, 0, -10, top)
        row, column = int(TOP - top) // 10, int(left - LEFT) // 10
        assert (row // 800) * 3 + column // 800 + 1 == int(tile.name.removeprefix("Tile"))
        seen[row : row + 800, column : column + 800] = read_raster(tile.rasters[RED])
    np.testing.assert_array_equal(seen[:1850, :1700], red_light())
    assert not seen[1850:].any()
    assert not seen[:, 1700:].any()


def test_a_tile_has_the_dates_of_which_anything_reaches_into_it(done: CutResult) -> None:
    tiles = {tile.name: tile for tile in find_tiles(done.plan.output)}
    assert [name for name, tile in tiles.items() if RADAR in tile.rasters] == ["Tile1", "Tile4", "Tile7"]
    radar = read_raster(tiles["Tile4"].rasters[RADAR])
    np.testing.assert_array_equal(radar[:, :425], noise(1850, 425, 1)[800:1600].astype(np.float32))
    assert np.isnan(radar[:, 425:]).all()
    assert tiles["Tile4"].rasters[RED].name == "L2A_20200816_B04.tif"


def test_labels_come_out_in_the_contests_form_where_anything_was_measured(done: CutResult) -> None:
    codes = np.zeros((48, 48), np.uint8)
    for tile in find_tiles(done.plan.output):
        number = int(tile.name.removeprefix("Tile")) - 1
        assert tile.ground_truth is not None
        labels = read_ground_truth(tile.ground_truth)
        codes[number // 3 * 16 :, number % 3 * 16 :][:16, :16] = np.where(labels == 255, 0, labels + 1)
        with rasterio.open(tile.ground_truth) as file:
            assert (file.dtypes, file.res) == (("uint16",), (500, 500))
    expected = np.zeros_like(codes)
    expected[:37, :34] = CODES[:37, :34]
    expected[2, [20, 22]] = 0
    np.testing.assert_array_equal(codes, expected)
    counts = {code: np.count_nonzero(codes == code) for code in range(5)}
    assert done.code_counts == counts
    picture = np.asarray(Image.open(done.plan.output / "Tile1" / "groundTruthRGB.png"))
    assert picture.shape == (800, 800, 3)
    assert tuple(picture[75, 125]) == CLASSES[CODES[1, 2] - 1].rgb


def test_what_was_cut_passes_the_check(done: CutResult) -> None:
    report = check_tiles(done.plan.output, workers=1)
    assert {problem.kind for problem in report.problems} <= {"missing", "unlabelled"}
    assert all(tile.georeferenced for tile in report.tiles)


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(
    scenes: Path, done: CutResult, tmp_path: Path
) -> None:
    config = CutConfig(scenes=scenes, output=tmp_path / "tiles", labels=scenes / "labels.tif", workers=1)

    def stop(name: str, number: int, total: int) -> None:
        assert total == 9
        if number == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut(config, on_tile=stop)
    # What a killed process leaves behind: a tile half written, and its lock.
    (tmp_path / "tiles" / ".Tile6.part").mkdir()
    (tmp_path / "tiles" / ".Tile6.part" / "L2A_20200816_B04.tif").write_bytes(b"II*")
    (tmp_path / "tiles" / ".lock").write_text("process 1")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").glob("Tile[1-4]/*")}
    again = cut(config)
    assert again.plan.kept == {"Tile1", "Tile2", "Tile3", "Tile4"}
    assert again.written == ("Tile5", "Tile6", "Tile7", "Tile8", "Tile9")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.code_counts == done.code_counts
    files = {path.relative_to(done.plan.output) for path in done.plan.output.rglob("*")}
    assert {path.relative_to(config.output) for path in config.output.rglob("*")} == files
    for path in files:
        if path.suffix:
            assert (config.output / path).read_bytes() == (done.plan.output / path).read_bytes()


def test_tiles_of_other_settings_or_scenes_are_refused(scenes: Path, done: CutResult, tmp_path: Path) -> None:
    output = done.plan.output
    with pytest.raises(UsageError, match="another run: other area, overlap, labels; choose another folder"):
        plan_cut(CutConfig(scenes=scenes, output=output, overlap=2))
    (tmp_path / "Tile1").mkdir()
    with pytest.raises(UsageError, match="that `esdseg cut` did not write"):
        plan_cut(CutConfig(scenes=scenes, output=tmp_path))
    with pytest.raises(UsageError, match="is a file"):
        plan_cut(CutConfig(scenes=scenes, output=scenes / "labels.tif"))


def test_tiles_overlap_by_cells(scenes: Path, tmp_path: Path) -> None:
    area = f"{LEFT},{TOP - 8000},{LEFT + 14_000},{TOP}"
    config = CutConfig(
        scenes=scenes, output=tmp_path / "tiles", crs=ZONE, area=area, overlap=4, labels=scenes / "labels.tif"
    )
    plan = plan_cut(config)
    assert [(tile.row, tile.column) for tile in plan.tiles] == [(0, 0), (0, 12)]
    assert any("share 4 cells" in warning for warning in plan.warnings)


def test_a_threshold_below_the_darkness_of_the_lights_is_told(scenes: Path, tmp_path: Path) -> None:
    light = np.full((40, 40), 1.0, np.float32)
    light[:5, :5] = 30.0
    lights = write_raster(tmp_path / "lights.tif", light, ZONE, at(size=500.0))
    houses = tmp_path / "houses.csv"
    houses.write_text("longitude,latitude\n33.93,-12.67\n")
    sources = {"buildings": houses, "lights": lights}
    low = plan_cut(CutConfig(scenes=scenes, output=tmp_path / "tiles", **sources))
    assert any("calls 100% of the cells lit" in warning for warning in low.warnings)
    high = plan_cut(CutConfig(scenes=scenes, output=tmp_path / "tiles", light_threshold=2.0, **sources))
    assert high.warnings == ()
    assert high.labels is not None
    assert np.count_nonzero(high.labels >= 3) == 25


def test_tiles_without_scenes_or_outside_the_polygon_are_left_out(tmp_path: Path) -> None:
    scene = np.zeros((2400, 2400), np.uint16)
    scene[:800, :1600] = 5
    write_raster(tmp_path / "T36LYH_20200816T074619_B04_10m.tif", scene, ZONE, at())
    triangle = [[0, 0], [23_000, 0], [0, -23_000], [0, 0]]
    ring = [[LEFT + x, TOP + y] for x, y in triangle]
    content = {
        "type": "Polygon",
        "coordinates": [ring],
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32736"}},
    }
    (tmp_path / "area.geojson").write_text(json.dumps(content))
    config = CutConfig(
        scenes=tmp_path, output=tmp_path / "tiles", area=str(tmp_path / "area.geojson"), workers=1
    )
    assert [(tile.row, tile.column) for tile in plan_cut(config).tiles] == [
        (0, 0), (0, 16), (0, 32), (16, 0), (16, 16), (32, 0)
    ]  # fmt: skip
    result = cut(config)
    assert result.written == ("Tile1", "Tile2")
    assert result.empty == ("Tile3", "Tile4", "Tile5", "Tile6")
    assert sorted(path.name for path in config.output.iterdir()) == ["Tile1", "Tile2", "cut.json"]
    nothing = CutConfig(
        scenes=tmp_path, output=tmp_path / "none", crs=ZONE, area="600000,8576000,608000,8584000", workers=1
    )
    with pytest.raises(InputDataError, match="Nothing was measured in the area"):
        cut(nothing)


def test_bands_of_one_date_keep_the_types_of_their_files(tmp_path: Path) -> None:
    bands: dict[str, npt.NDArray[np.generic]] = {
        "B4": noise(800, 800),
        "B5": noise(800, 800, 1).astype(np.float32),
    }
    for band, values in bands.items():
        write_raster(tmp_path / f"LC08_L1TP_2020-08-30_{band}.tif", values, ZONE, at())
    cut(CutConfig(scenes=tmp_path, output=tmp_path / "tiles", workers=1))
    (tile,) = find_tiles(tmp_path / "tiles")
    for name, path in tile.rasters.items():
        found = read_raster(path)
        assert found.dtype == bands[name.band].dtype
        np.testing.assert_array_equal(found, bands[name.band])


def test_bands_that_lie_in_different_files_are_all_cut(tmp_path: Path) -> None:
    description = tmp_path / "sensors.yml"
    description.write_text(
        "sensors:\n  planet:\n    title: Planet\n    kind: optical\n    dtypes: [uint16]\n"
        "    conversion: none\n    fill_value: 0\n"
        "    files: [{name: 'A_{date:%Y%m%d}', bands: [B2, B3]}, {name: 'C_{date:%Y%m%d}', bands: [B4]}]\n"
        "    bands: {B2: {native_size_m: 10}, B3: {native_size_m: 10}, B4: {native_size_m: 10}}\n"
    )
    bands = np.stack([noise(800, 800, seed) for seed in range(3)])
    write_raster(tmp_path / "A_20230101.tif", bands[:2], ZONE, at())
    write_raster(tmp_path / "C_20230101.tif", bands[2], ZONE, at())
    cut(CutConfig(scenes=tmp_path, output=tmp_path / "tiles", sensors=description, workers=1))
    sensors = load_sensors(description)
    (tile,) = find_tiles(tmp_path / "tiles", sensors)
    assert [name.band for name in tile.rasters] == ["B2", "B3", "B4"]
    assert [path.name for path in tile.rasters.values()] == ["A_20230101.tif"] * 2 + ["C_20230101.tif"]
    for (name, path), values in zip(tile.rasters.items(), bands, strict=True):
        np.testing.assert_array_equal(read_raster(path, sensors, name.band), values)
    tile.rasters[RasterName("planet", date(2023, 1, 1), "B4")].unlink()
    (problem,) = check_tiles(tmp_path / "tiles", sensors=sensors, workers=1).problems
    assert (problem.file, problem.kind) == ("C_20230101.tif", "missing")


def test_ground_that_was_not_measured_stays_no_data_without_a_fill_value(tmp_path: Path) -> None:
    description = tmp_path / "sensors.yml"
    description.write_text(
        "sensors:\n  planet:\n    title: Planet\n    kind: optical\n    dtypes: [uint16]\n"
        "    conversion: none\n    files: ['P_{date:%Y%m%d}_{band}']\n    bands: {R: {native_size_m: 10}}\n"
    )
    values = noise(800, 1000)
    values[:200] = 65_535
    path = write_raster(tmp_path / "P_20230101_R.tif", values, ZONE, at())
    with rasterio.open(path, "r+") as file:
        file.nodata = 65_535
    write_raster(tmp_path / "labels.tif", np.full((16, 20), 2, np.uint8), ZONE, at(size=500.0))
    labels, output = tmp_path / "labels.tif", tmp_path / "tiles"
    result = cut(CutConfig(scenes=tmp_path, output=output, sensors=description, labels=labels, workers=1))
    assert result.code_counts[2] == 12 * 20
    sensors = load_sensors(description)
    tiles = find_tiles(output, sensors)
    read = [read_raster(path, sensors) for tile in tiles for path in tile.rasters.values()]
    expected = np.full((800, 1600), np.nan, np.float32)
    expected[200:, :1000] = values[200:]
    np.testing.assert_array_equal(np.hstack(read), expected)


def test_files_of_several_bands_are_written_as_they_are_described(tmp_path: Path) -> None:
    description = tmp_path / "sensors.yml"
    description.write_text(
        "sensors:\n  planet:\n    title: Planet\n    kind: optical\n    dtypes: [uint16]\n"
        "    conversion: none\n    fill_value: 0\n    file_scale: true\n"
        "    files: [{name: 'P_{tile:x}_{date:%Y%m%d}', bands: [R, G]}]\n"
        "    bands: {R: {native_size_m: 5}, G: {native_size_m: 5}}\n"
    )
    bands = np.stack([noise(800, 800), noise(800, 800, 1)])
    path = write_raster(tmp_path / "P_1_20230101.tif", bands, ZONE, at())
    with rasterio.open(path, "r+") as file:
        file.scales = (0.5, 0.25)
    cut(CutConfig(scenes=tmp_path, output=tmp_path / "tiles", sensors=description, workers=1))
    sensors = load_sensors(description)
    (tile,) = find_tiles(tmp_path / "tiles", sensors)
    assert [path.name for path in {*tile.rasters.values()}] == ["P_x_20230101.tif"]
    for name, values, scale in zip(tile.rasters, bands, (0.5, 0.25), strict=True):
        read = read_raster(tile.rasters[name], sensors, name.band)
        np.testing.assert_array_equal(read, values * np.float32(scale))
