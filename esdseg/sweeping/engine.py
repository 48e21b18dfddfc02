"""What of Optuna a sweep uses: its axes, samplers and pruner."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial

from esdseg.sweeping.record import DETAILS, details_of
from esdseg.sweeping.space import Axis, Interval, Labels, LogInterval, WholeNumbers
from esdseg.sweeping.spec import Sweep

MAX_RETRIES = 3
"""A trial whose process dies so often again has most likely killed it, by using more memory than there is."""

RUNG_PREFIX = "completed_rung_"
"""Begins the attributes in which Optuna notes how far a trial has come."""


def distribution_of(axis: Axis) -> BaseDistribution:
    """Return Optuna's distribution of an axis."""
    match axis:
        case Interval(low, high):
            return FloatDistribution(low, high)
        case LogInterval(low, high):
            return FloatDistribution(low, high, log=True)
        case WholeNumbers(low, high):
            return IntDistribution(low, high)
        case Labels(labels):
            return CategoricalDistribution(labels)


def sampler_of(sweep: Sweep, drawn: int) -> optuna.samplers.BaseSampler:
    """Return what draws the next point.

    Args:
        sweep: What is searched.
        drawn: Points drawn before. Drawing is done under a lock, so no other draw has this seed.
    """
    if sweep.method == "bayes":
        return optuna.samplers.TPESampler(seed=drawn)
    return optuna.samplers.RandomSampler(seed=drawn)


def pruner_of(sweep: Sweep) -> optuna.pruners.BasePruner:
    """Return what stops bad trials."""
    if sweep.termination is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=sweep.termination.min_epochs, reduction_factor=sweep.termination.eta
    )


def queue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial from its beginning."""
    fresh = copy.deepcopy(trial)
    fresh.system_attrs = {
        name: value for name, value in fresh.system_attrs.items() if not name.startswith(RUNG_PREFIX)
    }
    RetryHeartbeatStaleTrialCallback()(study, fresh)


def queue_after_death(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial whose process died; not for ever."""
    details = dict(details_of(trial))
    deaths = details.get("deaths", 0) + 1
    if deaths <= MAX_RETRIES:
        fresh = copy.deepcopy(trial)
        fresh.user_attrs = {**fresh.user_attrs, DETAILS: {**details, "deaths": deaths}}
        queue_again(study, fresh)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Drop Optuna's notices that a function is experimental, and that it expects another loop than ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        yield
