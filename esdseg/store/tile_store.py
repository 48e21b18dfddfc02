"""One tile of the store as a Zarr v3 group: written whole or not at all, read by windows.

Zarr is imported where it is used: it takes as long to load as all that it takes to refuse a missing folder.
"""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from esdseg.errors import InputDataError
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, TILE_SIZE_PX, UNKNOWN_LABEL
from esdseg.store.manifest import FORMAT_VERSION, TileEntry
from esdseg.store.statistics import NUM_CODES, CodeCounts, HalfArray

if TYPE_CHECKING:
    import zarr

LabelArray = npt.NDArray[np.uint8]

COMPRESSION_LEVEL = 9
"""Level of LZ4, the highest: lower levels save no time that shows, and take more room.

Zstandard's first level takes 20 % less room on the contest's Tile1, but 2.5 times as long to write and 3.6
times as long to read, which training from disk does every epoch.
"""


@dataclass(frozen=True)
class TileArrays:
    """The arrays of one tile.

    Attributes:
        image: Channels (C, 800, 800); NaN is no data.
        label: Class indices (16, 16), 0 to 3; 255 is unknown.
        code_counts: Counts (C, 65536) of the image's half-precision codes.
    """

    image: HalfArray
    label: LabelArray
    code_counts: CodeCounts

    @classmethod
    def empty(cls, channels: int) -> "TileArrays":
        """Make room for the arrays of one tile, whose values are not set."""
        return cls(
            np.empty((channels, TILE_SIZE_PX, TILE_SIZE_PX), np.float16),
            np.empty((GRID_SIZE, GRID_SIZE), np.uint8),
            np.empty((channels, NUM_CODES), np.uint32),
        )


def write_tile(
    path: Path, unfinished: Path, arrays: TileArrays, entry: TileEntry, tile_hash: str, subtile_size: int
) -> None:
    """Write a tile so that ``path`` holds the whole of it or what it held before.

    Args:
        path: The tile's folder in the store.
        unfinished: A folder on the same file system to write to first; it may hold what a killed run left.
        arrays: The tile's image, labels and counts.
        entry: The tile's entry in the manifest, kept with the tile so that an interrupted run can go on.
        tile_hash: The manifest's ``config_hash``.
        subtile_size: Side of a subtile in cells: one chunk holds one subtile.
    """
    import zarr
    from zarr.core.sync import sync

    shutil.rmtree(unfinished, ignore_errors=True)
    attributes = {
        "format_version": FORMAT_VERSION,
        "config_hash": tile_hash,
        "entry": entry.model_dump(mode="json"),
    }
    try:
        group = zarr.create_group(unfinished, zarr_format=3, attributes=attributes)
        created = create_arrays(group, arrays.image.shape[0], subtile_size)
        created["image"][...] = arrays.image
        created["label"][...] = arrays.label
        created["code_counts"][...] = arrays.code_counts.astype(np.uint32, copy=False)
    except BaseException:
        # Zarr raises the first chunk's error and goes on writing the others, even into a folder made anew.
        sync(_wait_for_other_chunks())
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        remove_tile(path, unfinished.with_name(f"{unfinished.name}.replaced"))
    unfinished.rename(path)


async def _wait_for_other_chunks() -> None:
    """Wait until all tasks of Zarr's event loop have ended, with or without an error."""
    others = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task is not None}
    await asyncio.gather(*others, return_exceptions=True)


def remove_tile(path: Path, unfinished: Path) -> None:
    """Remove a tile so that its place holds all of it or nothing.

    Args:
        path: The tile's folder in the store.
        unfinished: A folder on the same file system that is never read; it may hold what a killed run left.
    """
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    path.rename(unfinished)
    shutil.rmtree(unfinished)


