"""What a run will need of disk and memory, and whether it is there."""

from dataclasses import dataclass
from itertools import chain

from esdseg.config.training import OptimizerConfig
from esdseg.datasets import SubtileDataModule
from esdseg.errors import MissingResourceError
from esdseg.resources import available_memory_bytes, free_disk_bytes, megabytes
from esdseg.training.run_folder import RunFolder
from esdseg.training.task import SegmentationTask

CHECKPOINTS_AT_ONCE = 3
"""The best, the last, and the one that is being written beside them."""

COPIES_IN_TRAINING = 2
"""Weights and gradients."""


@dataclass(frozen=True)
class TrainingNeeds:
    """An estimate. What a batch takes on its way through the network comes on top of the memory.

    Attributes:
        checkpoint_bytes: Size of one checkpoint.
        disk_bytes: What all of the run's checkpoints take beyond those that are there.
        cache_bytes: Decoded subtiles kept in memory, in all processes together; 0 where they stay on disk.
        memory_bytes: The same with weights, gradients and the optimizer's state.
        free_disk_bytes: What is free where the run lies.
        free_memory_bytes: What is free of the machine's memory; 0 where the system does not say.
    """

    checkpoint_bytes: int
    disk_bytes: int
    cache_bytes: int
    memory_bytes: int
    free_disk_bytes: int
    free_memory_bytes: int

    def line(self) -> str:
        """Return the estimate as one line for people."""
        where = (
            f"{megabytes(self.cache_bytes)} of it for decoded subtiles" if self.cache_bytes else "no cache"
        )
        return (
            f"Needs about {megabytes(self.memory_bytes)} of memory besides the batches ({where}) and "
            f"{megabytes(self.disk_bytes)} of disk for checkpoints; {megabytes(self.free_memory_bytes)} and "
            f"{megabytes(self.free_disk_bytes)} are free."
        )


def estimate_needs(
    run: RunFolder, task: SegmentationTask, data: SubtileDataModule, processes: int
) -> TrainingNeeds:
    """Estimate what a run needs before it starts.

    Args:
        run: Where its checkpoints go.
        task: Its model and settings.
        data: Its subtiles.
        processes: That train on this machine.
    """
    trained = sum(one.nbytes for one in task.model.parameters() if one.requires_grad)
    weights = sum(one.nbytes for one in chain(task.model.parameters(), task.model.buffers()))
    state = trained * _values_per_weight(task.config.optimizer)
    averaged = 0 if task.config.trainer.weight_averaging == "none" else weights
    checkpoint = weights + averaged + state
    there = sum(path.stat().st_size for path in (run.best_checkpoint, run.last_checkpoint) if path.is_file())
    cache = data.cache_bytes(processes)
    return TrainingNeeds(
        checkpoint_bytes=checkpoint,
        disk_bytes=max(0, CHECKPOINTS_AT_ONCE * checkpoint - there),
        cache_bytes=cache,
        memory_bytes=cache + processes * (COPIES_IN_TRAINING * weights + averaged + state),
        free_disk_bytes=free_disk_bytes(run.path),
        free_memory_bytes=available_memory_bytes(),
    )


def check_needs(run: RunFolder, needs: TrainingNeeds) -> None:
    """Refuse a run that would only run out of disk or memory later.

    Raises:
        MissingResourceError: There is too little of one.
    """
    if needs.free_disk_bytes < needs.disk_bytes:
        raise MissingResourceError(
            f"The checkpoints of {run.path} will take about {megabytes(needs.disk_bytes)}, and "
            f"{megabytes(needs.free_disk_bytes)} are free there. Free some, or choose another folder with "
            "--checkpoints-dir."
        )
    if 0 < needs.free_memory_bytes < needs.cache_bytes:
        raise MissingResourceError(
            f"data.cache=memory keeps {megabytes(needs.cache_bytes)} of decoded subtiles, and "
            f"{megabytes(needs.free_memory_bytes)} of memory are free. Leave it out, or use --set "
            "data.cache=disk."
        )


def _values_per_weight(config: OptimizerConfig) -> int:
    """Return how many numbers the optimizer keeps for each weight."""
    if config.name == "sgd":
        return 1 if config.momentum else 0
    return 2
