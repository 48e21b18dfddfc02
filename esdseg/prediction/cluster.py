"""Predicting tiles on the workers of a Dask cluster: whole tiles there, arrays back here."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import PredictionConfig
from esdseg.errors import ESDSegError, InputDataError, MissingResourceError
from esdseg.models.bundle import bundle_of
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.prediction.sources import Ensemble
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import Passes, choose_device, predict_tiles
from esdseg.store.store import Store, open_store
from esdseg.system.dask_cluster import Cluster, threads_of_a_task


@dataclass(frozen=True)
class _Network:
    """A checkpoint that a worker loads: its path on all machines, and what it says of itself here."""

    path: Path
    window_size: int
    metadata: CheckpointMetadata


@dataclass(frozen=True)
class _TileTask:
    """All that a worker needs to predict a tile."""

    tile: str
    networks: tuple[_Network, ...]
    store: Path
    subtile_size: int
    manifest_hash: str
    config: PredictionConfig
    torch_version: str


def predict_on_cluster(
    cluster: Cluster, ensemble: Ensemble, tiles: Sequence[str], config: PredictionConfig
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
    # Workers were started in other folders.
    networks = tuple(
        _Network(checkpoint.path.absolute(), checkpoint.window_size, checkpoint.metadata)
        for checkpoint in ensemble.checkpoints
    )
    tasks = [
        _TileTask(
            tile,
            networks,
            store.path.absolute(),
            store.subtile_size,
            store.manifest_hash,
            config,
            torch_version(),
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


def torch_version() -> str:
    """Return the version without what it was built for, such as ``+cpu``."""
    return str(torch.__version__).partition("+")[0]


def _predict(task: _TileTask) -> TilePrediction:
    """Predict a tile in a task of a worker."""
    torch.set_num_threads(threads_of_a_task(torch.get_num_threads()))
    config = task.config
    try:
        device = choose_device(config.accelerator, config.precision)
        with _loading:
            checkpoints, store = _load_checkpoints(task), _open_store(task)
    except ESDSegError as error:
        raise type(error)(f"The Dask worker on {socket.gethostname()}: {error}") from None
    (prediction,) = predict_tiles(
        checkpoints, store, [task.tile], device, config.batch_size, Passes(config.tta, config.overlap)
    )
    return prediction


_loading = threading.Lock()
"""A worker's threads load each checkpoint once, not each for itself."""


def _load_checkpoints(task: _TileTask) -> tuple[LoadedCheckpoint, ...]:
    if task.torch_version != torch_version():
        raise MissingResourceError(
            f"it has PyTorch {torch_version()}, this machine {task.torch_version}, which may round "
            "otherwise; install one version on all machines with `pip install -c constraints.txt -e .`."
        )
    checkpoints = []
    for network in task.networks:
        file = bundle_of(network.path) or network.path
        written = file.stat().st_mtime_ns if file.exists() else 0
        checkpoint = _load(network.path, network.window_size, written)
        if checkpoint.metadata != network.metadata:
            raise InputDataError(_other_content(network.path))
        checkpoints.append(checkpoint)
    return tuple(checkpoints)


@lru_cache(maxsize=8)
def _load(path: Path, window_size: int, written: int) -> LoadedCheckpoint:
    """Load a checkpoint, which is kept for the next tiles until its file is written again."""
    return open_checkpoint(path, window_size)


def _open_store(task: _TileTask) -> Store:
    store = open_store(task.store.parent, task.subtile_size)
    if store.manifest_hash != task.manifest_hash:
        raise InputDataError(_other_content(store.path))
    return store


def _other_content(path: Path) -> str:
    return (
        f"what it sees as {path} is not what this machine sees there; let all machines see the same folders, "
        "and change nothing in them meanwhile."
    )
