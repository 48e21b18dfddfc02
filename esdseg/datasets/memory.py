"""Where decoded subtiles are kept: in memory where they fit, else on disk."""

import os
from pathlib import Path
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


def available_memory_bytes() -> int:
    """Return the memory that this process may still take; 0 where the system does not say.

    On Linux that is what the kernel calls available, or what the control group leaves where that is less;
    elsewhere half of the machine's memory.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        # Windows has no sysconf, and some systems do not know these names.
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, ValueError, OSError):
            return 0
    fields = dict(line.split(":", 1) for line in lines)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    return min(available, _control_group_bytes(available))


def _control_group_bytes(unlimited: int) -> int:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        reclaimable = dict(
            line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        )
        cached = int(reclaimable["inactive_file"])
    except (OSError, ValueError, KeyError):
        return unlimited
    return unlimited if limit == "max" else max(0, int(limit) - used + cached)
