"""The kinds of searched parameters whose values are real numbers, and their rounding to multiples."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from esdseg.sweeping.space import Interval, Label, LogInterval, Value, as_number

TAIL = NormalDist().cdf(-3)
"""Share cut off at each end of a distribution without bounds: three standard deviations of a normal one.
The rest has smallest and largest values, which can be checked before anything is trained."""

SIGNIFICANT_DIGITS = 12
"""Multiples of a quantum such as 0.1 are rounded to so many, which drops what binary fractions add."""

QUANTILES = Interval(TAIL, 1 - TAIL)


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
        return as_number(position)

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
        return as_number(position)

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
        return self.mu + self.sigma * NormalDist().inv_cdf(as_number(position))

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

        return float(beta.ppf(as_number(position), self.a, self.b))

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
