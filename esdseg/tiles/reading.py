"""Reading rasters, label grids and georeferences; every fault names the file and its fix."""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from esdseg.errors import InputDataError
from esdseg.sensors.classes import CLASSES, GRID_SIZE, PIXEL_SIZE_M, TILE_SIZE_PX, UNKNOWN_LABEL
from esdseg.sensors.sensors import Sensor, SensorTable, contest_sensors

RasterArray = npt.NDArray[np.uint16] | npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]

FileFault = Literal[
    "unreadable",
    "wrong_size",
    "wrong_dtype",
    "several_bands",
    "wrong_labels",
    "scaled",
    "georeference",
    "pixel_size",
    "offset",
]
"""What can be wrong with one file so that it cannot be used."""

MOST_BLOCK_PIXELS = 4 * TILE_SIZE_PX**2
"""Largest block of a TIFF that is read, as GDAL unpacks a whole one; the contest's have 800 x 800 px."""

_NO_SIDE_FILES = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

UNKNOWN_CODE = 0
"""Code in ``groundTruth.tif`` that is read as "no label here"; the contest's own tiles have none."""


class TileFileError(InputDataError):
    """A file that cannot be used.

    Attributes:
        path: The file.
        kind: What is wrong, as one word.
        fault: What is wrong, as a sentence without the file's name.
        fix: What the user can do.
    """

    def __init__(self, path: Path, kind: FileFault, fault: str, fix: str) -> None:
        super().__init__(f"{path}: {fault} {fix}")
        self.path, self.kind, self.fault, self.fix = path, kind, fault, fix

    def __reduce__(self) -> tuple[type["TileFileError"], tuple[Path, FileFault, str, str]]:
        # Exceptions are unpickled with their message alone, so this one could not leave a worker process.
        return type(self), (self.path, self.kind, self.fault, self.fix)


@dataclass(frozen=True)
class Georeference:
    """Where a raster or a tile lies.

    Attributes:
        crs_wkt: The coordinate reference system as WKT; empty for a raster that has a transform alone.
        transform: The affine transform (a, b, c, d, e, f) from (column, row) in pixels, of 10 m in a tile,
            to coordinates: ``x = a * column + b * row + c``, ``y = d * column + e * row + f``.
    """

    crs_wkt: str
    transform: tuple[float, float, float, float, float, float]


def read_raster(path: Path, sensors: SensorTable | None = None, band: str | None = None) -> RasterArray:
    """Read one raster.

    Args:
        path: A file whose name tells its sensor, such as ``S1A_IW_GRDH_20200804_VV.tif``.
        sensors: The sensors whose files are known; the contest's unless given.
        band: Which band of a file that holds several.

    Returns:
        Raw values as they are stored, (800, 800), of a type of the sensor. Pixels that the file marks as no
        data hold NaN or the sensor's fill value. The type is float32 where the file's scale and offset were
        applied, or where such pixels are NaN.

    Raises:
        InputDataError: The file is no raster or is cut short, has other bands than its name tells, another
            size or another type than its sensor's, or its name tells no sensor.
    """
    return read_georeferenced_raster(path, sensors, band)[0]


def read_georeferenced_raster(
    path: Path, sensors: SensorTable | None = None, band: str | None = None
) -> tuple[RasterArray, Georeference | None]:
    """Read one raster and its georeference, opening the file once.

    Returns:
        The values as of :func:`read_raster`, and where the file lies (``None`` where it does not say).

    Raises:
        InputDataError: As for :func:`read_raster`.
    """
    table = sensors or contest_sensors()
    names = table.read_file_name(path.name)
    if not names:
        fault = "The name tells no sensor, date and band."
        raise TileFileError(path, "unreadable", fault, f"Give it a name such as {table.example_name}.")
    sensor = table.sensor(names[0].sensor)
    held = [name.band for name in names]
    index = held.index(band) + 1 if band is not None else 1
    with _open_tiff(path) as source:
        _require_layout(path, source, TILE_SIZE_PX, len(held), allows_scale=sensor.file_scale)
        require_dtype(path, source, sensor)
        values = _read_band(source, no_data_value(sensor, source.dtypes[0]), index)
        if sensor.file_scale:
            values = scaled(values, source.scales[index - 1], source.offsets[index - 1], sensor.fill_value)
        return values, georeference_of(source)


def no_data_value(sensor: Sensor, dtype: str) -> float | None:
    """Return what stands in raw values of a type where nothing was measured.

    Returns:
        NaN in float32, else the sensor's fill value; ``None`` where the type cannot hold it or the sensor has
        none, so that values without a measurement can only be told as float32.
    """
    if dtype == "float32" or sensor.fill_value is None:
        return np.nan if dtype == "float32" else None
    limits = np.iinfo(dtype)
    return sensor.fill_value if limits.min <= sensor.fill_value <= limits.max else None


