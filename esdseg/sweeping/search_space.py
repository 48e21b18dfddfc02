"""What a sweep searches, and which training each point of it stands for."""

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from esdseg.config.loading import build_config
from esdseg.config.models import MODEL_CONFIGS, SensorBranchesConfig, listed_name, model_uses
from esdseg.config.section import PretrainedSection
from esdseg.config.training import LOWER_IS_BETTER, PLACE_SETTINGS, ESDConfig
from esdseg.errors import ConfigError, UsageError
from esdseg.sweeping.distributions import Draw, Parameter, Value, listed

Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]
Settings = Mapping[str, Value]
"""Values by the dotted names of settings."""

Point = Mapping[str, Draw]
"""What Optuna drew, by the dotted names of the searched settings."""

DEFAULT_METRIC = "val_f1_macro"
MODEL = "model.name"

MOST_MISSES = 100
"""Draws in a row that gave nothing new, after which a search draws no more."""

MOST_BANDS = 100
"""As many as W&B reckons with."""

SHOWN_BANDS = 4

LISTABLE = 2000
"""The most points that are looked at one by one to count the trainings among them."""

WITHOUT_EFFECT = (
    "data.num_workers",
    "data.cache",
    "tracking.image_every_epochs",
    "tracking.image_tiles",
)
"""Settings that cannot change a result: points that differ in them alone are one training."""

ACTING_WITH: Mapping[str, tuple[str, Value]] = {
    "optimizer.momentum": ("optimizer.name", "sgd"),
    "trainer.ema_epochs": ("trainer.weight_averaging", "ema"),
    "trainer.swa_start": ("trainer.weight_averaging", "swa"),
}
"""Settings that cannot change a result either, unless another one has a value."""


@dataclass(frozen=True)
class Metric:
    """The score that makes one trial better than another.

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
    """Hyperband: after some epochs, the bands, the best 1/``eta`` of the trials go on.

    See https://docs.wandb.ai/models/sweeps/sweep-config-keys and Li et al., https://arxiv.org/abs/1810.05934.

    Attributes:
        min_epochs: The first band, where ``max_epochs`` is not given; each further one is ``eta`` times as
            late.
        max_epochs: The bands are this number of epochs divided by ``eta``, by its square, and so on.
        most_bands: How many bands there are where ``max_epochs`` is given; as many as fit unless given.
        eta: Above 1.
    """

    min_epochs: int | None = None
    max_epochs: int | None = None
    most_bands: int | None = None
    eta: float = 3

    def bands(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs, counted from 1 and not above ``epochs``, after which trials are judged."""
        bands: list[int] = []
        if self.max_epochs is not None:
            band = self.max_epochs / self.eta
            while band >= 1 and len(bands) < (self.most_bands or MOST_BANDS):
                bands.append(int(band))
                band /= self.eta
        else:
            band = self.min_epochs or 1
            while band < epochs + 1 and len(bands) < MOST_BANDS:
                bands.append(int(band))
                band *= self.eta
        return tuple(sorted({band for band in bands if band <= epochs}))

    def __str__(self) -> str:
        """Describe the rule for people."""
        bands = self.bands(self.max_epochs or sys.maxsize)
        more = ", ..." if self.max_epochs is None or len(bands) > SHOWN_BANDS else ""
        shown = f"{', '.join(map(str, bands[:SHOWN_BANDS]))}{more}"
        return f"after {shown} {'epoch' if shown == '1' else 'epochs'}, the best 1/{self.eta:g} go on"


