"""Where and how precisely a network predicts."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from esdseg.config.section import Accelerator, Precision
from esdseg.errors import UsageError

BFLOAT16_CPU_FEATURES = ("avx512_bf16", "amx_bf16")
"""Instruction sets with which a processor multiplies bfloat16 faster than float32."""


@dataclass(frozen=True)
class Device:
    """A device and the precision of the network's arithmetic on it.

    Attributes:
        torch_device: Where tensors lie.
        compute_dtype: What convolutions and products are computed in; weights are always float32.
    """

    torch_device: torch.device
    compute_dtype: torch.dtype

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
    device = _torch_device(accelerator)
    return Device(device, _compute_dtype(precision, device))


def _torch_device(accelerator: Accelerator) -> torch.device:
    available = {
        "gpu": ("cuda", torch.cuda.is_available()),
        "mps": ("mps", torch.backends.mps.is_available()),
        "cpu": ("cpu", True),
    }
    if accelerator == "auto":
        return torch.device(next(name for name, there in available.values() if there))
    name, there = available[accelerator]
    if not there:
        raise UsageError(f"--accelerator {accelerator}: PyTorch finds no such device here; use cpu or auto.")
    return torch.device(name)


def _compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "16-mixed" and device.type == "cpu":
        raise UsageError("--precision 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU.")
    if precision != "auto":
        return {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu" and any(
        torch.cpu.get_capabilities().get(feature) for feature in BFLOAT16_CPU_FEATURES
    ):
        return torch.bfloat16
    return torch.float32
