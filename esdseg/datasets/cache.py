"""Where decoded pixels are kept: on the GPU that trains or in memory where they fit, else on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from esdseg.config.training import CacheSetting
from esdseg.datasets.pixel_grid import PixelGrid

CachePlace = Literal["gpu", "memory", "disk"]

MEMORY_SHARE = 0.5
"""Share of the available memory that decoded pixels may fill."""

GPU_SHARE = 0.25
"""Share of a GPU's free memory that they may fill: the network's own maps need the most of it."""

BYTES_PER_VALUE = 2
"""Of half precision."""


@dataclass(frozen=True)
class CachePlan:
    """Where decoded pixels are kept, and how much they take there.

    Attributes:
        place: On the device that trains, in memory, or on disk, from where they are decoded each time.
        copy_bytes: Size of all of them; each process keeps its own copy.
        copies: Processes of this machine.
    """

    place: CachePlace
    copy_bytes: int
    copies: int

    @property
    def memory_bytes(self) -> int:
        """What they fill of the machine's memory, in all processes together."""
        return self.copies * self.copy_bytes if self.place == "memory" else 0

    @property
    def gpu_bytes(self) -> int:
        """What they fill of the memory of each GPU."""
        return self.copy_bytes if self.place == "gpu" else 0


def plan_cache(
    setting: CacheSetting, copy_bytes: int, copies: int, free_memory_bytes: int, free_gpu_bytes: int
) -> CachePlan:
    """Resolve ``data.cache``.

    ``auto`` is the GPU where one copy fills at most a quarter of what is free there; else memory where all
    copies fill at most half of what is free; else disk.

    Args:
        setting: The setting.
        copy_bytes: Size of all decoded pixels.
        copies: Processes of this machine.
        free_memory_bytes: What is free of the machine's memory.
        free_gpu_bytes: What is free on the GPU that trains; 0 where none does.
    """
    if setting != "auto":
        return CachePlan(setting, copy_bytes, copies)
    if copy_bytes <= GPU_SHARE * free_gpu_bytes:
        return CachePlan("gpu", copy_bytes, copies)
    fits = copies * copy_bytes <= MEMORY_SHARE * free_memory_bytes
    return CachePlan("memory" if fits else "disk", copy_bytes, copies)


def decoded_bytes(tiles: int, grids: Sequence[PixelGrid]) -> int:
    """Return the size of the pixels that some grids take of ``tiles`` decoded tiles."""
    values = sum(len(grid.channels) * grid.pixels_per_tile**2 for grid in grids)
    return tiles * values * BYTES_PER_VALUE


def free_gpu_bytes(device: torch.device) -> int:
    """Return what is free of the memory of a GPU; 0 for other devices, which do not say or have none."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