@dataclass(frozen=True)
class Training:
    """What a point of a search trains.

    Attributes:
        point: The point.
        settings: The searched settings that its model uses.
        key: The same for two points that are the same training.
        config: All settings of the run; ``None`` where they do not go together.
        refusal: Why they do not.
    """

    point: Point
    settings: Settings
    key: str
    config: ESDConfig | None
    refusal: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A search.

    Attributes:
        name: Of its folder and of its study.
        method: How points are chosen.
        metric: What makes them good.
        fixed: Settings of every trial.
        parameters: What is searched, by the settings' dotted names.
        termination: When bad trials are stopped, if at all.
        trials: How many there are to be in all; there are fewer where the search has fewer trainings.
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
        """The models that are searched or fixed; names that no model has are left out."""
        tried = listed(self.parameters[MODEL]) if MODEL in self.parameters else None
        names = [self.fixed.get(MODEL, SensorBranchesConfig().name)] if tried is None else tried
        return tuple(dict.fromkeys(known for name in names if (known := listed_name(name)) is not None))

    def is_used_by(self, model: str, setting: str) -> bool:
        """Say whether trials of a model use a setting.

        A run fits one model, so weights in a search of several are names of others' weights, which networks
        without a pretrained backbone do not use.
        """
        if setting == "model.weights" and len(self.models) > 1:
            return issubclass(MODEL_CONFIGS[listed_name(model) or model], PretrainedSection)
        return model_uses(model, setting)

    def settings_at(self, values: Settings) -> dict[str, Value]:
        """Return all settings of a trial, without those that its model does not use.

        Args:
            values: A value of every searched setting.
        """
        settings = {**self.fixed, **values}
        model = listed_name(settings.get(MODEL)) or SensorBranchesConfig().name
        return {name: value for name, value in settings.items() if self.is_used_by(model, name)}

    def config_at(self, values: Settings, places: Mapping[str, str] | None = None) -> ESDConfig:
        """Return the settings of the run that values stand for.

        Args:
            values: A value of every searched setting.
            places: Where settings come from, for messages; by default their names.

        Raises:
            ConfigError: The values do not go together.
        """
        settings = self.settings_at({**values, "trainer.monitor": self.metric.name, "trainer.devices": 1})
        origins = places or {}
        return build_config(
            ESDConfig, [(name, value, origins.get(name, name)) for name, value in settings.items()]
        )

    def values_at(self, point: Point) -> Settings:
        """Return the value of every searched setting at a point."""
        return {name: parameter.value_at(point[name]) for name, parameter in self.parameters.items()}

    def training_at(self, point: Point) -> Training:
        """Return what a point trains."""
        values = self.values_at(point)
        settings = {name: value for name, value in self.settings_at(values).items() if name in values}
        try:
            config = self.config_at(values)
        except ConfigError as error:
            acting = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
            return Training(point, settings, _key_of(acting), None, str(error))
        # What a setting is by default and what it is by its value may be the same.
        tree = config.resolved(config.data.subtile_size).model_dump(mode="json")
        # Everything else is the same in all trials.
        searched = {name: _value_in(tree, name) for name in settings if _acts(name, tree)}
        return Training(point, settings, _key_of({MODEL: config.model.name, **searched}), config)

    def size(self) -> int | None:
        """Return how many points there are, or ``None`` where they cannot be counted."""
        return _number_of_points([parameter.draws() for parameter in self.parameters.values()])

    def trainings(self) -> Iterator[Training]:
        """Yield trainings, none of them twice.

        A grid goes through its points in order. Other searches draw at random, always the same; once draws
        give nothing new, what is left follows where points can be listed.
        """
        points = iter(()) if self.method == "grid" else self.random_points()
        seen: set[str] = set()
        misses = 0
        for point in points:
            training = self.training_at(point)
            misses = misses + 1 if training.key in seen else 0
            if misses == 0:
                seen.add(training.key)
                yield training
            elif misses == MOST_MISSES:
                break
        size = self._listed_size()
        if size is None or (self.method != "grid" and size > LISTABLE):
            return
        for drawn in itertools.product(*(draws or () for draws in self._listed_draws())):
            training = self.training_at(dict(zip(self.parameters, drawn, strict=True)))
            if training.key not in seen:
                seen.add(training.key)
                yield training

    def count_trainings(self) -> int | None:
        """Return how many trainings there are in all, or ``None`` where they are too many to be counted."""
        size = self._listed_size()
        return None if size is None or size > LISTABLE else sum(1 for _ in self.trainings())

    def _listed_draws(self) -> list[tuple[Draw, ...] | None]:
        """Return each parameter's draws, or ``None`` where there are too many; one where it has no effect."""
        return [
            draws[:1] if draws and name in WITHOUT_EFFECT else draws
            for name, draws in ((name, parameter.draws()) for name, parameter in self.parameters.items())
        ]

    def _listed_size(self) -> int | None:
        """Return how many points have to be looked at to find all trainings, as :meth:`size` does."""
        return _number_of_points(self._listed_draws())

    def random_points(self) -> Iterator[Point]:
        """Yield points without end, always the same ones, as Optuna's random sampler draws them."""
        import optuna

        distributions = {name: parameter.distribution for name, parameter in self.parameters.items()}
        sampler = optuna.samplers.RandomSampler(seed=0)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=sampler)
        while True:
            yield study.ask(distributions).params

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

    def check_unchanged(self, begun: Mapping[str, str]) -> None:
        """Refuse to go on with a sweep that began with other contents.

        Args:
            begun: What :meth:`identity` was.

        Raises:
            UsageError: With every change.
        """
        now = self.identity()
        changes = [
            f"{name} was {begun.get(name, 'not there')}, now it is {now.get(name, 'not there')}"
            for name in sorted(now.keys() | begun.keys())
            if now.get(name) != begun.get(name)
        ]
        if changes:
            raise UsageError(
                f"The sweep {self.name} began with other contents: {'; '.join(changes)}. Its trials cannot "
                "be compared with new ones: take the change back, or give the sweep another --name."
            )


def _number_of_points(lists: Sequence[tuple[Draw, ...] | None]) -> int | None:
    """Return how many points lists of draws span, or ``None`` where one of them has too many to be listed."""
    sizes = [len(draws) for draws in lists if draws is not None]
    return prod(sizes) if len(sizes) == len(lists) else None


def _acts(name: str, tree: Mapping[str, object]) -> bool:
    """Say whether a setting can change the result of a training with these settings."""
    if name in WITHOUT_EFFECT:
        return False
    other, value = ACTING_WITH.get(name, (name, _value_in(tree, name)))
    return _value_in(tree, other) == value


def _value_in(tree: Mapping[str, object], name: str) -> object:
    """Return the value of a dotted name in a tree of sections, or ``None`` where there is none."""
    value: object = tree
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _key_of(values: Mapping[str, object]) -> str:
    """Return a short text that is the same for equal values alone."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
