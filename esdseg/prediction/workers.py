"""Predicting in other processes and on the workers of a Dask cluster, with the same checkpoints as here."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import NetworkPredictionConfig
from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.bundle import bundle_of
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.prediction.sources import Ensemble
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import Passes, choose_device, predict_tiles
from esdseg.store.store import Store, open_store
from esdseg.system.dask_cluster import Cluster, naming_machine, threads_of_a_task


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


@dataclass(frozen=True)
class _TileTask:
    """All that a worker needs to predict a tile."""

    tile: str
    networks: tuple[WorkerNetwork, ...]
    store: Path
    subtile_size: int
    manifest_hash: str
    config: NetworkPredictionConfig


def predict_on_cluster(
    cluster: Cluster, ensemble: Ensemble, tiles: Sequence[str], config: NetworkPredictionConfig
) -> Iterator[TilePrediction]:
    """Predict tiles on a cluster, several at a time.

    Args:
        cluster: Its workers see the store and the checkpoints at the same paths as this process.
        ensemble: What predicts.
        tiles: Names of the tiles.
        config: Where and how each worker computes; what is ``auto`` it decides for itself.

    Yields:
        The prediction of each tile, in the order of ``tiles``.

    Raises:
        InputDataError: A worker sees not what this process sees, or a tile cannot be read.
        MissingResourceError: A worker has another version of PyTorch.
        UsageError: A worker lacks the accelerator that the settings name.
    """
    store = ensemble.store
    networks = describe_networks(ensemble.checkpoints)
    tasks = [
        _TileTask(
            tile,
            networks,
            store.path.absolute(),
            store.subtile_size,
            store.manifest_hash,
            config,
        )
        for tile in tiles
    ]
    predicted_by = tuple(str(checkpoint.path) for checkpoint in ensemble.checkpoints)
    finished_early: dict[str, TilePrediction] = {}
    with closing(cluster.map_unordered(_predict, tasks)) as finished:
        for tile in tiles:
            while tile not in finished_early:
                task, prediction = next(finished)
                finished_early[task.tile] = replace(prediction, predicted_by=predicted_by)
            yield finished_early.pop(tile)


def _predict(task: _TileTask) -> TilePrediction:
    """Predict a tile in a task of a worker."""
    torch.set_num_threads(threads_of_a_task(torch.get_num_threads()))
    config = task.config
    with naming_machine():
        device = choose_device(config.accelerator, config.precision)
        checkpoints, store = load_networks(task.networks), _open_store(task)
    (prediction,) = predict_tiles(
        checkpoints, store, [task.tile], device, config.batch_size, Passes(config.tta, config.overlap)
    )
    return prediction


def _open_store(task: _TileTask) -> Store:
    store = open_store(task.store.parent, task.subtile_size)
    if store.manifest_hash != task.manifest_hash:
        raise InputDataError(other_content(store.path))
    return store
