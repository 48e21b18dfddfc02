"""Predicting tiles on the workers of a Dask cluster: whole tiles there, arrays back here."""

import hashlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from esdseg.config.evaluation import PredictionConfig
from esdseg.errors import ESDSegError, InputDataError, MissingResourceError
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.prediction.device import Device, choose_device
from esdseg.prediction.inputs import Inputs
from esdseg.prediction.passes import Passes
from esdseg.prediction.prediction import predict_together
from esdseg.prediction.predictor import TilePredictor
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.store.store import Store, open_store
from esdseg.system.dask_cluster import Cluster, threads_of_a_task


@dataclass(frozen=True)
class _Network:
    """A checkpoint that a worker is to load: its path on all machines, and what it then holds."""

    path: Path
    window_size: int
    digest: str


@dataclass(frozen=True)
class _Setting:
    """All that a worker needs to predict any tile."""

    networks: tuple[_Network, ...]
    store: Path
    subtile_size: int
    manifest_hash: str
    config: PredictionConfig
    torch_version: str


@dataclass(frozen=True)
class _Job:
    setting: _Setting
    tile: str


@dataclass(frozen=True)
class _Opened:
    """What a worker keeps from tile to tile."""

    checkpoints: tuple[LoadedCheckpoint, ...]
    store: Store
    device: Device


def predict_on_cluster(cluster: Cluster, config: PredictionConfig) -> TilePredictor:
    """Return what predicts tiles on a cluster, several at a time.

    Args:
        cluster: Its workers see the store and the checkpoints at the same paths as this process.
        config: Where and how each worker computes; what is ``auto`` it decides for itself.
    """

    def predict(inputs: Inputs, tiles: Sequence[str]) -> Iterator[TilePrediction]:
        setting = _setting(inputs, config)
        jobs = [_Job(setting, tile) for tile in tiles]
        early: dict[str, TilePrediction] = {}
        with closing(cluster.map_unordered(_predict, jobs)) as finished:
            for tile in tiles:
                while tile not in early:
                    job, prediction = next(finished)
                    early[job.tile] = prediction
                yield early.pop(tile)

    return predict


def _setting(inputs: Inputs, config: PredictionConfig) -> _Setting:
    networks = tuple(
        # Workers were started in other folders.
        _Network(one.path.absolute(), one.window_size, _digest(one))
        for one in inputs.checkpoints
    )
    store = inputs.store
    return _Setting(
        networks, store.path.absolute(), store.subtile_size, store.manifest_hash, config, _torch_version()
    )


def _digest(checkpoint: LoadedCheckpoint) -> str:
    """Return a hash of all that a checkpoint predicts with."""
    digest = hashlib.sha256(checkpoint.metadata.model_dump_json().encode())
    for name, values in checkpoint.model.state_dict().items():
        digest.update(name.encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _torch_version() -> str:
    """Return the version without what it was built for, such as ``+cpu``."""
    return str(torch.__version__).partition("+")[0]


def _predict(job: _Job) -> TilePrediction:
    """Predict a tile in a task of a worker.

    Raises:
        InputDataError: The worker sees not what the caller sees, or the tile cannot be read.
        MissingResourceError: The worker has another version of PyTorch.
        UsageError: The worker lacks the accelerator that the settings name.
    """
    torch.set_num_threads(threads_of_a_task(torch.get_num_threads()))
    config = job.setting.config
    try:
        with _opening:
            opened = _open(job.setting)
    except ESDSegError as error:
        raise type(error)(f"The Dask worker on {socket.gethostname()}: {error}") from None
    (prediction,) = predict_together(
        opened.checkpoints,
        opened.store,
        [job.tile],
        opened.device,
        config.batch_size,
        Passes(config.tta, config.overlap),
    )
    return prediction


_opening = threading.Lock()
"""A worker's threads load each checkpoint once, not each for itself."""


@lru_cache(maxsize=1)
def _open(setting: _Setting) -> _Opened:
    """Load checkpoints, which are kept for the next tile, and see that they are the caller's."""
    if setting.torch_version != _torch_version():
        raise MissingResourceError(
            f"it has PyTorch {_torch_version()}, this machine {setting.torch_version}, which may round "
            "otherwise; install one version on all machines with `pip install -c constraints.txt -e .`."
        )
    checkpoints = tuple(load_checkpoint(one.path, one.window_size) for one in setting.networks)
    for checkpoint, expected in zip(checkpoints, setting.networks, strict=True):
        if _digest(checkpoint) != expected.digest:
            raise InputDataError(_other_content(checkpoint.path))
    store = open_store(setting.store.parent, setting.subtile_size)
    if store.manifest_hash != setting.manifest_hash:
        raise InputDataError(_other_content(store.path))
    return _Opened(checkpoints, store, choose_device(setting.config.accelerator, setting.config.precision))


def _other_content(path: Path) -> str:
    return (
        f"what it sees as {path} is not what this machine sees there; let all machines see the same folders, "
        "and change nothing in them meanwhile."
    )
