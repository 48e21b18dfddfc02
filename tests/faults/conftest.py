"""Small inputs and the processes that work on them."""

import os
from pathlib import Path

import pytest

from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.manifest import SplitName
from tests.datasets.make_store import CHANNELS, make_store
from tests.faults.processes import Preloaded
from tests.preprocessing.raw_tiles import config_for, write_tiles

KILLS_VARIABLE = "ESDSEG_KILLS"
KILLS = 3
"""Attempts of each command that are killed, unless the variable says otherwise."""

SOAK_VARIABLE = "ESDSEG_SOAK_SECONDS"
"""Time after which a command is killed no more, however many kills were asked for."""

PREPROCESS = ["preprocess", "--raw-dir", "raw", "--processed-dir", "processed", "--workers", 1]

TRAIN = [
    *("train", "--model", "segmentation_cnn", "--name", "run", "--max-epochs", 3, "--batch-size", 8),
    *("--wandb", "disabled", "--accelerator", "cpu", "--precision", "32-true", "--calibrate"),
    *("--set", "model.depth=1", "--set", "model.embedding_size=2", "--set", "model.pool_sizes=[10, 5]"),
    *("--set", "augmentation.noise_probability=0.5", "--learning-rate", 0.01, "--processed-dir", "processed"),
]
"""A run of about a second in which everything random takes part."""

EVALUATE = [
    *("evaluate", "--checkpoint", "run", "--name", "out", "--processed-dir", "processed"),
    *("--no-simple-baselines", "--accelerator", "cpu", "--set", "bootstrap_resamples=100"),
]


SWEEP = ["sweep", "tiny.yml", "--processed-dir", "processed"]


@pytest.fixture(scope="session")
def kills() -> int:
    """How many attempts of a command are killed."""
    return int(os.environ.get(KILLS_VARIABLE, KILLS))


@pytest.fixture(scope="session")
def soak_seconds() -> float:
    """How long a command is killed at most."""
    return float(os.environ.get(SOAK_VARIABLE, "inf"))


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``raw/`` of three small tiles."""
    folder = tmp_path_factory.mktemp("small")
    write_tiles(folder / "raw", ("Tile1", "Tile2", "Tile3"))
    return folder


@pytest.fixture(scope="session")
def written(raw: Path) -> Path:
    """The same folder with its store in ``processed/``."""
    preprocess(config_for(raw))
    return raw


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in ``processed/`` that networks learn from: two tiles, and one to validate."""
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile10": "val"}
    folder = tmp_path_factory.mktemp("processed")
    make_store(folder / "processed", split=split, channels=CHANNELS[1:3])
    return folder


@pytest.fixture(scope="session")
def trained(preloaded: Preloaded, processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store and a run in ``checkpoints/run``."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "processed").symlink_to(processed / "processed")
    preloaded.run(folder, *TRAIN)
    return folder
