"""Reading one raster, one label grid or one georeference; each fault names the file and its fix."""

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
from esdseg.sensors.classes import CLASSES, GRID_SIZE, TILE_SIZE_PX, UNKNOWN_LABEL
from esdseg.sensors.sensors import get_sensor, parse_raster_name
from esdseg.tiles.discovery import RawTile

RasterArray = npt.NDArray[np.uint16] | npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]

FileFault = Literal["unreadable", "wrong_size", "wrong_dtype", "several_bands", "wrong_labels", "scaled"]
"""What can be wrong with one file."""

MOST_BLOCK_PIXELS = 4 * TILE_SIZE_PX**2
"""Of a TIFF's blocks; the contest's have 800 x 800 px at most. GDAL unpacks a whole block, however large."""

_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

UNKNOWN_CODE = 0
"""Code in ``groundTruth.tif`` that is read as "no label here"; the contest's own tiles have none."""


class TileFileError(InputDataError):
    """A file that cannot be used, with its kind and its fix told apart for reports.

    Attributes:
        path: The file.
        kind: What is wrong, as one word.
        what: What is wrong, as a sentence without the file's name.
        fix: What the user can do.
    """

    def __init__(self, path: Path, kind: FileFault, what: str, fix: str) -> None:
        super().__init__(f"{path}: {what} {fix}")
        self.path, self.kind, self.what, self.fix = path, kind, what, fix

    def __reduce__(self) -> tuple[type["TileFileError"], tuple[Path, FileFault, str, str]]:
        # Without it the error cannot come back from a worker process, whose end then seems a crash.
        return type(self), (self.path, self.kind, self.what, self.fix)


@dataclass(frozen=True)
class Georeference:
    """Where a tile lies.

    Attributes:
        crs_wkt: The coordinate reference system as WKT.
        transform: The affine transform (a, b, c, d, e, f) from (column, row) in 10 m pixels to
            coordinates: ``x = a * column + b * row + c``, ``y = d * column + e * row + f``.
    """

    crs_wkt: str
    transform: tuple[float, float, float, float, float, float]


def read_raster(path: Path) -> RasterArray:
    """Read one raster.

    Args:
        path: A file whose name tells its sensor, such as ``S1A_IW_GRDH_20200804_VV.tif``.

    Returns:
        Raw values as they are stored, (800, 800), uint16 or float32 by the sensor.

    Raises:
        InputDataError: The file is no TIFF or is cut short, has several bands, another size or another
            type than its sensor's, or its name tells no sensor.
    """
    return read_georeferenced_raster(path)[0]


def read_georeferenced_raster(path: Path) -> tuple[RasterArray, Georeference | None]:
    """Read one raster and its georeference, opening the file once.

    Returns:
        The values as of :func:`read_raster`, and where the file lies (``None`` where it does not say).

    Raises:
        InputDataError: As for :func:`read_raster`.
    """
    name = parse_raster_name(path.name)
    if name is None:
        raise TileFileError(
            path,
            "unreadable",
            "The name tells no sensor, date and band.",
            "Give it a name such as L2A_20200816_B04.tif.",
        )
    with _open_tiff(path) as source:
        _require_layout(path, source, TILE_SIZE_PX)
        expected = get_sensor(name.sensor).dtype
        if source.dtypes[0] != expected:
            raise TileFileError(
                path,
                "wrong_dtype",
                f"Its values are {source.dtypes[0]}; {get_sensor(name.sensor).title} has {expected}.",
                "Write it again with raw values in that type, or fetch it again.",
            )
        fill = get_sensor(name.sensor).fill_value
        return _read_band(source, np.nan if expected == "float32" else fill or 0), _georeference(source)


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
        raise TileFileError(
            path,
            "wrong_labels",
            f"Label codes {', '.join(map(str, others))} are not among {known[0]} to {known[-1]}.",
            "Correct the codes; 0 marks a cell without a known label.",
        )
    return np.where(codes == UNKNOWN_CODE, UNKNOWN_LABEL, codes.astype(np.int64) - 1).astype(np.uint8)


