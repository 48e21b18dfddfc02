"""Tiles that are predicted on a real Dask cluster of processes on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.prediction import cluster_predictor
from esdseg.prediction.cluster_predictor import predict_on_cluster
from esdseg.prediction.inputs import Inputs
from esdseg.prediction.maps import read_probabilities
from esdseg.prediction.predictor import predict_here
from esdseg.scoring.restitch import restitch
from esdseg.store.store import Store
from esdseg.system.dask_cluster import Cluster, connect
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import for_restitch

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

TILES = ("Tile10", "Tile1", "Tile4")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as Dask gives each of its own, on which the last bits may hang."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cluster(dask_address: str) -> Iterator[Cluster]:
    with connect(dask_address) as connected:
        yield connected


@pytest.fixture
def inputs(checkpoint: LoadedCheckpoint, store: Store, tmp_path: Path) -> Inputs:
    return Inputs((checkpoint,), store, tmp_path)


def test_a_cluster_predicts_the_same_bits_in_the_same_order(
    cluster: Cluster, inputs: Inputs, store: Store, eval_config: EvalConfig, tmp_path: Path
) -> None:
    second = load_checkpoint(write_checkpoint(tmp_path / "second/best.ckpt", store, seed=1), 16)
    together = replace(inputs, checkpoints=(inputs.checkpoint, second))
    config = eval_config.model_copy(update={"batch_size": 4})

    mine = list(predict_on_cluster(cluster, config)(together, TILES))

    assert [one.tile for one in mine] == list(TILES)
    for one, other in zip(mine, predict_here(config)(together, TILES), strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_maps_are_written_here_wherever_the_workers_were_started(
    dask_address: str,
    eval_config: EvalConfig,
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workspace)
    paths = {
        "checkpoints_dir": Path("checkpoints"),
        "processed_dir": Path("processed"),
        "predictions_dir": tmp_path,
        "tiles": ("Tile1",),
    }
    config = for_restitch(eval_config, **paths)
    alone = restitch(config.model_copy(update={"name": "alone"}))
    told: list[tuple[str, int, int]] = []

    mapped = restitch(
        config.model_copy(update={"name": "mapped", "dask": dask_address}), lambda *one: told.append(one)
    )

    assert told == [("Tile1", 1, 1)]
    np.testing.assert_array_equal(
        read_probabilities(mapped.maps[0].probabilities), read_probabilities(alone.maps[0].probabilities)
    )


def test_a_checkpoint_that_a_worker_cannot_see_is_named(
    cluster: Cluster, inputs: Inputs, eval_config: EvalConfig, tmp_path: Path
) -> None:
    elsewhere = replace(inputs.checkpoint, path=tmp_path / "gone.ckpt")

    with pytest.raises(InputDataError, match=r"The Dask worker on \S+: .*gone\.ckpt"):
        list(predict_on_cluster(cluster, eval_config)(replace(inputs, checkpoints=(elsewhere,)), TILES))


def test_a_checkpoint_that_a_worker_sees_otherwise_is_refused(
    cluster: Cluster, inputs: Inputs, eval_config: EvalConfig
) -> None:
    with torch.no_grad():
        next(inputs.checkpoint.model.network.parameters()).add_(1)

    with pytest.raises(InputDataError, match=r"best\.ckpt is not what this machine sees there"):
        list(predict_on_cluster(cluster, eval_config)(inputs, TILES))


def test_a_store_that_a_worker_sees_otherwise_is_refused(
    cluster: Cluster, inputs: Inputs, store: Store, eval_config: EvalConfig
) -> None:
    other = Store(store.path, store.manifest, "0" * 64)

    with pytest.raises(InputDataError, match=r"4x4 is not what this machine sees there"):
        list(predict_on_cluster(cluster, eval_config)(replace(inputs, store=other), TILES))


def test_a_worker_with_another_pytorch_is_refused(
    cluster: Cluster, inputs: Inputs, eval_config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_predictor, "_torch_version", lambda: "1.0.0")

    with pytest.raises(MissingResourceError, match=r"it has PyTorch \S+, this machine 1\.0\.0"):
        list(predict_on_cluster(cluster, eval_config)(inputs, TILES))


def test_a_device_that_the_workers_lack_is_told_as_ones_own_would_be(
    cluster: Cluster, inputs: Inputs, eval_config: EvalConfig
) -> None:
    config = eval_config.model_copy(update={"precision": "16-mixed"})

    with pytest.raises(UsageError, match=r"The Dask worker on \S+: --precision 16-mixed needs a GPU"):
        list(predict_on_cluster(cluster, config)(inputs, TILES))
