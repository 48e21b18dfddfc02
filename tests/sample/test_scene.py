import json
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.warp import transform

from esdseg.errors import UsageError
from esdseg.sample.scene import SCENE_CRS, SampleScene, scene_corner_m, write_sample_scene
from tests.contest import CONTEST

SIZE_KM = 8.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SampleScene:
    return write_sample_scene(tmp_path_factory.mktemp("sample") / "scene", seed=5, size_km=SIZE_KM)


def rasters_of(scene: SampleScene) -> dict[tuple[str, date, str], list[Path]]:
    found = defaultdict(list)
    for path in sorted(scene.scenes.rglob("*.[tT][iI][fF]")):
        (name,) = CONTEST.read_file_name(path.name)
        found[name.sensor, name.acquired, name.band].append(path)
    return found


def values_at(path: Path, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with rasterio.open(path) as file:
        return np.array([value[0] for value in file.sample(np.column_stack([x, y]))], np.float64)


def points(number: int = 1500) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    left, top = scene_corner_m(5, SIZE_KM)
    across, down = np.random.default_rng(0).uniform(100, SIZE_KM * 1000 - 100, (2, number))
    return left + across, top - down


def test_every_raster_has_a_name_that_the_contests_description_knows(scene: SampleScene) -> None:
    rasters = rasters_of(scene)
    for sensor in CONTEST.all:
        days = {day for name, day, _ in rasters if name == sensor.name}
        assert len(days) > 1
        for day in days:
            assert {band for name, on, band in rasters if (name, on) == (sensor.name, day)} == {*sensor.bands}
    assert {day.year for _, day, _ in rasters} == {2021}


def test_sensors_are_delivered_in_their_own_pixels_and_extents(scene: SampleScene) -> None:
    left, top = scene_corner_m(5, SIZE_KM)
    for (sensor, _, band), paths in rasters_of(scene).items():
        native = CONTEST.sensor(sensor).band(band).native_size_m
        extents = []
        for path in paths:
            with rasterio.open(path) as file:
                assert file.crs == rasterio.CRS.from_string("EPSG:4326" if sensor == "viirs" else SCENE_CRS)
                assert file.res == pytest.approx((1 / 240,) * 2 if sensor == "viirs" else (native, native))
                extents.append(file.bounds)
        if sensor == "viirs":
            continue
        width = max(right for _, _, right, _ in extents) - left
        expected = SIZE_KM * 1000 * (2 / 3 if sensor == "sentinel1" else 1)
        assert width == pytest.approx(expected, abs=2 * native)
        assert max(up for *_, up in extents) == top + (15 if sensor == "landsat8" else 0)


def test_all_sensors_see_the_same_ground(scene: SampleScene) -> None:
    rasters, (x, y) = rasters_of(scene), points()
    red = np.max([values_at(path, x, y) for path in rasters["sentinel2", date(2021, 8, 6), "B04"]], axis=0)
    coarse = np.max(
        [values_at(path, x, y) for path in rasters["sentinel2", date(2021, 8, 26), "B05"]], axis=0
    )
    (landsat,) = (values_at(path, x, y) for path in rasters["landsat8", date(2021, 8, 17), "B4"])
    assert red.min() > 0
    assert np.corrcoef(red, coarse)[0, 1] > 0.8
    assert np.corrcoef(red, landsat)[0, 1] > 0.7
    (path,) = rasters["landsat8", date(2021, 8, 17), "B4"]
    shifts = [(east, north) for east in (-30, 0, 30) for north in (-30, 0, 30)]
    alike = [np.corrcoef(red, values_at(path, x + east, y + north))[0, 1] for east, north in shifts]
    assert shifts[int(np.argmax(alike))] == (0, 0)
    for name in ("sentinel2", date(2021, 8, 6), "B04"), ("sentinel2", date(2021, 8, 16), "B09"):
        west, east = (values_at(path, x, y) for path in rasters[name])
        both = (west > 0) & (east > 0)
        assert 0.05 < both.mean() < 0.15
        np.testing.assert_array_equal(west[both], east[both])


def test_lamps_shine_where_the_lit_areas_are(scene: SampleScene) -> None:
    _, _, outlines, _ = pyogrio.raw.read(scene.lit)
    center = shapely.union_all(shapely.from_wkb(outlines)).representative_point()
    longitude, latitude = (
        np.array(degrees) for degrees in transform(SCENE_CRS, "EPSG:4326", [center.x], [center.y])
    )
    night = next(path for path in scene.scenes.rglob("VNP46A1.A2021217*"))
    with rasterio.open(night) as file:
        assert values_at(night, longitude, latitude)[0] > np.median(file.read(1)) + 2


def test_the_truth_follows_from_outlines_and_lit_areas_by_the_contests_rule(scene: SampleScene) -> None:
    with rasterio.open(scene.truth) as file:
        truth, (left, _, _, top) = file.read(1), file.bounds
    row, column = np.mgrid[:16, :16]
    cells = shapely.box(
        left + column * 500, top - row * 500 - 500, left + column * 500 + 500, top - row * 500
    )
    meta, _, houses, _ = pyogrio.raw.read(scene.buildings)
    assert meta["crs"] == "EPSG:4326"

    def to_metres(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transform("EPSG:4326", SCENE_CRS, xy[:, 0], xy[:, 1]))

    _, _, lit, _ = pyogrio.raw.read(scene.lit)
    touched = []
    for shapes in (shapely.transform(shapely.from_wkb(houses), to_metres), shapely.from_wkb(lit)):
        tree = shapely.STRtree(shapes)
        cell, shape = tree.query(cells.ravel())
        area = shapely.area(shapely.intersection(cells.ravel()[cell], shapes[shape]))
        touched.append(np.isin(np.arange(256), cell[area > 1e-6]).reshape(16, 16))
    has_house, is_lit = touched
    np.testing.assert_array_equal(
        truth, np.where(is_lit, np.where(has_house, 3, 4), np.where(has_house, 1, 2))
    )
    assert np.all(np.bincount(truth.ravel(), minlength=5)[1:] > 0)


def test_other_dates_see_the_same_land_under_another_sky(scene: SampleScene, tmp_path: Path) -> None:
    dates = tmp_path / "dates.yml"
    dates.write_text(
        "viirs: [2023-05-04]\nsentinel1: [2023-05-05]\nlandsat8: [2023-05-07]\n"
        "sentinel2: [2023-05-06, {date: 2023-05-11, sky: cloudy}]\n"
    )
    later = write_sample_scene(tmp_path / "later", seed=5, size_km=SIZE_KM, dates=dates)
    assert later.truth.read_bytes() == scene.truth.read_bytes()
    assert later.buildings.read_bytes() == scene.buildings.read_bytes()
    (x, y), band = points(), "B04"
    before, after = (
        np.max([values_at(path, x, y) for path in rasters_of(of)["sentinel2", day, band]], axis=0)
        for of, day in ((scene, date(2021, 8, 6)), (later, date(2023, 5, 6)))
    )
    assert np.corrcoef(before, after)[0, 1] > 0.85
    # Products of 2023 have an offset of 1000 added to their values.
    assert 700 < np.median(after) - np.median(before) < 1300


def test_the_scene_of_the_next_seed_lies_east_of_it() -> None:
    (left, top), (next_left, next_top) = (scene_corner_m(seed, 40.0) for seed in (0, 1))
    assert (next_left - left, next_top) == (40_000, top)


def test_a_scene_is_kept_or_its_folder_refused(scene: SampleScene, tmp_path: Path) -> None:
    before = scene.truth.stat().st_mtime_ns
    write_sample_scene(scene.folder, seed=5, size_km=SIZE_KM)
    assert scene.truth.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="of other settings; choose another folder"):
        write_sample_scene(scene.folder, seed=6, size_km=SIZE_KM)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="something else than a sample scene"):
        write_sample_scene(tmp_path, seed=0, size_km=SIZE_KM)
    for size in (7.5, 8.3, 200.0):
        with pytest.raises(UsageError, match="8 to 100 km"):
            write_sample_scene(tmp_path / "new", seed=0, size_km=size)
    assert json.loads((scene.folder / "scene.json").read_text())["seed"] == 5
    assert not list(tmp_path.glob(".*"))
