import ctypes
import mmap
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.reading import (
    TileFileError,
    announce,
    read_georeferenced_raster,
    read_ground_truth,
    read_label_codes,
    read_raster,
)
from tests.make_tiles import write_raster, write_tile
from tests.tiles.conftest import FEW_DATES, own_sensor

NAME = "L2A_20200816_B04.tif"
VALUES = np.random.default_rng(5).integers(1, 10_000, (800, 800), dtype=np.uint16)


def test_a_raster_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_raster(tmp_path / NAME, VALUES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_raster(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, VALUES)


def test_a_replaced_raster_is_read_anew(tmp_path: Path) -> None:
    path = write_raster(tmp_path / NAME, VALUES)
    read_raster(path)
    write_raster(path, VALUES + 1)
    np.testing.assert_array_equal(read_raster(path), VALUES + 1)


def test_no_data_of_floats_stays_nan(tmp_path: Path) -> None:
    values = np.full((800, 800), 0.1, dtype=np.float32)
    values[3, 4] = np.nan
    read = read_raster(write_raster(tmp_path / "S1A_IW_GRDH_20200804_VV.tif", values))
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("dtypes", "fill_value", "no_data"),
    [
        (["uint16"], 0, 0),
        (["uint16"], None, np.nan),
        # This fill value is no number of the file's type.
        (["int16", "uint16"], -9999, np.nan),
        (["float32", "uint16"], None, np.nan),
    ],
)
def test_what_the_file_marks_as_no_data_is_no_data(
    tmp_path: Path, dtypes: list[str], fill_value: int | None, no_data: float
) -> None:
    sensors = own_sensor(dtypes=dtypes, fill_value=fill_value)
    path = write_raster(tmp_path / "X_20200811_B2.tif", VALUES, crs="EPSG:32733")
    assert read_raster(path, sensors).dtype == np.uint16
    with rasterio.open(path, "r+") as file:
        file.nodata = int(VALUES[0, 0])
    expected = np.where(VALUES[0, 0] == VALUES, no_data, VALUES)
    np.testing.assert_array_equal(read_raster(path, sensors), expected)


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (VALUES[:799], "wrong_size", "799 x 800 pixels; 800 x 800"),
        (VALUES.astype(np.float32), "wrong_dtype", "float32; Sentinel-2 L2A has uint16"),
        (np.stack([VALUES, VALUES]), "several_bands", "2 bands"),
    ],
)
def test_a_raster_of_another_layout_is_refused(
    tmp_path: Path, values: np.ndarray, kind: str, said: str
) -> None:
    path = write_raster(tmp_path / NAME, values)
    with pytest.raises(TileFileError, match=said) as caught:
        read_raster(path)
    assert caught.value.kind == kind
    assert str(path) in str(caught.value)
    assert caught.value.fix in str(caught.value)


def test_a_file_cut_short_is_unreadable(tmp_path: Path) -> None:
    path = write_raster(tmp_path / NAME, VALUES)
    path.write_bytes(path.read_bytes()[:600_000])
    with pytest.raises(TileFileError, match="cannot be read as a TIFF") as caught:
        read_raster(path)
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", b"II*\x00\x08\x00\x00\x00"])
def test_a_file_that_is_no_tiff_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(TileFileError) as caught:
        read_raster(tmp_path / NAME)
    assert caught.value.kind == "unreadable"


def test_missing_files_folders_and_broken_links_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "folder" / NAME).mkdir(parents=True)
    (tmp_path / NAME).symlink_to(tmp_path / "gone.tif")
    for path in (tmp_path / NAME, tmp_path / "folder" / NAME, tmp_path / "L2A_20200816_B05.tif"):
        with pytest.raises(TileFileError) as caught:
            read_raster(path)
        assert caught.value.kind == "unreadable"


def test_a_name_without_sensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TileFileError, match=r"tells no sensor.* such as LC08_L1TP_2020-07-29_B1\.tif"):
        read_raster(write_raster(tmp_path / "image.tif", VALUES))
    with pytest.raises(TileFileError, match=r"such as X_20200830_B2\.tif"):
        read_raster(tmp_path / "image.tif", own_sensor())


