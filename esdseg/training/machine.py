"""What to compute on and with: device, processes, precision and memory format."""

from dataclasses import dataclass

import torch

from esdseg.config.training import TrainerConfig
from esdseg.errors import UsageError
from esdseg.models.device import (
    ResolvedAccelerator,
    ResolvedPrecision,
    choose_accelerator,
    choose_precision,
)


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
    accelerator = choose_accelerator(config.accelerator)
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