def read_label_codes(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Read the codes of a label grid as they are stored, (16, 16), whatever codes they are.

    Raises:
        InputDataError: The file is no TIFF, has several bands, another size, or values that are no integers.
    """
    with _open_tiff(path) as source:
        _require_layout(path, source, GRID_SIZE)
        if np.dtype(source.dtypes[0]).kind not in "iu":
            raise TileFileError(
                path,
                "wrong_dtype",
                f"Its values are {source.dtypes[0]}, not integers.",
                "Write the label codes 1 to 4 as uint16.",
            )
        codes: npt.NDArray[np.integer[Any]] = _read_band(source, UNKNOWN_CODE)
        return codes


def read_georeference(tile: RawTile) -> Georeference | None:
    """Return where a tile lies, from its first raster with a coordinate reference system.

    Returns:
        The reference at 10 m pixels; ``None`` where no raster has one, as in the contest's files.

    Raises:
        InputDataError: A raster is no TIFF or has another size.
    """
    for path in tile.rasters.values():
        with _open_tiff(path) as source:
            _require_layout(path, source, TILE_SIZE_PX)
            reference = _georeference(source)
        if reference is not None:
            return reference
    return None


def _read_band(source: Any, no_data: float) -> Any:
    """Read the values, those that the file itself marks as no data replaced by ``no_data``."""
    from rasterio.enums import MaskFlags

    values = source.read(1)
    if MaskFlags.all_valid in source.mask_flag_enums[0]:
        return values
    return np.where(source.read_masks(1) == 0, values.dtype.type(no_data), values)


@contextmanager
def alone_in_folders() -> Iterator[None]:
    """Have GDAL open files without listing their folders for side files.

    Each file is opened so; who opens many enters this once around them, which saves time.
    """
    import rasterio
    from rasterio.env import getenv, hasenv

    if hasenv() and getenv().items() >= _ALONE.items():
        yield
    else:
        with rasterio.Env(**_ALONE):
            yield


@contextmanager
def _open_tiff(path: Path) -> Iterator[Any]:
    _require_file(path)
    # Imported here: rasterio takes half a second, and listing tiles does not need it.
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings(), alone_in_folders():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver="GTiff") as source:
                yield source
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
    """Refuse folders, and pipes and devices, which would be waited for without end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TileFileError(
            path, "unreadable", f"It cannot be read ({error.strerror}).", "Fetch or unpack it again."
        ) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise TileFileError(path, "unreadable", f"It is {kind}, not a file.", "Fetch or unpack it again.")


def _require_layout(path: Path, source: Any, size: int) -> None:
    if source.count != 1:
        raise TileFileError(
            path,
            "several_bands",
            f"It has {source.count} bands; one band a file is expected.",
            "Write each band to a file of its own, named as the contest names it.",
        )
    if source.shape != (size, size):
        rows, columns = source.shape
        raise TileFileError(
            path,
            "wrong_size",
            f"It has {rows} x {columns} pixels; {size} x {size} are expected.",
            "Resample it to the tile's grid (nearest neighbour), or fetch it again.",
        )
    block = source.block_shapes[0]
    if block[0] * block[1] > MOST_BLOCK_PIXELS:
        raise TileFileError(
            path,
            "wrong_size",
            f"It is stored in blocks of {block[0]} x {block[1]} pixels, of which reading takes a whole one.",
            "Write it again in smaller blocks, or fetch it again.",
        )
    if source.scales[0] != 1 or source.offsets[0] != 0:
        raise TileFileError(
            path,
            "scaled",
            f"It says that its values are to be scaled by {source.scales[0]:g} and shifted by "
            f"{source.offsets[0]:g}.",
            "Write it again with raw values and without scale and offset.",
        )


def _georeference(source: Any) -> Georeference | None:
    if source.crs is None:
        return None
    a, b, c, d, e, f = tuple(source.transform)[:6]
    return Georeference(source.crs.to_wkt(), (a, b, c, d, e, f))


def announce(paths: Iterable[Path]) -> None:
    """Say that files will be read soon, so that nobody waits for the disk when they are.

    Where the system takes no such advice, and for what is no readable file, nothing happens: whoever reads it
    tells what is wrong.
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