def test_labels_are_codes_less_one_and_zero_is_unknown(tmp_path: Path) -> None:
    codes = np.arange(256, dtype=np.uint16).reshape(16, 16) % 5
    labels = read_ground_truth(write_raster(tmp_path / "groundTruth.tif", codes))
    assert labels.dtype == np.uint8
    assert labels[0, :6].tolist() == [UNKNOWN_LABEL, 0, 1, 2, 3, UNKNOWN_LABEL]
    known = codes > 0
    np.testing.assert_array_equal(labels[known], codes[known] - 1)
    assert (labels[~known] == UNKNOWN_LABEL).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint8])
def test_other_label_codes_are_refused_by_value(tmp_path: Path, dtype: type) -> None:
    codes: np.ndarray = np.ones((16, 16), dtype=dtype)
    codes[0, 0], codes[5, 5] = 7, 200
    path = write_raster(tmp_path / "groundTruth.tif", codes)
    with pytest.raises(TileFileError, match="7, 200 are not among 1 to 4") as caught:
        read_ground_truth(path)
    assert caught.value.kind == "wrong_labels"
    assert read_label_codes(path)[5, 5] == 200


def test_labels_of_another_size_or_of_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TileFileError, match="800 x 800 pixels; 16 x 16"):
        read_ground_truth(write_raster(tmp_path / "large.tif", VALUES))
    with pytest.raises(TileFileError, match="not integers"):
        read_ground_truth(write_raster(tmp_path / "floats.tif", np.ones((16, 16), dtype=np.float32)))


def test_real_labels_have_the_known_counts(real_tile: Path) -> None:
    labels = read_ground_truth(real_tile / "groundTruth.tif")
    assert np.unique_counts(labels).values.tolist() == [0, 1]
    assert np.unique_counts(labels).counts.tolist() == [211, 45]


@pytest.mark.parametrize(("band", "mean_db"), [("VV", -10.7), ("VH", -17.6)])
def test_real_radar_has_the_known_mean_backscatter(real_tile: Path, band: str, mean_db: float) -> None:
    (tile,) = find_tiles(real_tile)
    rasters = [
        read_raster(path)
        for name, path in tile.rasters.items()
        if name.sensor == "sentinel1" and name.band == band
    ]
    assert np.mean(10 * np.log10(np.stack(rasters))) == pytest.approx(mean_db, abs=0.2)


def test_a_raster_says_where_it_lies(tmp_path: Path) -> None:
    tile_folder = write_tile(tmp_path / "Tile1", dates=FEW_DATES)
    (tile,) = find_tiles(tile_folder)
    path = next(path for name, path in tile.rasters.items() if name.sensor == "sentinel2")
    assert read_georeferenced_raster(path)[1] is None
    write_raster(path, read_raster(path), crs="EPSG:32733")
    reference = read_georeferenced_raster(path)[1]
    assert reference is not None
    assert rasterio.crs.CRS.from_wkt(reference.crs_wkt).to_epsg() == 32733
    assert reference.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 8_000_000.0)


def test_the_real_tile_lies_nowhere(real_tile: Path) -> None:
    (tile,) = find_tiles(real_tile)
    assert all(read_georeferenced_raster(path)[1] is None for path in tile.rasters.values())


def test_given_values_are_written_as_they_are(tmp_path: Path) -> None:
    name = RasterName("sentinel2", FEW_DATES["sentinel2"][0], "B04")
    (tile,) = find_tiles(write_tile(tmp_path / "Tile1", dates=FEW_DATES, values={name: VALUES}))
    assert len(tile.rasters) == 28
    np.testing.assert_array_equal(read_raster(tile.rasters[name]), VALUES)


WAIT_SECONDS = 20


def is_cached(path: Path) -> bool:
    """Whether the file's last page is in memory; to look does not bring it there."""
    size = path.stat().st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as content:
        start = ctypes.c_char.from_buffer(content)
        fault = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), pages
        )
        del start
    assert not fault
    return bool(pages[-1] & 1)


def forget(path: Path) -> None:
    """Take a file out of the system's cache."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems take no such advice")
def test_announced_files_are_read_from_the_disk_without_being_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(3)]
    for path in paths:
        path.write_bytes(bytes(1_000_000))
        forget(path)
    if any(is_cached(path) for path in paths):
        pytest.skip("this file system keeps all files in memory")

    announce(paths)

    end = time.monotonic() + WAIT_SECONDS
    while not all(is_cached(path) for path in paths):
        assert time.monotonic() < end, "the system was not told to read them"
        time.sleep(0.05)


def test_announcing_what_is_no_file_does_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    announce([tmp_path / "missing", tmp_path, tmp_path / "pipe"])
