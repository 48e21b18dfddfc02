"""What a run will need: disk, memory and time, and whether there is enough."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from esdseg.config.training import OptimizerConfig
from esdseg.datasets.cache import free_gpu_bytes
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.errors import MissingResourceError
from esdseg.models.device import choose_torch_device
from esdseg.system.memory import available_memory_bytes, free_disk_bytes, megabytes
from esdseg.training.machine import Machine
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask

CHECKPOINTS_AT_ONCE = 3
"""The best, the last, and the one that is being written beside them."""

VALIDATION_SHARE = 0.5
"""Validation and checkpoints, as a share of the time that an epoch's steps take."""


@dataclass(frozen=True)
class TrainingNeeds:
    """An estimate. What a batch takes on its way through the network comes on top of the memory.

    Attributes:
        checkpoint_bytes: Size of one checkpoint.
        disk_bytes: What all of the run's checkpoints take beyond those that are there.
        cache_bytes: Decoded pixels kept in memory, in all processes together; 0 where they lie elsewhere.
        memory_bytes: The same with weights, gradients and the optimizer's state.
        free_disk_bytes: What is free where the run lies.
        free_memory_bytes: What is free of the machine's memory; 0 where the system does not say.
        gpu_cache_bytes: Decoded pixels kept on each GPU, which all have a copy; 0 where they lie elsewhere.
        free_gpu_bytes: What is free on the first GPU; 0 where none trains, or the system does not say.
    """

    checkpoint_bytes: int
    disk_bytes: int
    cache_bytes: int
    memory_bytes: int
    free_disk_bytes: int
    free_memory_bytes: int
    gpu_cache_bytes: int
    free_gpu_bytes: int

    def line(self) -> str:
        """Return the estimate as one line for people."""
        where = "no cache"
        if self.cache_bytes:
            where = f"{megabytes(self.cache_bytes)} of it for decoded subtiles"
        elif self.gpu_cache_bytes:
            where = f"decoded subtiles take {megabytes(self.gpu_cache_bytes)} of each GPU's own"
        return (
            f"Needs about {megabytes(self.memory_bytes)} of memory besides the batches ({where}) and "
            f"{megabytes(self.disk_bytes)} of disk for checkpoints; {megabytes(self.free_memory_bytes)} and "
            f"{megabytes(self.free_disk_bytes)} are free."
        )

    def check(self, run_dir: Path) -> None:
        """Refuse a run that would only run out of disk or memory later.

        Args:
            run_dir: The run's folder, for the message.

        Raises:
            MissingResourceError: There is too little of one.
        """
        if self.free_disk_bytes < self.disk_bytes:
            raise MissingResourceError(
                f"The checkpoints of {run_dir} will take about {megabytes(self.disk_bytes)}, and "
                f"{megabytes(self.free_disk_bytes)} are free there. Free some, or choose another folder with "
                "--checkpoints-dir."
            )
        if 0 < self.free_memory_bytes < self.cache_bytes:
            raise MissingResourceError(
                f"data.cache=memory keeps {megabytes(self.cache_bytes)} of decoded subtiles, and "
                f"{megabytes(self.free_memory_bytes)} of memory are free. Leave it out, or use --set "
                "data.cache=disk."
            )
        if 0 < self.free_gpu_bytes < self.gpu_cache_bytes:
            raise MissingResourceError(
                f"data.cache=gpu keeps {megabytes(self.gpu_cache_bytes)} of decoded subtiles on each GPU, "
                f"and {megabytes(self.free_gpu_bytes)} are free there. Leave it out, or use --set "
                "data.cache=memory."
            )


def check_needs(
    run: RunFolder, task: SegmentationTask, data: SubtileDataModule, machine: Machine
) -> TrainingNeeds:
    """Estimate what a run needs before it starts, and refuse one that would only run out of it later.

    Args:
        run: Where the checkpoints go.
        task: The model and its settings.
        data: The subtiles.
        machine: What the model is trained on.

    Raises:
        MissingResourceError: There is too little disk or memory.
    """
    weights, checkpoint = _weights_bytes(task), checkpoint_bytes(task)
    there = sum(path.stat().st_size for path in (run.best_checkpoint, run.last_checkpoint) if path.is_file())
    device = choose_torch_device(machine.accelerator)
    cache = data.plan_cache(machine.devices, device)
    training = machine.devices * (checkpoint + weights)
    needs = TrainingNeeds(
        checkpoint_bytes=checkpoint,
        disk_bytes=max(0, CHECKPOINTS_AT_ONCE * checkpoint - there),
        cache_bytes=cache.memory_bytes,
        memory_bytes=cache.memory_bytes + training,
        free_disk_bytes=free_disk_bytes(run.path),
        free_memory_bytes=available_memory_bytes(),
        gpu_cache_bytes=cache.gpu_bytes,
        free_gpu_bytes=free_gpu_bytes(device),
    )
    needs.check(run.path)
    return needs


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Attributes:
        step_seconds: One training step; the whole fit where there are no steps.
        steps: Training steps an epoch.
        has_epochs: Whether there are epochs at all: some models are fitted in one go.
    """

    step_seconds: float
    steps: int
    has_epochs: bool

    def seconds(self, epochs: float) -> float:
        """Return how long so many epochs take."""
        if not self.has_epochs:
            return self.step_seconds
        return self.step_seconds * self.steps * (1 + VALIDATION_SHARE) * epochs


def checkpoint_bytes(task: SegmentationTask) -> int:
    """Estimate the size of one checkpoint: weights, their average, and the optimizer's state."""
    trained = sum(weight.nbytes for weight in task.model.parameters() if weight.requires_grad)
    copies = 1 if task.config.trainer.weight_averaging == "none" else 2
    return copies * _weights_bytes(task) + trained * _values_per_weight(task.config.optimizer)


def _weights_bytes(task: SegmentationTask) -> int:
    return sum(tensor.nbytes for tensor in chain(task.model.parameters(), task.model.buffers()))


def _values_per_weight(config: OptimizerConfig) -> int:
    """Return how many numbers the optimizer keeps for each weight."""
    if config.name == "sgd":
        return 1 if config.momentum else 0
    return 2
