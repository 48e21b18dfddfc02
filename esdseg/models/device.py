"""What to compute on and how precisely, and what is said where its memory runs out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from esdseg.config.section import Accelerator, Precision
from esdseg.errors import OutOfMemoryError, UsageError

ResolvedAccelerator = Literal["cpu", "gpu", "mps"]
ResolvedPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]

BFLOAT16_CPU_FEATURES = ("avx512_bf16", "amx_bf16")
"""Instruction sets with which a processor multiplies bfloat16 faster than float32, not slower."""


def choose_accelerator(setting: Accelerator) -> ResolvedAccelerator:
    """Return the accelerator: a GPU where there is one, else the CPU.

    Raises:
        UsageError: The machine lacks what was asked for.
    """
    available: dict[ResolvedAccelerator, bool] = {
        "gpu": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if setting == "auto":
        return next(name for name, there in available.items() if there)
    if not available[setting]:
        raise UsageError(f"--accelerator {setting}: PyTorch finds no such device here; use cpu or auto.")
    return setting


def choose_torch_device(setting: Accelerator) -> torch.device:
    """Return where tensors lie on the accelerator; see :func:`choose_accelerator`."""
    accelerator = choose_accelerator(setting)
    return torch.device("cuda" if accelerator == "gpu" else accelerator)


def choose_precision(setting: Precision, accelerator: ResolvedAccelerator) -> ResolvedPrecision:
    """Return the precision: bfloat16 where the device computes in it, float16 on older GPUs, else float32.

    Raises:
        UsageError: ``16-mixed`` was asked for on a CPU.
    """
    if setting == "16-mixed" and accelerator == "cpu":
        raise UsageError("--precision 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU.")
    if setting != "auto":
        return setting
    if accelerator == "gpu":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator == "cpu" and any(torch.cpu.get_capabilities().get(name) for name in BFLOAT16_CPU_FEATURES):
        return "bf16-mixed"
    return "32-true"


_CPU_FAULT = re.compile(r"can't allocate memory|not enough memory|std::bad_alloc")
"""PyTorch's allocators for the CPU raise a bare ``RuntimeError``."""

_BYTES_ASKED = re.compile(
    r"allocate (\d+) bytes|allocate ([\d.]+ [KMGT]iB)|Unable to allocate ([\d.]+ [KMGT]iB)"
)


@contextmanager
def naming_memory_faults(what: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory in the block into an error that names what did not fit and what to try.

    Args:
        what: What was being computed, with its sizes, such as ``a batch of 64 windows``.
        advice: What takes less memory.

    Raises:
        OutOfMemoryError: There was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        raise OutOfMemoryError(f"Out of memory with {what}{_asked(error)}. {advice}") from error


def is_memory_fault(error: Exception) -> bool:
    """Return whether an error is a lack of memory, on the CPU or on a GPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and _CPU_FAULT.search(str(error)) is not None
    )


def _asked(error: Exception) -> str:
    asked = _BYTES_ASKED.search(str(error))
    if asked is None:
        return ""
    size = f"{int(asked[1]) / 1e9:.2f} GB" if asked[1] else asked[2] or asked[3]
    return f" ({size} more could not be had)"
