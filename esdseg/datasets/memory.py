"""Where decoded subtiles are kept: in memory where they fit, else on disk."""

from typing import Literal

from esdseg.grid import TILE_SIZE_PX

Cache = Literal["memory", "disk"]

MEMORY_SHARE = 0.5
"""Share of the available memory that decoded subtiles may fill."""

BYTES_PER_VALUE = 2
"""Of half precision."""


def decoded_bytes(tiles: int, channels: int) -> int:
    """Return the size of ``tiles`` decoded tiles of ``channels`` channels."""
    return tiles * channels * TILE_SIZE_PX**2 * BYTES_PER_VALUE


def choose_cache(
    setting: Literal["auto", "memory", "disk"], needed_bytes: int, available_bytes: int
) -> Cache:
    """Resolve ``data.cache``: ``auto`` is memory where the subtiles fill at most half of what is free."""
    if setting != "auto":
        return setting
    return "memory" if needed_bytes <= MEMORY_SHARE * available_bytes else "disk"
