"""Checking that no trial of a sweep will die of a wrong name or value."""

import math
import random
from collections.abc import Mapping, Sequence

from esdseg.config.loading import Key
from esdseg.config.models import MODEL_CONFIGS
from esdseg.errors import ConfigError
from esdseg.sweeping.names import (
    DECIDED_BY_SWEEP,
    FOLLOWING_FROM_DATA,
    SHORT_NAMES,
    known_settings,
    models_with,
)
from esdseg.sweeping.problems import Problems, suggestion
from esdseg.sweeping.space import (
    Axis,
    Choices,
    Interval,
    Label,
    Labels,
    LogInterval,
    Parameter,
    Value,
    WeightedChoices,
    WholeNumbers,
    examples,
    listed,
)
from esdseg.sweeping.spec import MODEL, Settings, Sweep

CONTEXTS = 30
"""Points tried around a value before it is refused: another parameter's value may be what it clashes with."""

NEVER_SEARCHED = ("folds.fold", "folds.seed", "tracking.wandb")
"""Settings that change what a score means or where it goes, so that trials cannot be compared by it."""


def check_settings(sweep: Sweep, keys: Mapping[str, Key], problems: Problems) -> set[str]:
    """Look at the names of all settings.

    Args:
        sweep: What is searched.
        keys: Where each setting stands in the file.
        problems: Told of unknown settings, and of those that no sweep may name.

    Returns:
        The settings that are wrong.
    """
    wrong = set()
    known = known_settings(sweep.models or tuple(MODEL_CONFIGS))
    for setting, key in keys.items():
        message = _complaint(sweep, setting, str(key[-1]), known)
        if message is not None:
            wrong.add(setting)
            problems.add(key, message)
    return wrong


def _complaint(sweep: Sweep, setting: str, written: str, known: tuple[str, ...]) -> str | None:
    """Return what is wrong with a setting's name."""
    if setting in DECIDED_BY_SWEEP:
        return f"{written} is no parameter of a sweep: {DECIDED_BY_SWEEP[setting]}."
    if setting in sweep.parameters and setting in NEVER_SEARCHED:
        return f"{written} cannot be searched, only fixed: trials of different ones cannot be compared."
    if setting.rpartition(".")[2] in FOLLOWING_FROM_DATA:
        return f"'{written}' is no parameter: it follows from the data. Leave it out."
    if setting in known:
        return None
    if setting.startswith("model.") and models_with(setting):
        return (
            f"{setting} is a setting of {', '.join(models_with(setting))}, and the sweep's model is "
            f"{', '.join(sweep.models)}; add the parameter model, or leave this one out."
        )
    return f"unknown parameter '{written}'; {suggestion(written, _names(known))}"


def _names(known: tuple[str, ...]) -> tuple[str, ...]:
    return (*known, *(short for short, setting in SHORT_NAMES.items() if setting in known))


def check_values(sweep: Sweep, keys: Mapping[str, Key], given: Mapping[str, str], problems: Problems) -> None:
    """Look at every listed value and at both ends of every range.

    Args:
        sweep: What is searched.
        keys: Where each of the file's settings stands in it.
        given: Where settings come from that do not stand in the file.
        problems: Told of values that the configuration refuses whatever the other parameters are.
    """
    origins = {
        setting: problems.place((*key, "value") if setting in sweep.fixed else key)
        for setting, key in keys.items()
    }
    origins |= given
    model = sweep.parameters.get(MODEL)
    bare: list[Settings] = [{MODEL: name} for name in (listed(model) or ())] if model else [{}]
    refusal = _refusal(sweep, bare, origins)
    if refusal is not None and model is None:
        problems.add_placed(refusal)
        return
    rng = random.Random(0)
    contexts = [*bare, *(draw_point(sweep, rng) for _ in range(CONTEXTS))]
    for setting, parameter in sweep.parameters.items():
        is_listed = isinstance(parameter, (Choices, WeightedChoices))
        for position, value in enumerate(examples(parameter)):
            where: Key = (
                ("values", _position_in(parameter, value))
                if is_listed
                else (("min",), ("max",), ())[position]
            )
            place = problems.place((*keys[setting], *where))
            points = [{**context, setting: value} for context in contexts]
            if setting.startswith("model.") and setting != MODEL:
                points = [point for point in points if setting in sweep.settings_at(point)]
            refusal = _refusal(sweep, points, {**origins, setting: place})
            if refusal is None:
                continue
            if not is_listed and position == 2:
                refusal += " Its ends are allowed, but not what lies between; use int_uniform or q_uniform."
            problems.add_placed(refusal)
            if not is_listed:
                break


def draw_point(sweep: Sweep, rng: random.Random) -> dict[str, Value]:
    """Draw a value of every searched parameter."""
    return {
        setting: parameter.value_at(_draw(parameter.axis, rng))
        for setting, parameter in sweep.parameters.items()
    }


def _draw(axis: Axis, rng: random.Random) -> Label:
    match axis:
        case Labels(labels):
            return rng.choice(labels)
        case WholeNumbers(low, high):
            return rng.randint(low, high)
        case LogInterval(low, high):
            return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
        case Interval(low, high):
            return rng.uniform(low, high)


def _position_in(parameter: Parameter, value: Value) -> int:
    assert isinstance(parameter, (Choices, WeightedChoices))
    return parameter.values.index(value)


def _refusal(sweep: Sweep, points: Sequence[Settings], origins: Mapping[str, str]) -> str | None:
    """Return why the first point is refused, or ``None`` if any of them is allowed."""
    first = None
    for point in points:
        try:
            sweep.config_at(point, origins)
        except ConfigError as error:
            first = first or str(error)
        else:
            return None
    return first
