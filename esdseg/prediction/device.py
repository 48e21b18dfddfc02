"""Where and how precisely a network predicts."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from esdseg.config.section import Accelerator, Precision
from esdseg.models.device import choose_accelerator, choose_precision, choose_torch_device
from esdseg.sensors.classes import GRID_SIZE

CELLS_AT_ONCE_CPU = 32
"""Label cells in a batch on a processor, whose caches more would overflow: on one core UNet takes 1.4 s a
tile in batches of 2 subtiles of 4 x 4 cells, and 2.0 s with all 16 at once."""

_COMPUTE_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device and the precision of the network's arithmetic on it.

    Attributes:
        torch_device: Where tensors lie.
        compute_dtype: What convolutions and products are computed in; weights are always float32.
    """

    torch_device: torch.device
    compute_dtype: torch.dtype

    @property
    def cells_at_once(self) -> int:
        """Label cells to predict in one batch: a tile's, fewer on a processor."""
        return CELLS_AT_ONCE_CPU if self.torch_device.type == "cpu" else GRID_SIZE**2

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in :attr:`compute_dtype`."""
        if self.compute_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.torch_device.type, dtype=self.compute_dtype)


def choose_device(accelerator: Accelerator, precision: Precision) -> Device:
    """Decide what ``auto`` means here: a GPU where there is one, bfloat16 where the device computes in it.

    Raises:
        UsageError: The machine lacks what the settings name.
    """
    chosen = choose_accelerator(accelerator)
    return Device(choose_torch_device(chosen), _COMPUTE_DTYPES[choose_precision(precision, chosen)])
