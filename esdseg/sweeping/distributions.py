"""The kinds of searched parameters: what Optuna draws, and which value a draw stands for.

The kinds are those of W&B's sweeps (https://docs.wandb.ai/models/sweeps/sweep-config-keys). Optuna draws
evenly from an interval, a logarithmic interval, whole numbers or a list. Kinds that it lacks are drawn by
their quantile, so that an even draw has the kind's distribution.
"""

import json
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = JsonValue
"""What a setting may be."""

Draw = bool | int | float | str | None
"""What Optuna draws and keeps in its database."""

Shape = Literal["uniform", "log_uniform", "normal", "log_normal", "beta"]

TAIL = NormalDist().cdf(-3)
"""Share cut off at each end of a distribution without bounds: what lies beyond three standard deviations of a
normal one. The rest has a smallest and a largest value, which are checked before anything is trained."""

SIGNIFICANT_DIGITS = 12
"""Digits of a multiple of a quantum such as 0.1; binary fractions add errors after them."""

MOST_LISTED = 100_000
"""Whole numbers that are listed one by one; a grid of more would not end."""

INSIDE = (3 - math.sqrt(5)) / 2
"""Where between two ends a value is checked that is no round number."""


@dataclass(frozen=True)
class Choices:
    """One of some values.

    Attributes:
        values: The values, of which there is at least one.
        probabilities: Of each value, which with 0 is never drawn; ``None`` where all are equally likely.
    """

    values: tuple[Value, ...]
    probabilities: tuple[float, ...] | None = None

    @property
    def distribution(self) -> "BaseDistribution":
        """What Optuna draws: a value's label, or a place on the interval that the probabilities share."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.probabilities is not None:
            return FloatDistribution(0.0, 1.0)
        return CategoricalDistribution(tuple(map(_label, self.values)))

    def value_at(self, draw: Draw) -> Value:
        """Return the value that a draw stands for."""
        if self.probabilities is None:
            return self.values[list(map(_label, self.values)).index(draw)]
        assert isinstance(draw, (int, float))
        return next((value for value, _, end in self._shares() if draw < end), self._shares()[-1][0])

    def draws(self) -> tuple[Draw, ...]:
        """Return a draw for each value that can be drawn."""
        if self.probabilities is None:
            return tuple(map(_label, self.values))
        return tuple((begin + end) / 2 for _, begin, end in self._shares())

    def examples(self) -> tuple[Value, ...]:
        """Return the values to check before a search: all of them."""
        return tuple(map(self.value_at, self.draws()))

    def _shares(self) -> list[tuple[Value, float, float]]:
        """Return each value that can be drawn, and its share of the interval from 0 to 1: begin and end."""
        assert self.probabilities is not None
        shares, begin, total = [], 0.0, math.fsum(self.probabilities)
        for value, probability in zip(self.values, self.probabilities, strict=True):
            if probability > 0:
                shares.append((value, begin, begin + probability / total))
                begin += probability / total
        return shares

    def __str__(self) -> str:
        """Describe the values for people."""
        if self.probabilities is None:
            return f"one of {', '.join(map(_word, self.values))}"
        pairs = zip(self.values, self.probabilities, strict=True)
        return f"one of {', '.join(f'{_word(value)} ({probability:.0%})' for value, probability in pairs)}"


@dataclass(frozen=True)
class Numbers:
    """A number with a distribution.

    Attributes:
        shape: The distribution.
        first: Its lower bound where it is uniform or log-uniform; ``mu`` where it, or the logarithm of a
            log-normal one, is normal; ``a`` of a beta distribution.
        second: Its upper bound; ``sigma``; ``b``.
        quantum: The number is rounded to a multiple of it, and is whole where the quantum is.
    """

    shape: Shape
    first: float
    second: float
    quantum: float | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest number before rounding."""
        match self.shape:
            case "uniform" | "log_uniform":
                return self.first, self.second
            case "normal":
                return self.first - 3 * self.second, self.first + 3 * self.second
            case "log_normal":
                return math.exp(self.first - 3 * self.second), math.exp(self.first + 3 * self.second)
            case "beta":
                return self._at_quantile(TAIL), self._at_quantile(1 - TAIL)

    @property
    def multiples(self) -> range:
        """How often the quantum may be taken; empty where no multiple lies within the bounds."""
        assert self.quantum is not None
        low, high = self.bounds
        # A bound that is a multiple but for its binary fraction counts as one.
        return range(math.ceil(low / self.quantum - 1e-9), math.floor(high / self.quantum + 1e-9) + 1)

    @property
    def distribution(self) -> "BaseDistribution":
        """What Optuna draws: the number, its quantile, or how often the quantum of a uniform one is taken."""
        from optuna.distributions import FloatDistribution, IntDistribution

        low, high = self._ends
        if self._counts:
            return IntDistribution(int(low), int(high))
        return FloatDistribution(low, high, log=self.shape == "log_uniform")

    def value_at(self, draw: Draw) -> Value:
        """Return the number that a draw stands for."""
        assert isinstance(draw, (int, float))
        if self._counts:
            return self._multiple(int(draw))
        number = float(draw) if self.shape in ("uniform", "log_uniform") else self._at_quantile(draw)
        if self.quantum is None:
            return number
        return self._multiple(min(max(round(number / self.quantum), self.multiples[0]), self.multiples[-1]))

    def draws(self) -> tuple[Draw, ...] | None:
        """Return a draw for each multiple, or ``None`` where a grid cannot list them, or not evenly."""
        return tuple(self.multiples) if self._counts and len(self.multiples) <= MOST_LISTED else None

    def examples(self) -> tuple[Value, ...]:
        """Return the numbers to check before a search: both ends and one between."""
        low, high = self._ends
        between = low + (high - low) * INSIDE
        return tuple(map(self.value_at, (low, high, int(between) if self._counts else between)))

    @property
    def _counts(self) -> bool:
        return self.shape == "uniform" and self.quantum is not None

    @property
    def _ends(self) -> tuple[float, float]:
        """The least and the greatest draw."""
        if self._counts:
            return self.multiples[0], self.multiples[-1]
        return self.bounds if self.shape in ("uniform", "log_uniform") else (TAIL, 1 - TAIL)

    def _at_quantile(self, quantile: float) -> float:
        if self.shape == "beta":
            from scipy.stats import beta

            return float(beta.ppf(quantile, self.first, self.second))
        number = NormalDist(self.first, self.second).inv_cdf(quantile)
        return math.exp(number) if self.shape == "log_normal" else number

    def _multiple(self, count: int) -> Value:
        assert self.quantum is not None
        if float(self.quantum).is_integer():
            return count * int(self.quantum)
        return float(f"{count * self.quantum:.{SIGNIFICANT_DIGITS}g}")

    def __str__(self) -> str:
        """Describe the numbers for people."""
        low, high = self.bounds
        if self._counts and self.quantum == 1:
            return f"whole numbers {low:g} to {high:g}"
        text = f"{low:g} to {high:g}"
        match self.shape:
            case "log_uniform":
                text += ", on a logarithmic scale"
            case "normal":
                text = f"normal around {self.first:g}, {text}"
            case "log_normal":
                text = f"log-normal around {math.exp(self.first):g}, {text}"
            case "beta":
                text = f"beta({self.first:g}, {self.second:g}), {low:.3g} to {high:.3g}"
        return text if self.quantum is None else f"{text}, in steps of {self.quantum:g}"


Parameter = Choices | Numbers


def listed(parameter: Parameter) -> tuple[Value, ...] | None:
    """Return all values of a parameter that a grid goes through, or ``None`` where they cannot be listed."""
    draws = parameter.draws()
    return None if draws is None else tuple(map(parameter.value_at, draws))


def _word(value: Value) -> str:
    """Return a value for people, in quotes where a comma in it would look like the next value."""
    return json.dumps(value) if isinstance(value, str) and "," in value else str(_label(value))


def _label(value: Value) -> Draw:
    return json.dumps(value) if isinstance(value, (list, dict)) else value
