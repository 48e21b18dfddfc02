"""Every flag of ``esdseg train`` that names a setting reaches what it is about."""

from pathlib import Path
from typing import Any

import pytest
import torch

from esdseg.cli.options import described_settings
from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig
from esdseg.training.fit import fit
from esdseg.training.machine import build_trainer, choose_machine
from esdseg.training.run_folder import FitResult
from tests.datasets.make_store import make_store

WIDTH = ("model.depth=1", "model.embedding_size=2", "model.pool_sizes=[50]")


KEYS = {flag: key for flag, key in described_settings("train")[0].items() if flag.startswith("--")}

FOLD_FLAGS = {"--fold", "--folds", "--buffer-km"}
"""What they do is tested with folds."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sizes of subtiles in one folder."""
    folder = tmp_path_factory.mktemp("stores")
    for size in (8, 16):
        make_store(
            folder,
            split={"Tile1": "train", "Tile2": "val"},
            subtile_size=size,
            channels=("sentinel2_2020-08-11_B04",),
        )
    return folder


def run(config: ESDConfig, runs_dir: Path, name: str) -> tuple[FitResult, dict[str, Any]]:
    result = fit(config, checkpoints_dir=runs_dir, name=name)
    return result, torch.load(result.last_checkpoint, weights_only=True)


def config_of(flags: dict[str, Any]) -> ESDConfig:
    return load_config(ESDConfig, None, {flag: (KEYS[flag], value) for flag, value in flags.items()}, WIDTH)


def test_every_flag_reaches_what_it_is_about(stores: Path, tmp_path: Path) -> None:
    flags = {
        "--model": "segmentation_cnn",
        "--processed-dir": stores,
        "--subtile-size": 8,
        "--batch-size": 3,
        "--max-epochs": 2,
        "--learning-rate": 0.004,
        "--seed": 11,
        "--calibrate": True,
        "--accelerator": "cpu",
        "--devices": 1,
        "--precision": "bf16-mixed",
        "--wandb": "offline",
    }
    assert flags.keys() | FOLD_FLAGS == KEYS.keys(), "a flag is not walked here"
    config = config_of(flags)

    result, checkpoint = run(config, tmp_path, "a")
    assert checkpoint["esdseg"]["config"]["model"]["name"] == "segmentation_cnn"
    assert checkpoint["esdseg"]["subtile_size"] == 8
    assert result.epochs == 2
    # Four subtiles in batches of three are two steps an epoch.
    assert checkpoint["global_step"] == 4
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.004
    assert checkpoint["esdseg"]["is_calibrated"]
    assert result.sync_command is not None
    assert list((result.run_dir / "wandb").glob("offline-run-*/*.wandb"))

    trainer = build_trainer(config.resolved(None), choose_machine(config), [])
    assert trainer.precision == "bf16-mixed"
    assert (trainer.num_devices, trainer.strategy.root_device.type) == (1, "cpu")

    changes = {"--seed": 12, "--wandb": "disabled", "--subtile-size": 16, "--max-epochs": 1}
    other, others_checkpoint = run(config_of({**flags, **changes}), tmp_path, "b")
    assert others_checkpoint["esdseg"]["subtile_size"] == 16
    assert not (other.run_dir / "wandb").exists()
    weights, other_weights = checkpoint["state_dict"], others_checkpoint["state_dict"]
    first = next(name for name in weights if name.startswith("model.network") and weights[name].ndim == 4)
    assert not torch.equal(weights[first], other_weights[first])


def test_fold_flags_reach_the_drawing_of_folds() -> None:
    flags = {"--fold": (KEYS["--fold"], "2/3"), "--buffer-km": (KEYS["--buffer-km"], 1.5)}
    config = load_config(ESDConfig, None, flags)
    assert (config.folds.fold, config.folds.buffer_km) == ("2/3", 1.5)


def test_several_devices_reach_the_trainer() -> None:
    config = load_config(ESDConfig, None, {"--devices": (KEYS["--devices"], 2)}, ["trainer.accelerator=cpu"])
    trainer = build_trainer(config.resolved(None), choose_machine(config), [])
    assert (trainer.num_devices, trainer.world_size) == (2, 2)
