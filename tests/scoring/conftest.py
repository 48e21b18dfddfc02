from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from esdseg.config.evaluation import EvalConfig, PredictionConfig, RestitchConfig
from esdseg.models.checkpoint import NetworkCheckpoint, load_checkpoint
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.results import EvaluationResult
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import SplitName, write_manifest
from esdseg.store.store import Store, open_store
from esdseg.tiles.reading import Georeference
from tests.datasets.make_store import make_store, random_labels
from tests.scoring.checkpoints import write_checkpoint

CHANNELS = (
    "viirs_2020-08-08_DNB",
    "viirs_DNB_max",
    "sentinel1_2020-08-04_VV",
    *(f"sentinel2_2020-08-{day}_{band}" for day in (11, 16) for band in ("B02", "B03", "B04", "B08")),
)
SPLIT: Mapping[str, SplitName] = {
    "Tile1": "train",
    "Tile2": "train",
    "Tile3": "val",
    "Tile10": "val",
    "Tile4": "test",
}
GEOREFERENCED_TILE = "Tile3"
UNKNOWN_CELLS = 20


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in ``processed/`` and the run ``tiny-unet`` in ``checkpoints/``.

    Tile10 has cells without ground truth, Tile4 has no other; Tile3 has a georeference.
    """
    folder = tmp_path_factory.mktemp("workspace")
    partly_known = random_labels(7)
    partly_known.flat[:UNKNOWN_CELLS] = UNKNOWN_LABEL
    labels = {"Tile10": partly_known, "Tile4": np.full_like(partly_known, UNKNOWN_LABEL)}
    store = make_store(folder / "processed", split=SPLIT, channels=CHANNELS, labels=labels)
    georeference = Georeference(crs_wkt="EPSG:32630", transform=(10, 0, 500_000, 0, -10, 1_200_000))
    entry = store.manifest.tiles[GEOREFERENCED_TILE].model_copy(update={"georeference": georeference})
    tiles = {**store.manifest.tiles, GEOREFERENCED_TILE: entry}
    write_manifest(store.path, store.manifest.model_copy(update={"tiles": tiles}))
    write_checkpoint(folder / "checkpoints/tiny-unet/best.ckpt", open_store(folder / "processed"))
    return folder


@pytest.fixture(scope="session")
def store(workspace: Path) -> Store:
    return open_store(workspace / "processed")


@pytest.fixture
def checkpoint(workspace: Path) -> NetworkCheckpoint:
    return load_checkpoint(workspace / "checkpoints/tiny-unet/best.ckpt")


@pytest.fixture(scope="session")
def eval_config(workspace: Path) -> EvalConfig:
    return EvalConfig(
        checkpoint="tiny-unet",
        checkpoints_dir=workspace / "checkpoints",
        processed_dir=workspace / "processed",
        predictions_dir=workspace / "predictions",
        accelerator="cpu",
        precision="32-true",
        bootstrap_resamples=200,
        simple_baselines=False,
    )


def for_restitch(config: PredictionConfig, **changes: object) -> RestitchConfig:
    """The same prediction, for ``restitch``."""
    shared = {key: getattr(config, key) for key in PredictionConfig.model_fields}
    return RestitchConfig.model_validate({**shared, **changes})


@pytest.fixture(scope="session")
def evaluated(eval_config: EvalConfig) -> EvaluationResult:
    """The validation tiles, evaluated once."""
    return evaluate(eval_config)
