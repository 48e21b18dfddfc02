"""How much memory, how many cores and how much disk this process may take."""

import os
import shutil
from pathlib import Path


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


def available_cores() -> int:
    """Return the number of cores that this process may use.

    That is what its affinity (set by SLURM or ``taskset``) and the quota of its container leave it.
    """
    # Imported here: joblib takes half a second, and most that imports this module never asks.
    import joblib

    return int(joblib.cpu_count())


def free_disk_bytes(path: Path) -> int:
    """Return the space that this user may still take where ``path`` lies, or would lie if it were made."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def megabytes(size_bytes: float) -> str:
    """Word a size: ``36 MB`` or ``2.1 GB``."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


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
