from collections.abc import Mapping
from pathlib import Path

import pytest

from esdseg.config.evaluation import AblationConfig
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store, open_store
from esdseg.training.fit import fit
from tests.datasets.make_store import make_store
from tests.training.conftest import tiny_config

NIGHTS = ("2020-08-08", "2020-08-11", "2020-08-12")
CHANNELS = (
    *(f"viirs_{night}_DNB" for night in NIGHTS),
    "viirs_DNB_max",
    "viirs_DNB_median",
    "sentinel1_2020-08-04_VV",
    *(f"sentinel2_2020-08-{day}_{band}" for day in (11, 16) for band in ("B02", "B04")),
)
ALL_BANDS = {"viirs": ["all"], "sentinel1": ["VV"], "sentinel2": ["B02", "B04"]}
"""Projections over nights are only taken where they are named."""

SPLIT: Mapping[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile3": "val", "Tile10": "val"}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of four tiles in ``processed/`` and the run ``tiny`` in ``checkpoints/``."""
    folder = tmp_path_factory.mktemp("ablation")
    make_store(folder / "processed", split=SPLIT, channels=CHANNELS)
    config = tiny_config(folder / "processed", data={"selected_bands": ALL_BANDS})
    fit(config, checkpoints_dir=folder / "checkpoints", name="tiny")
    return folder


@pytest.fixture(scope="session")
def store(workspace: Path) -> Store:
    return open_store(workspace / "processed")


def ablation_config(workspace: Path, **settings: object) -> AblationConfig:
    """Settings that predict on the processor and resample little."""
    values = {
        "checkpoint": "tiny",
        "checkpoints_dir": workspace / "checkpoints",
        "processed_dir": workspace / "processed",
        "predictions_dir": workspace / "predictions",
        "accelerator": "cpu",
        "precision": "32-true",
        "bootstrap_resamples": 200,
        **settings,
    }
    return AblationConfig.model_validate(values)
