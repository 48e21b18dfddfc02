"""What a sweep searches, and which run each point of it stands for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from esdseg.config.loading import build_config
from esdseg.config.models import SensorBranchesConfig, listed_name, model_uses
from esdseg.config.training import LOWER_IS_BETTER, ESDConfig
from esdseg.errors import UsageError
from esdseg.sweeping.space import Parameter, Value, listed

Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]
Settings = Mapping[str, Value]
"""Values by the dotted names of settings."""

DEFAULT_METRIC = "val_f1_macro"
MODEL = "model.name"

PLACE_SETTINGS = (
    "data.processed_dir",
    "data.num_workers",
    "data.cache",
    "trainer.accelerator",
    "tracking.wandb",
    "tracking.project",
    "tracking.entity",
    "tracking.image_every_epochs",
    "tracking.image_tiles",
)
"""Settings that say where and how a trial is trained rather than what: they may differ between machines."""


@dataclass(frozen=True)
class Metric:
    """What makes one trial better than another.

    Attributes:
        name: One of the monitored metrics.
        goal: Its better direction.
        target: The sweep ends once a trial is as good.
    """

    name: str = DEFAULT_METRIC
    goal: Goal = "maximize"
    target: float | None = None

    def is_better(self, value: float, other: float) -> bool:
        """Say whether a value is better than another."""
        return value < other if self.goal == "minimize" else value > other


def goal_of(metric: str) -> Goal:
    """Return the better direction of a metric."""
    return "minimize" if metric in LOWER_IS_BETTER else "maximize"


@dataclass(frozen=True)
class EarlyTermination:
    """Hyperband: after ``min_epochs`` and each ``eta`` times as many, the best 1/``eta`` of the trials go on.

    See https://docs.wandb.ai/models/sweeps/sweep-config-keys and Li et al., https://arxiv.org/abs/1810.05934.
    """

    min_epochs: int
    eta: int = 3


@dataclass(frozen=True)
class Sweep:
    """A search.

    Attributes:
        name: Its folder and its study.
        method: How points are chosen.
        metric: What makes them good.
        fixed: Settings of every trial.
        parameters: What is searched, by the settings' dotted names.
        termination: When bad trials are stopped, if at all.
        trials: How many there are to be in all; a grid may end before.
    """

    name: str
    method: Method
    metric: Metric
    fixed: Settings
    parameters: Mapping[str, Parameter]
    termination: EarlyTermination | None = None
    trials: int | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are searched or fixed."""
        return models_of(self.fixed, self.parameters)

    def settings_at(self, values: Settings) -> dict[str, Value]:
        """Return all settings of a point, without those that its model does not have.

        Args:
            values: A value of every searched parameter.
        """
        model = listed_name({**self.fixed, **values}.get(MODEL)) or SensorBranchesConfig().name
        return {
            name: value
            for name, value in {**self.fixed, **values}.items()
            # A parameter of one of several searched models has no meaning for the others.
            if model_uses(model, name)
        }

    def config_at(self, values: Settings, places: Mapping[str, str] | None = None) -> ESDConfig:
        """Return the settings of the run that a point stands for.

        Args:
            values: A value of every searched parameter.
            places: Where settings come from, for messages; by default their names.

        Raises:
            ConfigError: The values do not go together.
        """
        settings = self.settings_at({**values, "trainer.monitor": self.metric.name, "trainer.devices": 1})
        origins = places or {}
        return build_config(
            ESDConfig, [(name, value, origins.get(name, name)) for name, value in settings.items()]
        )

    def key_of(self, config: ESDConfig) -> str:
        """Return what two points have in common exactly when they stand for the same run."""
        tree = config.model_dump(mode="json")
        # Everything else is the same in all trials.
        return key_of_values({name: held(tree, name) for name in (MODEL, *self.parameters)})

    def size(self) -> int | None:
        """Return how many points there are, or ``None`` where they cannot be counted."""
        lists = [parameter.positions() for parameter in self.parameters.values()]
        return prod(len(one) for one in lists if one is not None) if None not in lists else None

    def identity(self) -> dict[str, str]:
        """Return what must not change while the sweep goes on, each part with its name."""
        content = {
            "method": self.method,
            "metric": f"{self.metric.goal} {self.metric.name}",
            "early_terminate": str(self.termination),
        }
        content |= {f"parameters.{name}": str(parameter) for name, parameter in self.parameters.items()}
        content |= {
            f"parameters.{name}": f"always {json.dumps(value)}"
            for name, value in self.fixed.items()
            if name not in PLACE_SETTINGS
        }
        return content


def models_of(fixed: Settings, parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Return the models that are searched or fixed; those that do not exist are left out."""
    tried = listed(parameters[MODEL]) if MODEL in parameters else None
    named = [fixed.get(MODEL, SensorBranchesConfig().name)] if tried is None else tried
    listed_names = [name for value in named if (name := listed_name(value)) is not None]
    return tuple(dict.fromkeys(listed_names))


def held(tree: Mapping[str, object], name: str) -> object:
    """Return the value of a dotted name in a tree of sections, or ``None`` where there is none."""
    value: object = tree
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def key_of_values(values: Mapping[str, object]) -> str:
    """Return a short text that is the same for equal values alone."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def check_unchanged(sweep: Sweep, begun: Mapping[str, str]) -> None:
    """Refuse to go on with a sweep that began with other contents.

    Args:
        sweep: As it is now.
        begun: What :meth:`Sweep.identity` was.

    Raises:
        UsageError: With every change.
    """
    now = sweep.identity()
    names = sorted(now.keys() | begun.keys())
    changes = [
        f"{name} was {begun.get(name, 'not there')}, now it is {now.get(name, 'not there')}"
        for name in names
        if now.get(name) != begun.get(name)
    ]
    if changes:
        raise UsageError(
            f"The sweep {sweep.name} began with other contents: {'; '.join(changes)}. Its trials cannot be "
            "compared with new ones: take the change back, or give the sweep another --name."
        )
