from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from esdseg.config.training import ESDConfig
from esdseg.store.manifest import SplitName
from esdseg.sweeping.distributions import Parameter
from esdseg.sweeping.parameters import long_name
from esdseg.sweeping.search_space import Method, Metric, Sweep
from esdseg.sweeping.storage import Storage, local_url
from esdseg.sweeping.study import SweepStudy
from tests.datasets.make_store import CHANNELS, make_store

TINY: Mapping[str, Any] = {
    "model": "segmentation_cnn",
    "model.depth": 1,
    "model.embedding_size": 2,
    "model.pool_sizes": [10, 5],
    "data.batch_size": 8,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "trainer.precision": "32-true",
    "tracking.wandb": "disabled",
}
"""Settings of trials that take about a second."""


@pytest.fixture(scope="session")
def processed_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile10": "val"}
    return make_store(tmp_path_factory.mktemp("processed"), split=split, channels=CHANNELS[1:3]).path.parent


def write_sweep(
    folder: Path, parameters: Mapping[str, Any], fixed: Mapping[str, Any] | None = None, **keys: Any
) -> Path:
    """Write a sweep file of tiny trials and return its path."""
    searched = {long_name(name) for name in parameters}
    constants = {
        name: {"value": value}
        for name, value in {**TINY, **(fixed or {})}.items()
        if long_name(name) not in searched
    }
    content = {
        "method": "random",
        "metric": {"name": "val_f1_macro", "goal": "maximize"},
        "parameters": {**constants, **parameters},
        **keys,
    }
    path = folder / "tiny.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def make_sweep(parameters: Mapping[str, Parameter], method: Method = "random", **changes: Any) -> Sweep:
    """Return a search over some settings of the default model."""
    values: dict[str, Any] = {"name": "made", "method": method, "fixed": {}, "trials": 100, **changes}
    return Sweep(metric=values.pop("metric", Metric()), parameters=parameters, **values)


def open_study(sweep: Sweep, folder: Path, **seconds: int) -> SweepStudy:
    """Open a study in a folder's own database."""
    return SweepStudy(sweep, folder, Storage(local_url(folder), **seconds))


def rate_of(config: ESDConfig) -> float:
    """Return a trial's learning rate."""
    return config.optimizer.learning_rate or config.model.default_learning_rate


def run_all(study: SweepStudy) -> list[ESDConfig]:
    """Run trials without training until there are no more; each is as good as its learning rate."""
    configs = []

    def note(trial: optuna.Trial, config: ESDConfig) -> float:
        configs.append(config)
        trial.report(rate_of(config), 1)
        return rate_of(config)

    study.run_trials(note)
    return configs
