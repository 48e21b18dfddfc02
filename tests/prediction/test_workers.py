"""Tiles that are predicted on a real Dask cluster of processes on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError, MissingResourceError, UsageError
from esdseg.models.checkpoint import NetworkCheckpoint, load_checkpoint
from esdseg.prediction import workers
from esdseg.prediction.maps import read_probabilities
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.sources import Ensemble
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
def ensemble(checkpoint: NetworkCheckpoint, store: Store) -> Ensemble:
    return Ensemble((checkpoint,), store, TILES)


def test_a_cluster_predicts_the_same_bits_in_the_same_order(
    cluster: Cluster, ensemble: Ensemble, store: Store, eval_config: EvalConfig, tmp_path: Path
) -> None:
    second = open_checkpoint(write_checkpoint(tmp_path / "second/best.ckpt", store, seed=1), 16)
    together = replace(ensemble, checkpoints=(ensemble.checkpoint, second))
    config = eval_config.model_copy(update={"batch_size": 4})

    mine = list(Predictor(config, cluster).predict_ensemble(together))

    assert [one.tile for one in mine] == list(TILES)
    for one, other in zip(mine, Predictor(config).predict_ensemble(together), strict=True):
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
    cluster: Cluster, ensemble: Ensemble, eval_config: EvalConfig, tmp_path: Path
) -> None:
    elsewhere = replace(ensemble.checkpoint, path=tmp_path / "gone.ckpt")

    with pytest.raises(InputDataError, match=r"The Dask worker on \S+: .*gone\.ckpt"):
        list(Predictor(eval_config, cluster).predict_ensemble(replace(ensemble, checkpoints=(elsewhere,))))


def test_a_checkpoint_that_a_worker_sees_otherwise_is_refused(
    cluster: Cluster, ensemble: Ensemble, eval_config: EvalConfig
) -> None:
    changed = ensemble.checkpoint.metadata.model_copy(update={"run_name": "another"})
    other = replace(ensemble, checkpoints=(replace(ensemble.checkpoint, metadata=changed),))

    with pytest.raises(InputDataError, match=r"best\.ckpt is not what this machine sees there"):
        list(Predictor(eval_config, cluster).predict_ensemble(other))


def test_a_checkpoint_that_was_trained_again_is_loaded_again(
    cluster: Cluster, store: Store, eval_config: EvalConfig, tmp_path: Path
) -> None:
    path = tmp_path / "again.ckpt"
    for seed in (1, 2):
        ensemble = Ensemble((load_checkpoint(write_checkpoint(path, store, seed=seed)),), store, ("Tile1",))
        (mine,) = Predictor(eval_config, cluster).predict_ensemble(ensemble)
        (here,) = Predictor(eval_config).predict_ensemble(ensemble)
        np.testing.assert_array_equal(mine.probabilities, here.probabilities)


def test_a_store_that_a_worker_sees_otherwise_is_refused(
    cluster: Cluster, ensemble: Ensemble, store: Store, eval_config: EvalConfig
) -> None:
    other = Store(store.path, store.manifest, "0" * 64)

    with pytest.raises(InputDataError, match=r"4x4 is not what this machine sees there"):
        list(Predictor(eval_config, cluster).predict_ensemble(replace(ensemble, store=other)))


def test_a_worker_with_another_pytorch_is_refused(
    cluster: Cluster, ensemble: Ensemble, eval_config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "torch_version", lambda: "1.0.0")

    with pytest.raises(MissingResourceError, match=r"it has PyTorch \S+, this machine 1\.0\.0"):
        list(Predictor(eval_config, cluster).predict_ensemble(ensemble))


def test_a_device_that_the_workers_lack_is_told_as_ones_own_would_be(
    cluster: Cluster, ensemble: Ensemble, eval_config: EvalConfig
) -> None:
    config = eval_config.model_copy(update={"precision": "16-mixed"})

    with pytest.raises(UsageError, match=r"The Dask worker on \S+: --precision 16-mixed needs a GPU"):
        list(Predictor(config, cluster).predict_ensemble(ensemble))
