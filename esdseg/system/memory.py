"""How much memory, how many cores and how much disk this process may take."""

import math
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from esdseg.system.tuning import give_back_freed_memory

SLURM_CORES_VARIABLE = "SLURM_CPUS_ON_NODE"
"""Cores of a SLURM job on this machine; set even where SLURM does not bind its processes to them."""

SLURM_MEGABYTES_VARIABLE = "SLURM_MEM_PER_NODE"
"""Memory of a SLURM job on this machine, in units of 2**20 bytes; set where the job asked for memory."""

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_UNIFIED_FILES = ("memory.max", "memory.current", "inactive_file")
_FIRST_VERSION_FILES = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Files of a control group with its limit and its use, and the key of memory.stat with what it can drop."""


def available_memory_bytes() -> int:
    """Return the memory that this process may still take.

    That is what the system calls available, or less where a container or a SLURM job has a smaller limit.
    Memory that the allocator holds for freed arrays is given back first, so that it counts as available.
    """
    # Imported here: the command line needs no more of this module than to word a size.
    import psutil

    give_back_freed_memory()
    limits = [psutil.virtual_memory().available]
    with suppress(OSError):
        limits += control_group_rooms(_MEMBERSHIP.read_text(encoding="utf-8"), _CONTROL_GROUPS)
    if job_megabytes := _number(SLURM_MEGABYTES_VARIABLE):
        limits.append(max(0, (job_megabytes << 20) - psutil.Process().memory_info().rss))
    return min(limits)


def control_group_rooms(membership: str, root: Path) -> Iterator[int]:
    """Yield the memory that each control group of this process still leaves, in bytes.

    Containers and SLURM set their limits there, in a group itself or in one above it.

    Args:
        membership: Content of ``/proc/self/cgroup``: the groups of version 1 and 2, one a line.
        root: Where control groups are mounted, ``/sys/fs/cgroup``.
    """
    for folder, is_unified in _control_groups(membership, root, "memory"):
        with suppress(OSError, ValueError, KeyError):
            yield _room_in_group(folder, *(_UNIFIED_FILES if is_unified else _FIRST_VERSION_FILES))


def control_group_cores(membership: str, root: Path) -> Iterator[int]:
    """Yield the cores that the quota of each control group of this process allows, rounded up.

    Args:
        membership: Content of ``/proc/self/cgroup``.
        root: Where control groups are mounted, ``/sys/fs/cgroup``.
    """
    for folder, is_unified in _control_groups(membership, root, "cpu"):
        # A group without a quota says "max", or -1 in version 1.
        with suppress(OSError, ValueError):
            names = ["cpu.max"] if is_unified else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            text = " ".join((folder / name).read_text(encoding="ascii") for name in names)
            quota_us, period_us = map(int, text.split())
            if quota_us > 0:
                yield math.ceil(quota_us / period_us)


def _control_groups(membership: str, root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process' groups and of those above, each with whether it is of version 2."""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        is_unified = controllers == ""
        if not is_unified and controller not in controllers.split(","):
            continue
        top = root if is_unified else root / controller
        # Inside a container the path may be the host's; the container's own group is then at the top.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder, is_unified
            if folder == top:
                break


def available_cores() -> int:
    """Return the number of cores that this process may use.

    That is what its affinity, the quotas of its control groups and its SLURM job leave it.
    """
    # Imported here: joblib takes half a second, and most that imports this module never asks.
    import joblib

    limits = [int(joblib.cpu_count())]
    with suppress(OSError):
        # joblib knows of the quota at the top alone, a container's, and not of that of a job on this machine.
        limits += control_group_cores(_MEMBERSHIP.read_text(encoding="utf-8"), _CONTROL_GROUPS)
    if job_cores := _number(SLURM_CORES_VARIABLE):
        limits.append(job_cores)
    return min(limits)


def free_disk_bytes(path: Path) -> int:
    """Return the space that this user may still take where ``path`` lies, or would lie if it were made."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def megabytes(size_bytes: float) -> str:
    """Word a size: ``0.4 MB``, ``36 MB`` or ``2.1 GB``."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.{1 if 0 < size_bytes < 1e6 else 0}f} MB"


def _room_in_group(folder: Path, limit_file: str, usage_file: str, droppable_key: str) -> int:
    """Return a group's limit less its use; raises ``ValueError`` where the limit is ``max``."""
    limit = int((folder / limit_file).read_text(encoding="ascii"))
    used = int((folder / usage_file).read_text(encoding="ascii"))
    statistics = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    droppable = int(dict(line.split() for line in statistics)[droppable_key])
    return max(0, limit - used + droppable)


def _number(variable: str) -> int:
    """Return an environment variable as a whole number; 0 where it is unset or no such number."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0
