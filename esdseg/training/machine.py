"""What to compute on and with: device, processes, precision and memory format."""

from dataclasses import dataclass
from typing import Literal

import torch

from esdseg.config.section import Precision
from esdseg.config.training import TrainerConfig
from esdseg.errors import UsageError

ResolvedAccelerator = Literal["cpu", "gpu", "mps"]
ResolvedPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]

BFLOAT16_CPU_FEATURES = ("avx512_bf16", "amx_bf16")
"""Instruction sets with which a processor multiplies bfloat16 faster than float32."""


@dataclass(frozen=True)
class Machine:
    """The settings of :class:`TrainerConfig` with every ``auto`` decided.

    Attributes:
        accelerator: Kind of device.
        devices: GPUs, or processes on the CPU, a node.
        num_nodes: Machines.
        precision: Of the network's arithmetic; weights and normalisation are always float32.
        memory_format: Order of an image's axes in memory.
    """

    accelerator: ResolvedAccelerator
    devices: int
    num_nodes: int
    precision: ResolvedPrecision
    memory_format: torch.memory_format

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.num_nodes


def choose_machine(config: TrainerConfig) -> Machine:
    """Decide what ``auto`` means here.

    Raises:
        UsageError: The machine lacks what the settings name.
    """
    accelerator = _accelerator(config)
    here = torch.cuda.device_count() if accelerator == "gpu" else 1
    devices = here if config.devices == "auto" else config.devices
    if accelerator != "cpu" and devices > here:
        raise UsageError(
            f"--devices {devices} asks for more than the {here} that this machine has; use --devices {here}."
        )
    return Machine(
        accelerator=accelerator,
        devices=devices,
        num_nodes=config.num_nodes,
        precision=choose_precision(config.precision, accelerator),
        # Convolutions of all backends are at least as fast with the channels last.
        memory_format=(
            torch.contiguous_format if config.memory_format == "contiguous" else torch.channels_last
        ),
    )


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


def _accelerator(config: TrainerConfig) -> ResolvedAccelerator:
    available: dict[ResolvedAccelerator, bool] = {
        "gpu": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if config.accelerator == "auto":
        return next(name for name, there in available.items() if there)
    if not available[config.accelerator]:
        raise UsageError(
            f"--accelerator {config.accelerator}: PyTorch finds no such device here; use cpu or auto."
        )
    return config.accelerator