def scaled(values: Any, scale: float, offset: float, fill_value: int | None) -> Any:
    """Apply a file's own scale and offset; the fill value becomes NaN."""
    if (scale, offset) == (1, 0):
        return values
    scaled = values.astype(np.float32) * np.float32(scale) + np.float32(offset)
    if fill_value is not None:
        scaled[values == fill_value] = np.nan
    return scaled


def read_ground_truth(path: Path) -> LabelArray:
    """Read a label grid.

    Args:
        path: A ``groundTruth.tif`` of codes 1 to 4, one a cell; 0 stands for an unknown label.

    Returns:
        Label indexes (code - 1), (16, 16) uint8: 0 to 3, 255 where unknown.

    Raises:
        InputDataError: The file is no TIFF, has several bands, another size, values that are no integers,
            or other codes.
    """
    codes = read_label_codes(path)
    known = [label_class.code for label_class in CLASSES]
    others = sorted(set(codes.ravel().tolist()) - {UNKNOWN_CODE, *known})
    if others:
        fault = f"Label codes {', '.join(map(str, others))} are not among {known[0]} to {known[-1]}."
        fix = "Correct the codes; 0 marks a cell without a known label."
        raise TileFileError(path, "wrong_labels", fault, fix)
    return np.where(codes == UNKNOWN_CODE, UNKNOWN_LABEL, codes.astype(np.int64) - 1).astype(np.uint8)


def read_label_codes(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Read the codes of a label grid as they are stored, (16, 16), whatever codes they are.

    Raises:
        InputDataError: The file is no TIFF, has several bands, another size, or values that are no integers.
    """
    with _open_tiff(path) as source:
        _require_layout(path, source, GRID_SIZE)
        if np.dtype(source.dtypes[0]).kind not in "iu":
            fault = f"Its values are {source.dtypes[0]}, not integers."
            raise TileFileError(path, "wrong_dtype", fault, "Write the label codes 1 to 4 as uint16.")
        codes: npt.NDArray[np.integer[Any]] = _read_band(source, UNKNOWN_CODE)
        return codes


def read_georeference(path: Path) -> Georeference | None:
    """Read where a file lies, and nothing else of it; ``None`` where it does not say.

    Raises:
        InputDataError: The file is no TIFF.
    """
    with _open_tiff(path) as source:
        return georeference_of(source)


def announce(paths: Iterable[Path]) -> None:
    """Tell the system that files will be read soon, so that it fetches them from the disk meanwhile.

    Files that cannot be opened, and systems without this call, are passed over in silence: reading tells.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(file)


def _read_band(source: Any, no_data: float | None, index: int = 1) -> Any:
    """Read the values, those that the file itself marks as no data replaced by ``no_data``.

    Where ``no_data`` is ``None`` they become NaN, and the values float32.
    """
    from rasterio.enums import MaskFlags

    values = source.read(index)
    if MaskFlags.all_valid in source.mask_flag_enums[index - 1]:
        return values
    is_missing = source.read_masks(index) == 0
    if no_data is not None:
        return np.where(is_missing, values.dtype.type(no_data), values)
    return np.where(is_missing, np.float32(np.nan), values.astype(np.float32)) if is_missing.any() else values


@contextmanager
def without_side_files() -> Iterator[None]:
    """Let GDAL open files without listing their folders for side files.

    Every file is opened in this way; entering the context once around many files saves time.
    """
    import rasterio
    from rasterio.env import getenv, hasenv

    if hasenv() and getenv().items() >= _NO_SIDE_FILES.items():
        yield
    else:
        with rasterio.Env(**_NO_SIDE_FILES):
            yield


@contextmanager
def _open_tiff(path: Path) -> Iterator[Any]:
    with naming_read_faults(path), without_side_files(), open_tiff(path) as source:
        yield source


def open_tiff(path: Path) -> Any:
    """Open a raster; the caller closes it, and gives faults their names by :func:`naming_read_faults`."""
    _require_file(path)
    # Imported here: rasterio takes half a second, and listing tiles does not need it.
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, driver="JP2OpenJPEG" if path.suffix.lower() == ".jp2" else "GTiff")


@contextmanager
def naming_read_faults(path: Path) -> Iterator[None]:
    """Turn errors of reading a raster in the block into messages with its path and the fix.

    Raises:
        TileFileError: It cannot be read.
    """
    from rasterio.errors import RasterioError

    try:
        yield
    except UnicodeEncodeError:
        raise TileFileError(
            path, "unreadable", "Its path holds bytes that are no UTF-8.", "Rename the file or its folders."
        ) from None
    except (RasterioError, OSError) as error:
        # Where reading fails half-way, rasterio's own message only points to the one of GDAL behind it.
        reason = str(error.__cause__ or error).replace(str(path), path.name).strip().rstrip(".")
        raise TileFileError(
            path, "unreadable", f"It cannot be read as a TIFF ({reason}).", "Fetch or unpack it again."
        ) from error


