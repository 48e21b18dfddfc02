from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from esdseg.config.training import ESDConfig
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.run_folder import FitResult
from tests.datasets.make_store import CHANNELS, make_store


def tiny_config(processed_dir: Path, **sections: Mapping[str, Any]) -> ESDConfig:
    """Settings of a run that takes about a second; keys of ``sections`` win."""
    values: dict[str, dict[str, Any]] = {
        "data": {"processed_dir": processed_dir, "batch_size": 8},
        "model": {"name": "segmentation_cnn", "depth": 1, "embedding_size": 2, "pool_sizes": [10, 5]},
        "optimizer": {"learning_rate": 0.01},
        "trainer": {
            "max_epochs": 2,
            "monitor": "val_f1_macro",
            "accelerator": "cpu",
            "devices": 1,
            "precision": "32-true",
        },
        "tracking": {"wandb": "disabled"},
    }
    for name, section in sections.items():
        values[name] = dict(section) if name == "model" else {**values.get(name, {}), **section}
    return ESDConfig.model_validate(values)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile10": "val"}
    return make_store(tmp_path_factory.mktemp("processed"), split=split, channels=CHANNELS[1:3])


@pytest.fixture(scope="session")
def processed_dir(store: Store) -> Path:
    return store.path.parent


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def finished(processed_dir: Path, runs_dir: Path) -> tuple[FitResult, list[EpochReport]]:
    """A run of four epochs with everything random switched on, for all tests that only look at one."""
    reports: list[EpochReport] = []
    config = tiny_config(
        processed_dir,
        augmentation={"noise_probability": 0.5, "blur_probability": 0.1},
        optimizer={"schedule": "plateau"},
        trainer={"max_epochs": 4, "patience": 4},
    )
    return fit(config, checkpoints_dir=runs_dir, name="finished", on_epoch=reports.append), reports
