"""Checkpoints as other processes and machines load them: once each, and only if they are the same there."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.bundle import bundle_of
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint


@dataclass(frozen=True)
class WorkerNetwork:
    """A checkpoint that a worker loads: its path on all machines, and what it says of itself here."""

    path: Path
    window_size: int
    metadata: CheckpointMetadata
    torch_version: str

    @classmethod
    def of(cls, checkpoint: LoadedCheckpoint) -> "WorkerNetwork":
        """Describe a checkpoint that this process has loaded."""
        # Workers may have been started in other folders.
        path = checkpoint.path.absolute()
        return cls(path, checkpoint.window_size, checkpoint.metadata, torch_version())


def load_networks(networks: Iterable[WorkerNetwork]) -> tuple[LoadedCheckpoint, ...]:
    """Load checkpoints in a worker, which keeps them for its next items.

    Raises:
        InputDataError: A file is not there, or is not what it was where it was described.
        MissingResourceError: The worker has another version of PyTorch.
    """
    with _loading:
        return tuple(_load_same(network) for network in networks)


_loading = threading.Lock()
"""A worker's threads load each checkpoint once, not each for itself."""


def torch_version() -> str:
    """Return the version without what it was built for, such as ``+cpu``."""
    return str(torch.__version__).partition("+")[0]


def other_content(path: Path) -> str:
    """Say that a worker sees another file or folder than the process that asked it."""
    return (
        f"what it sees as {path} is not what this machine sees there; let all machines see the same folders, "
        "and change nothing in them meanwhile."
    )


def _load_same(network: WorkerNetwork) -> LoadedCheckpoint:
    if network.torch_version != torch_version():
        raise MissingResourceError(
            f"it has PyTorch {torch_version()}, this machine {network.torch_version}, which may round "
            "otherwise; install one version on all machines with `pip install -c constraints.txt -e .`."
        )
    file = bundle_of(network.path) or network.path
    written = file.stat().st_mtime_ns if file.exists() else 0
    checkpoint = _load(network.path, network.window_size, written)
    if checkpoint.metadata != network.metadata:
        raise InputDataError(other_content(network.path))
    return checkpoint


@lru_cache(maxsize=8)
def _load(path: Path, window_size: int, written: int) -> LoadedCheckpoint:
    """Load a checkpoint, which is kept for the next items until its file is written again."""
    return open_checkpoint(path, window_size)


def describe_networks(checkpoints: Sequence[LoadedCheckpoint]) -> tuple[WorkerNetwork, ...]:
    """Describe several checkpoints that this process has loaded."""
    return tuple(WorkerNetwork.of(checkpoint) for checkpoint in checkpoints)