def _require_file(path: Path) -> None:
    """Refuse folders, and pipes and devices, on which reading would wait without end."""
    try:
        mode = path.stat().st_mode
        fault = f"It is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not a file."
    except OSError as error:
        mode, fault = 0, f"It cannot be read ({error.strerror})."
    if not stat.S_ISREG(mode):
        raise TileFileError(path, "unreadable", fault, "Fetch or unpack it again.")


def _require_layout(
    path: Path, source: Any, size: int, bands: int = 1, *, allows_scale: bool = False
) -> None:
    """Refuse what cannot be bands of ``size`` x ``size`` raw values."""
    require_bands(path, source, bands)
    if source.shape != (size, size):
        rows, columns = source.shape
        fault = f"It has {rows} x {columns} pixels; {size} x {size} are expected."
        raise TileFileError(path, "wrong_size", fault, _fix_of_size(source, size))
    rows, columns = source.block_shapes[0]
    if rows * columns > MOST_BLOCK_PIXELS:
        fault = f"It is stored in blocks of {rows} x {columns} pixels, of which reading takes a whole one."
        raise TileFileError(path, "wrong_size", fault, "Write it again in smaller blocks, or fetch it again.")
    if not allows_scale:
        require_raw_values(path, source)


def require_bands(path: Path, source: Any, bands: int) -> None:
    """Refuse an open raster that has another number of bands."""
    if source.count != bands:
        expected = "one band a file is" if bands == 1 else f"{bands} bands are"
        fault = f"It has {source.count} bands; {expected} expected."
        fix = "Write each band to a file of its own, or describe the file's bands in a file of sensors."
        raise TileFileError(path, "several_bands", fault, fix)


def require_dtype(path: Path, source: Any, sensor: Sensor) -> None:
    """Refuse an open raster whose values are of no type of its sensor's."""
    # Values that a scale was applied to are floats; so are those whose own type has no number for no data.
    may_be_floats = sensor.file_scale or any(no_data_value(sensor, dtype) is None for dtype in sensor.dtypes)
    is_float = may_be_floats and source.dtypes[0] == "float32"
    if source.dtypes[0] not in sensor.dtypes and not is_float:
        fault = f"Its values are {source.dtypes[0]}; {sensor.title} has {' or '.join(sensor.dtypes)}."
        fix = "Write it again with raw values in that type, or fetch it again."
        raise TileFileError(path, "wrong_dtype", fault, fix)


def require_raw_values(path: Path, source: Any) -> None:
    """Refuse an open raster whose scale and offset tags ask for a conversion."""
    scale, offset = source.scales[0], source.offsets[0]
    if (scale, offset) != (1, 0):
        fault = f"It says that its values are to be scaled by {scale:g} and shifted by {offset:g}."
        fix = "Write it again with raw values and without scale and offset."
        raise TileFileError(path, "scaled", fault, fix)


def _fix_of_size(source: Any, size: int) -> str:
    if min(source.shape) >= TILE_SIZE_PX == size:
        a, b, left, d, e, top = tuple(source.transform)[:6]
        right, bottom = left + size * (a + b), top + size * (d + e)
        # rio is installed with rasterio.
        return (
            f"Cut it into tiles of {size} x {size} pixels of {PIXEL_SIZE_M:g} m, each in a folder of its own "
            f"with its labels; this writes the first: rio clip FILE OUT --bounds "
            f"'{left:.10g} {bottom:.10g} {right:.10g} {top:.10g}'. Where it shows the place of one tile in "
            "finer pixels, resample it."
        )
    return "Resample it to the tile's grid (nearest neighbour), or fetch it again."


def georeference_of(source: Any) -> Georeference | None:
    """Return where an open raster lies; ``None`` where it does not say."""
    transform = source.transform
    if transform.is_identity or transform.is_degenerate or not np.isfinite(transform).all():
        return None
    a, b, c, d, e, f = tuple(transform)[:6]
    return Georeference(source.crs.to_wkt() if source.crs else "", (a, b, c, d, e, f))


def has_place(source: Any) -> bool:
    """Return whether an open raster says where on the Earth it lies, which a local grid does not."""
    crs = source.crs
    is_tied = crs is not None and (crs.is_projected or crs.is_geographic)
    return is_tied and georeference_of(source) is not None


def no_place(path: Path, how_many: str = "") -> TileFileError:
    """Return the error of a raster that does not say where it lies."""
    return TileFileError(
        path,
        "georeference",
        f"It does not say where it lies{how_many}, and a scene must.",
        "Fetch it with its reference system, or write that into the file by rio edit-info. Tiles of the "
        "contest's own form, which lie nowhere, go to `esdseg preprocess` as they are.",
    )