def create_arrays(group: "zarr.Group", num_channels: int, subtile_size: int) -> dict[str, Any]:
    """Create a tile's arrays, still empty, as :class:`TileArrays` describes them.

    Args:
        group: The tile's Zarr group.
        num_channels: Channels of the image.
        subtile_size: Side of a subtile in cells: one chunk holds one subtile.
    """
    side = subtile_size * CELL_SIZE_PX
    image = (num_channels, TILE_SIZE_PX, TILE_SIZE_PX)
    counts = (num_channels, NUM_CODES)
    return {
        "image": _create_array(group, "image", image, (num_channels, side, side), np.float16(np.nan)),
        "label": _create_array(
            group, "label", (GRID_SIZE, GRID_SIZE), (subtile_size, subtile_size), np.uint8(UNKNOWN_LABEL)
        ),
        "code_counts": _create_array(group, "code_counts", counts, counts, np.uint32(0)),
    }


def _create_array(
    group: "zarr.Group", name: str, shape: tuple[int, ...], chunks: tuple[int, ...], fill_value: np.generic
) -> Any:
    from zarr.codecs import BloscCodec, Crc32cCodec

    compressor = BloscCodec(
        typesize=fill_value.dtype.itemsize, cname="lz4", clevel=COMPRESSION_LEVEL, shuffle="shuffle"
    )
    return group.create_array(
        name,
        shape=shape,
        dtype=fill_value.dtype,
        chunks=chunks,
        compressors=(compressor, Crc32cCodec()),
        fill_value=fill_value,
        # A missing chunk is then always a fault, never a short form of "no data".
        config={"write_empty_chunks": True},
    )


def read_entry(path: Path) -> tuple[TileEntry, str] | None:
    """Read a tile's entry and configuration hash without opening its arrays.

    Returns:
        The entry and the hash; ``None`` where there is no tile, or one of another version.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        if attributes["format_version"] != FORMAT_VERSION:
            return None
        return TileEntry.model_validate_json(json.dumps(attributes["entry"])), str(attributes["config_hash"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


class TileReader:
    """Reads one tile of a store; opens its arrays once.

    Args:
        path: The tile's folder.
        entry: The tile's entry in the manifest.
        mend: The command that writes the tile anew, for messages.

    Raises:
        InputDataError: The tile is missing, cannot be opened, or is not the one of the manifest.
    """

    def __init__(self, path: Path, entry: TileEntry, mend: str) -> None:
        self.path = path
        self._mend = mend
        if not (path / "zarr.json").is_file():
            raise InputDataError(f"The tile {path} is missing; write it anew with {mend}.")
        written = read_entry(path)
        if written is None or written[0].source != entry.source:
            raise InputDataError(
                f"The tile {path} is not the one that the store's manifest lists; write it anew with {mend}."
            )
        import zarr

        with self._naming_faults():
            group = zarr.open_group(path, mode="r", zarr_format=3)
            self._image, self._label = group["image"], group["label"]
            self._code_counts = group["code_counts"]

    @property
    def num_channels(self) -> int:
        """Channels of the image."""
        return int(self._image.shape[0])

    def read_image(self, channels: slice, rows: slice, columns: slice) -> HalfArray:
        """Read some channels of a window given in pixels, as (C, height, width)."""
        return self._read(self._image, (channels, rows, columns))

    def read_label(self) -> LabelArray:
        """Read the class indices (16, 16)."""
        return self._read(self._label, tuple(slice(0, size) for size in self._label.shape))

    def read_code_counts(self) -> npt.NDArray[np.uint32]:
        """Read the counts (C, 65536) of the image's codes."""
        return self._read(self._code_counts, tuple(slice(0, size) for size in self._code_counts.shape))

    def _read(self, array: Any, window: tuple[slice, ...]) -> Any:
        # Zarr reads a missing chunk as no data, so each file that the window needs is looked for first.
        chunk_ranges = [
            range(pixels.start // size, -(-pixels.stop // size))
            for pixels, size in zip(window, array.chunks, strict=True)
        ]
        for chunk in product(*chunk_ranges):
            path = self.path / array.basename / "c" / "/".join(map(str, chunk))
            if not path.is_file():
                raise InputDataError(f"The file {path} is missing; write its tile anew with {self._mend}.")
        with self._naming_faults():
            return array[window]

    @contextmanager
    def _naming_faults(self) -> Iterator[None]:
        # Zarr and its codecs raise whatever their parts raise: KeyError, RuntimeError, ValueError, OSError.
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            raise InputDataError(
                f"The tile {self.path} cannot be read ({error}); write it anew with {self._mend}."
            ) from error
