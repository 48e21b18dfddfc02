"""Whatever a TIFF's header says: it is read as GDAL reads it, or refused by name."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from esdseg.tiles.checking import check_tile
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.reading import TileFileError, read_ground_truth, read_raster
from tests.make_tiles import write_tile
from tests.tiles.conftest import FEW_DATES

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "complex64")
COMPRESSIONS = ("none", "lzw", "deflate", "packbits", "zstd", "lzma", "lerc")
RIGHT = {
    "L2A_20200816_B04.tif": "uint16",
    "S1A_IW_GRDH_20200804_VV.tif": "float32",
    "groundTruth.tif": "integer",
}


@dataclass(frozen=True)
class Header:
    """What a file is written with."""

    name: str
    dtype: str
    bands: int
    size: int
    options: dict[str, Any]
    nodata: float | None
    scale: float
    tags: dict[str, str]


@st.composite
def headers(draw: st.DrawFn) -> Header:
    name = draw(st.sampled_from(sorted(RIGHT)))
    usual = {"L2A_20200816_B04.tif": "uint16", "groundTruth.tif": "uint16"}.get(name, "float32")
    dtype = draw(st.sampled_from((usual,) * 6 + DTYPES))
    right_size = 16 if name == "groundTruth.tif" else 800
    options: dict[str, Any] = {
        "compress": draw(st.sampled_from(COMPRESSIONS)),
        "endianness": draw(st.sampled_from(("LITTLE", "BIG"))),
        "BIGTIFF": draw(st.sampled_from(("YES", "NO"))),
        "interleave": draw(st.sampled_from(("pixel", "band"))),
    }
    if draw(st.booleans()):
        side = draw(st.sampled_from((16, 64, 256, 1024)))
        options |= {"tiled": True, "blockxsize": side, "blockysize": side}
    if not dtype.startswith("complex") and options["compress"] in ("lzw", "deflate", "zstd"):
        options["predictor"] = draw(st.sampled_from((1, 2)))
    return Header(
        name=name,
        dtype=dtype,
        bands=draw(st.sampled_from((1, 1, 1, 1, 2))),
        size=draw(st.sampled_from((right_size,) * 5 + (1, 15, 801))),
        options=options,
        nodata=draw(st.sampled_from((None, None, 3.0))),
        scale=draw(st.sampled_from((1.0, 1.0, 1.0, 0.5))),
        tags=draw(
            st.dictionaries(
                st.from_regex(r"[A-Z]{1,8}", fullmatch=True),
                st.text(st.characters(codec="ascii", min_codepoint=32), max_size=20),
                max_size=3,
            )
        ),
    )


def write(path: Path, header: Header) -> np.ndarray:
    """Write a file as its header says, and return its first band."""
    rng = np.random.default_rng(header.size)
    # Small patterns repeated: what is tested is the header, and time goes into compressing noise.
    patch = rng.integers(1, 5, (header.bands, 4, 4)).astype(header.dtype)
    times = -(-header.size // 4)
    values = np.tile(patch, (1, times, times))[:, : header.size, : header.size]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", width=header.size, height=header.size, count=header.bands,
            dtype=header.dtype, nodata=header.nodata, **header.options,
        ) as target:  # fmt: skip
            target.write(values)
            target.update_tags(**header.tags)
            if header.scale != 1:
                target.scales = (header.scale,) * header.bands
    first: np.ndarray = values[0]
    return first


def is_right(header: Header) -> bool:
    wanted = RIGHT[header.name]
    kind = np.dtype(header.dtype).kind in "iu" if wanted == "integer" else header.dtype == wanted
    size = 16 if wanted == "integer" else 800
    return kind and header.bands == 1 and header.size == size and header.scale == 1


@given(headers())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_header_is_read_right_or_refused_by_name(header: Header) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / header.name
        try:
            written = write(path, header)
        except (rasterio.errors.RasterioError, RuntimeError, ValueError, SystemError):
            return  # What GDAL cannot write, such as LERC of complex numbers, is no file.
        read = read_ground_truth if header.name == "groundTruth.tif" else read_raster
        if not is_right(header):
            with pytest.raises(TileFileError) as refused:
                read(path)
            assert refused.value.kind in ("wrong_size", "wrong_dtype", "several_bands", "scaled")
            return
        values = read(path)
    is_no_data = written == header.nodata if header.nodata is not None else np.zeros(written.shape, bool)
    if header.name == "groundTruth.tif":
        expected = np.where(is_no_data, 255, written.astype(int) - 1)
    else:
        expected = np.where(is_no_data, 0 if header.dtype == "uint16" else np.nan, written)
    np.testing.assert_array_equal(values, expected)


@given(st.binary(max_size=300), st.integers(0, 299))
@settings(max_examples=150)
def test_any_bytes_in_a_header_are_read_or_refused(noise: bytes, position: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "groundTruth.tif"
        write(path, Header("groundTruth.tif", "uint16", 1, 16, {}, None, 1.0, {}))
        content = bytearray(path.read_bytes())
        content[position : position + len(noise)] = noise
        path.write_bytes(content)
        try:
            labels = read_ground_truth(path)
        except TileFileError:
            return
    assert labels.shape == (16, 16)
    assert set(np.unique(labels).tolist()) <= {0, 1, 2, 3, 255}


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(max_examples=100)
def test_any_file_name_in_a_tile_is_read_or_told(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tile = Path(folder) / "Tile1"
        tile.mkdir()
        (tile / "DNB_VNP46A1_A2020221.tif").touch()
        if name in (".", "..") or len(name.encode()) > 255:
            return
        (tile / name).touch()
        (found,) = find_tiles(Path(folder))
        report = check_tile(found)
        known = {*(path.name for path in found.rasters.values()), "groundTruth.tif", "groundTruthRGB.png"}
        told = {problem.file for problem in report.problems} | {note.file for note in report.notes}
        assert name in known | told or name.startswith(".") or name.lower().endswith((".xml", ".ovr", ".tfw"))


def test_a_raster_in_a_folder_of_tiles_is_what_gdal_reads(tmp_path: Path) -> None:
    folder = write_tile(tmp_path / "Tile1", dates=FEW_DATES)
    for path in folder.glob("L2A*.tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                np.testing.assert_array_equal(read_raster(path), source.read(1))
