"""Predicting tiles on the workers of a Dask cluster: whole tiles there, arrays back here."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from esdseg.config.evaluation import NetworkPredictionConfig
from esdseg.errors import ESDSegError, InputDataError
from esdseg.prediction.sources import Ensemble
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import Passes, choose_device, predict_tiles
from esdseg.prediction.worker_networks import (
    WorkerNetwork,
    describe_networks,
    load_networks,
    other_content,
)
from esdseg.store.store import Store, open_store
from esdseg.system.dask_cluster import Cluster, threads_of_a_task


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
    try:
        device = choose_device(config.accelerator, config.precision)
        checkpoints, store = load_networks(task.networks), _open_store(task)
    except ESDSegError as error:
        raise type(error)(f"The Dask worker on {socket.gethostname()}: {error}") from None
    (prediction,) = predict_tiles(
        checkpoints, store, [task.tile], device, config.batch_size, Passes(config.tta, config.overlap)
    )
    return prediction


def _open_store(task: _TileTask) -> Store:
    store = open_store(task.store.parent, task.subtile_size)
    if store.manifest_hash != task.manifest_hash:
        raise InputDataError(other_content(store.path))
    return store
