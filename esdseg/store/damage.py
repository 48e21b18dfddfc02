"""Finding damage in a stored tile by the checksums of its files, without unpacking them."""

from functools import cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from zarr.storage import MemoryStore

from esdseg.store.tile_store import create_arrays

CHECKSUM_BYTES = 4
"""At the end of each chunk: the CRC-32C of what is before it, lowest byte first, as Zarr writes it."""

COMPRESSOR = "blosc"
"""Name of the compressor among an array's codecs."""


def find_damage(path: Path, num_channels: int, subtile_size: int) -> str | None:
    """Look at every file of a tile's arrays.

    Args:
        path: The tile's folder.
        num_channels: Channels of the store.
        subtile_size: Side of its subtiles in cells.

    Returns:
        What is wrong with the first damaged file; ``None`` if all are there and as they were written.
    """
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        for name, layout in _layouts(num_channels, subtile_size).items():
            array = group[name]
            if _layout(array) != layout:
                return f"{name}/zarr.json describes another array than was written"
            for index in np.ndindex(*array.cdata_shape):
                file = f"{name}/c/{'/'.join(map(str, index))}"
                fault = _checksum_fault(path / file)
                if fault is not None:
                    return f"{file} {fault}"
    except MemoryError:
        raise
    # Zarr raises whatever its parts raise.
    except Exception as error:
        return f"it cannot be opened ({error})"
    return None


def _checksum_fault(path: Path) -> str | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    packed, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:]
    if len(content) <= CHECKSUM_BYTES or google_crc32c.value(packed) != int.from_bytes(checksum, "little"):
        return "is damaged: its checksum does not hold"
    return None


@cache
def _layouts(num_channels: int, subtile_size: int) -> dict[str, dict[str, Any]]:
    """Return what the metadata of each array say in a tile that was written just now."""
    group = zarr.create_group(MemoryStore(), zarr_format=3)
    arrays = create_arrays(group, num_channels, subtile_size)
    return {name: _layout(array) for name, array in arrays.items()}


def _layout(array: Any) -> dict[str, Any]:
    """Return an array's metadata, without the compressor's settings: a chunk says itself how it was made."""
    metadata = array.metadata.to_dict()
    codecs = [codec["name"] if codec["name"] == COMPRESSOR else codec for codec in metadata["codecs"]]
    return {**metadata, "codecs": codecs}
