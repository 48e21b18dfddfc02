import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from scipy.spatial import cKDTree

from esdseg.errors import UsageError
from esdseg.sample.dates import contest_dates
from esdseg.sample.tile import generate_tile
from esdseg.sample.writing import CRS, STAMP_NAME, tile_corner, write_sample_tiles
from esdseg.sensors.sensors import GROUND_TRUTH_NAME, GROUND_TRUTH_PICTURE_NAME
from esdseg.system.processes import ItemListener
from tests.contest import SENSORS, parse_raster_name

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{NotGeoreferencedWarning.__module__}.NotGeoreferencedWarning"
)


FEW_DATES = "viirs: [2020-08-11]\nsentinel1: [2020-08-04]\nsentinel2: []\nlandsat8: []\n"
RADAR = "S1A_IW_GRDH_20200804_VV.tif"
"""A raster of these dates."""


def _write(
    folder: Path,
    *,
    tiles: int = 2,
    seed: int = 0,
    crs: bool = False,
    workers: int = 1,
    dates: Path | None = None,
    on_tile: ItemListener | None = None,
) -> list[Path]:
    return write_sample_tiles(
        folder, tiles=tiles, seed=seed, crs=crs, workers=workers, dates=dates, on_tile=on_tile
    )


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile of the contest's dates."""
    folder = tmp_path_factory.mktemp("sample") / "raw"
    _write(folder, tiles=1)
    return folder


@pytest.fixture(scope="module")
def few_dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dates") / "dates.yml"
    path.write_text(FEW_DATES)
    return path


