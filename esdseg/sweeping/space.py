"""The kinds of searched parameters: what each draws from, and which value that becomes.

A search only knows axes: an interval, a logarithmic interval, a range of whole numbers, or labels. Every kind
says on which axis it is searched and which value a position there stands for, so that a position drawn
evenly gives the kind's distribution. The kinds are those of W&B's sweeps
(https://docs.wandb.ai/models/sweeps/sweep-config-keys).
"""

import json
import math
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

Value = JsonValue
Label = bool | int | float | str | None


@dataclass(frozen=True)
class Interval:
    """Real numbers from ``low`` to ``high``, drawn evenly."""

    low: float
    high: float


@dataclass(frozen=True)
class LogInterval:
    """Positive numbers from ``low`` to ``high``, their logarithms drawn evenly."""

    low: float
    high: float


@dataclass(frozen=True)
class WholeNumbers:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Labels:
    """Things without an order."""

    labels: tuple[Label, ...]


Axis = Interval | LogInterval | WholeNumbers | Labels


class Parameter(Protocol):
    """A kind of searched parameter."""

    @property
    def axis(self) -> Axis:
        """What it is searched on."""

    def value_at(self, position: Label) -> Value:
        """Return the value that a position on the axis stands for."""

    def positions(self) -> tuple[Label, ...] | None:
        """Return the positions that a grid goes through, or ``None`` where they cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""


@dataclass(frozen=True)
class Choices:
    """One of some values, each as likely as the others."""

    values: tuple[Value, ...]

    @property
    def axis(self) -> Labels:
        """The values, lists written as JSON."""
        return Labels(tuple(_label(value) for value in self.values))

    def value_at(self, position: Label) -> Value:
        """Return the value with a label."""
        return self.values[self.axis.labels.index(position)]

    def positions(self) -> tuple[Label, ...]:
        """Return the labels of the values."""
        return self.axis.labels

    def __str__(self) -> str:
        """Describe it for people."""
        return f"one of {', '.join(str(_label(value)) for value in self.values)}"


@dataclass(frozen=True)
class WeightedChoices:
    """One of some values, each with a probability; those of probability 0 are never drawn."""

    values: tuple[Value, ...]
    probabilities: tuple[float, ...]

    @property
    def axis(self) -> Interval:
        """The cumulative probability."""
        return Interval(0.0, 1.0)

    def value_at(self, position: Label) -> Value:
        """Return the value in whose share of the interval 0-1 the position lies."""
        point = as_number(position) * math.fsum(self.probabilities)
        passed = 0.0
        possible = [pair for pair in zip(self.values, self.probabilities, strict=True) if pair[1] > 0]
        for value, probability in possible:
            passed += probability
            if point < passed:
                return value
        return possible[-1][0]

    def positions(self) -> tuple[Label, ...]:
        """Return the middle of each value's share, where it has one."""
        passed, middles = 0.0, []
        for probability in self.probabilities:
            if probability > 0:
                middles.append((passed + probability / 2) / math.fsum(self.probabilities))
            passed += probability
        return tuple(middles)

    def __str__(self) -> str:
        """Describe it for people."""
        shares = (
            f"{_label(value)} ({probability:.0%})"
            for value, probability in zip(self.values, self.probabilities, strict=True)
        )
        return f"one of {', '.join(shares)}"


@dataclass(frozen=True)
class Integers:
    """A whole number between bounds, each as likely as the others."""

    low: int
    high: int

    @property
    def axis(self) -> WholeNumbers:
        """The numbers."""
        return WholeNumbers(self.low, self.high)

    def value_at(self, position: Label) -> Value:
        """Return the position."""
        return int(as_number(position))

    def positions(self) -> tuple[Label, ...]:
        """Return all numbers."""
        return tuple(range(self.low, self.high + 1))

    def __str__(self) -> str:
        """Describe it for people."""
        return f"whole numbers {self.low} to {self.high}"


def listed(parameter: Parameter) -> tuple[Value, ...] | None:
    """Return all values that a grid goes through, or ``None`` where they cannot be listed."""
    positions = parameter.positions()
    return None if positions is None else tuple(map(parameter.value_at, positions))


INSIDE = (3 - math.sqrt(5)) / 2
"""Where between two ends a value is looked at that is no round number."""


def examples(parameter: Parameter) -> tuple[Value, ...]:
    """Return the values to check before a search: all choices, or both ends and one between."""
    if isinstance(parameter, (Choices, WeightedChoices)):
        return tuple(map(parameter.value_at, parameter.positions()))
    return tuple(parameter.value_at(position) for position in _probes(parameter.axis))


def _probes(axis: Axis) -> tuple[Label, ...]:
    match axis:
        case WholeNumbers(low, high) | Interval(low, high) | LogInterval(low, high):
            between = low + (high - low) * INSIDE
            return low, high, int(between) if isinstance(axis, WholeNumbers) else between
        case Labels(labels):
            return labels


def _label(value: Value) -> Label:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def as_number(position: Label) -> float:
    """Return a position on an axis of numbers."""
    assert isinstance(position, (int, float))
    return position
