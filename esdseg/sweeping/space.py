"""The kinds of searched parameters: what each draws from, and which value that becomes.

A search only knows axes: an interval, a logarithmic interval, a range of whole numbers, or labels. Every kind
says on which axis it is searched and which value a position there stands for, so that a position drawn
evenly gives the kind's distribution. The kinds are those of W&B's sweeps
(https://docs.wandb.ai/models/sweeps/sweep-config-keys).
"""

import json
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from pydantic import JsonValue

Value = JsonValue
Label = bool | int | float | str | None

TAIL = NormalDist().cdf(-3)
"""Share cut off at each end of a distribution without bounds: three standard deviations of a normal one.
The rest has smallest and largest values, which can be checked before anything is trained."""

SIGNIFICANT_DIGITS = 12
"""Multiples of a quantum such as 0.1 are rounded to so many, which drops what binary fractions add."""


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
QUANTILES = Interval(TAIL, 1 - TAIL)


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
        point = _number(position) * math.fsum(self.probabilities)
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
        return int(_number(position))

    def positions(self) -> tuple[Label, ...]:
        """Return all numbers."""
        return tuple(range(self.low, self.high + 1))

    def __str__(self) -> str:
        """Describe it for people."""
        return f"whole numbers {self.low} to {self.high}"


class Continuous(Protocol):
    """A kind whose values are real numbers between bounds."""

    @property
    def axis(self) -> Interval | LogInterval:
        """What it is searched on."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""

    def value_at(self, position: Label) -> float:
        """Return the value that a position on the axis stands for."""

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""


@dataclass(frozen=True)
class Uniform:
    """A real number between bounds."""

    low: float
    high: float

    @property
    def axis(self) -> Interval:
        """The values themselves."""
        return Interval(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.low, self.high

    def value_at(self, position: Label) -> float:
        """Return the position."""
        return _number(position)

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class LogUniform:
    """A positive number between bounds whose logarithm is as likely to be anywhere between theirs."""

    low: float
    high: float

    @property
    def axis(self) -> LogInterval:
        """The values themselves."""
        return LogInterval(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.low, self.high

    def value_at(self, position: Label) -> float:
        """Return the position."""
        return _number(position)

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""
        return f"{self.low:g} to {self.high:g}, on a logarithmic scale"


@dataclass(frozen=True)
class Normal:
    """A number with mean ``mu`` and standard deviation ``sigma``, not further than 3 ``sigma`` off."""

    mu: float
    sigma: float

    @property
    def axis(self) -> Interval:
        """The quantile."""
        return QUANTILES

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.mu - 3 * self.sigma, self.mu + 3 * self.sigma

    def value_at(self, position: Label) -> float:
        """Return the value at a quantile."""
        return self.mu + self.sigma * NormalDist().inv_cdf(_number(position))

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""
        return f"normal around {self.mu:g}, {self.bounds[0]:g} to {self.bounds[1]:g}"


@dataclass(frozen=True)
class LogNormal:
    """A number whose natural logarithm is :class:`Normal`."""

    mu: float
    sigma: float

    @property
    def axis(self) -> Interval:
        """The quantile."""
        return QUANTILES

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        low, high = Normal(self.mu, self.sigma).bounds
        return math.exp(low), math.exp(high)

    def value_at(self, position: Label) -> float:
        """Return the value at a quantile."""
        return math.exp(Normal(self.mu, self.sigma).value_at(position))

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""
        return f"log-normal around {math.exp(self.mu):g}, {self.bounds[0]:g} to {self.bounds[1]:g}"


@dataclass(frozen=True)
class Beta:
    """A number between 0 and 1 with the beta distribution of ``a`` and ``b``, without its outermost tails."""

    a: float
    b: float

    @property
    def axis(self) -> Interval:
        """The quantile."""
        return QUANTILES

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return self.value_at(QUANTILES.low), self.value_at(QUANTILES.high)

    def value_at(self, position: Label) -> float:
        """Return the value at a quantile."""
        from scipy.stats import beta

        return float(beta.ppf(_number(position), self.a, self.b))

    def positions(self) -> None:
        """Real numbers cannot be listed."""

    def __str__(self) -> str:
        """Describe it for people."""
        return f"beta({self.a:g}, {self.b:g}), {self.bounds[0]:.3g} to {self.bounds[1]:.3g}"


@dataclass(frozen=True)
class Quantized:
    """Another kind, rounded to multiples of a quantum that lie within its bounds."""

    of: Continuous
    quantum: float

    @property
    def axis(self) -> Interval | LogInterval:
        """That of the other kind."""
        return self.of.axis

    @property
    def multiples(self) -> range:
        """How often the quantum may be taken; empty where no multiple lies within the bounds."""
        low, high = self.of.bounds
        # A bound that is a multiple but for its binary fraction counts as one.
        return range(math.ceil(low / self.quantum - 1e-9), math.floor(high / self.quantum + 1e-9) + 1)

    def value_at(self, position: Label) -> Value:
        """Return the multiple nearest to the other kind's value."""
        nearest = round(self.of.value_at(position) / self.quantum)
        return self._multiple(min(max(nearest, self.multiples[0]), self.multiples[-1]))

    def positions(self) -> tuple[Label, ...] | None:
        """Return all multiples where each is about as likely as the others."""
        if not isinstance(self.of, Uniform):
            return None
        low, high = self.of.bounds
        return tuple(min(max(count * self.quantum, low), high) for count in self.multiples)

    def _multiple(self, count: int) -> Value:
        if float(self.quantum).is_integer():
            return count * int(self.quantum)
        return float(f"{count * self.quantum:.{SIGNIFICANT_DIGITS}g}")

    def __str__(self) -> str:
        """Describe it for people."""
        return f"{self.of}, in steps of {self.quantum:g}"


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


def _number(position: Label) -> float:
    assert isinstance(position, (int, float))
    return position