@pytest.fixture(scope="module")
def pair(few_dates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiles of a few dates."""
    folder = tmp_path_factory.mktemp("pair") / "raw"
    _write(folder, dates=few_dates)
    return folder


def test_a_tile_holds_the_contests_files_and_nothing_else(plain: Path) -> None:
    assert sorted(path.name for path in plain.iterdir()) == ["Tile1", STAMP_NAME]
    names = {path.name for path in (plain / "Tile1").iterdir()}
    rasters = names - {GROUND_TRUTH_NAME, GROUND_TRUTH_PICTURE_NAME}
    assert len(rasters) == 98
    assert len(names) == 100
    assert {parse_raster_name(name) is not None for name in rasters} == {True}
    assert "LC08_L1TP_2020-08-30_B9.tif" in names


def test_names_are_those_of_the_real_tile(plain: Path, real_tile: Path) -> None:
    assert {path.name for path in (plain / "Tile1").iterdir()} == {path.name for path in real_tile.iterdir()}


def test_rasters_are_plain_single_band_files_in_one_strip(plain: Path) -> None:
    tile = generate_tile(0, 1, {name: days[:1] for name, days in contest_dates().items()})
    for sensor in SENSORS:
        path = plain / "Tile1" / sensor.file_name(sensor.dates[0], sensor.band_names[0])
        with rasterio.open(path) as file:
            assert (file.count, file.shape, file.dtypes[0]) == (1, (800, 800), sensor.dtypes[0])
            assert (file.crs, file.nodata, file.compression) == (None, None, None)
            assert file.transform.is_identity
            values = file.read(1)
        np.testing.assert_array_equal(
            values, tile.rasters[sensor.name, sensor.dates[0], sensor.band_names[0]]
        )
        content = path.read_bytes()
        # One strip, uncompressed: the pixels lie in the file in one piece.
        assert values.astype(values.dtype.newbyteorder("<")).tobytes() in content
        assert len(content) - values.nbytes < 1000


def test_labels_and_their_picture_agree_with_the_scene(pair: Path) -> None:
    with rasterio.open(pair / "Tile2" / GROUND_TRUTH_NAME) as file:
        labels = file.read(1)
        assert (file.dtypes[0], file.crs) == ("uint16", None)
    np.testing.assert_array_equal(labels, generate_tile(0, 2, dict.fromkeys(contest_dates(), ())).labels)
    picture = np.asarray(Image.open(pair / "Tile2" / GROUND_TRUTH_PICTURE_NAME))
    assert picture.shape == (800, 800, 3)
    np.testing.assert_array_equal(np.all(picture[25::50, 25::50] == (255, 0, 0), axis=-1), labels == 1)


def test_crs_places_tiles_apart_on_a_utm_grid(pair: Path, few_dates: Path, tmp_path: Path) -> None:
    folders = _write(tmp_path / "raw", crs=True, dates=few_dates)
    corners = []
    for folder in folders:
        with rasterio.open(folder / RADAR) as file, rasterio.open(pair / folder.name / RADAR) as plain:
            np.testing.assert_array_equal(file.read(1), plain.read(1))
            assert file.crs.to_string() == CRS
            assert (file.transform.a, file.transform.e) == (10.0, -10.0)
            corners.append(file.bounds)
        with rasterio.open(folder / GROUND_TRUTH_NAME) as file:
            assert (file.transform.a, file.bounds) == (500.0, corners[-1])
    assert corners[0].right < corners[1].left
    assert (corners[1].left, corners[1].top) == tile_corner(0, 2)


def test_tiles_of_other_seeds_lie_elsewhere() -> None:
    corners = np.array([tile_corner(seed, number) for seed in range(24) for number in range(1, 121)])
    to_itself_and_nearest, _ = cKDTree(corners).query(corners, k=2, p=np.inf)
    assert to_itself_and_nearest[:, 1].min() >= 8_000, "the side of a tile"


def test_tiles_do_not_depend_on_the_number_of_workers(pair: Path, few_dates: Path, tmp_path: Path) -> None:
    folders = _write(tmp_path / "raw", workers=2, dates=few_dates)
    assert [folder.name for folder in folders] == ["Tile1", "Tile2"]
    for name in ("Tile1", "Tile2"):
        assert _digests(tmp_path / "raw" / name) == _digests(pair / name)


def test_a_second_run_keeps_whole_tiles_and_goes_on(pair: Path, few_dates: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(pair, folder)
    shutil.rmtree(folder / "Tile1")
    before = (folder / "Tile2" / GROUND_TRUTH_NAME).stat().st_mtime_ns
    seen: list[tuple[str, int, int]] = []
    _write(folder, dates=few_dates, on_tile=lambda name, done, total: seen.append((name, done, total)))
    assert seen == [("Tile2", 1, 2), ("Tile1", 2, 2)]
    assert (folder / "Tile2" / GROUND_TRUTH_NAME).stat().st_mtime_ns == before
    assert _digests(folder / "Tile1") == _digests(pair / "Tile1")


@pytest.mark.parametrize(("seed", "crs"), [(1, False), (0, True)])
def test_tiles_of_other_settings_are_not_mixed(plain: Path, seed: int, crs: bool) -> None:
    before = (plain / STAMP_NAME).read_text()
    with pytest.raises(UsageError, match=r"; choose another folder"):
        _write(plain, seed=seed, crs=crs)
    assert (plain / STAMP_NAME).read_text() == before


def test_foreign_tiles_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Tile7").mkdir()
    with pytest.raises(UsageError, match="did not write"):
        _write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Tile7"]


def test_an_unreadable_stamp_is_named(tmp_path: Path) -> None:
    (tmp_path / "Tile1").mkdir()
    (tmp_path / STAMP_NAME).write_text("{")
    with pytest.raises(UsageError, match=STAMP_NAME):
        _write(tmp_path)


def test_a_tile_that_lost_a_file_is_named(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    (folder / "Tile1").mkdir(parents=True)
    shutil.copy(plain / STAMP_NAME, folder)
    with pytest.raises(
        UsageError, match=r"Tile1 lacks DNB_VNP46A1_A2020221\.tif \(100 files in all\).*; move it elsewhere"
    ):
        _write(folder)


@pytest.mark.parametrize(("name", "value"), [("tiles", 0), ("seed", -1), ("workers", 0)])
def test_numbers_out_of_range_are_refused_before_any_file(tmp_path: Path, name: str, value: int) -> None:
    numbers = {"tiles": 1, "seed": 0, "workers": 1} | {name: value}
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        _write(tmp_path / "raw", tiles=numbers["tiles"], seed=numbers["seed"], workers=numbers["workers"])
    assert not (tmp_path / "raw").exists()


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        _write(tmp_path / "raw")


def test_a_failed_tile_leaves_nothing_behind(few_dates: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"

    def stop(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _write(folder, dates=few_dates, on_tile=stop)
    assert sorted(path.name for path in folder.iterdir()) == ["Tile1", STAMP_NAME]
    assert json.loads((folder / STAMP_NAME).read_text())["seed"] == 0


def test_importing_the_package_loads_no_array_library() -> None:
    code = (
        "import sys, esdseg.sample; print(sorted({'numpy', 'scipy', 'rasterio', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
