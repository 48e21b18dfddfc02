"""The axes of the picture in which every trial is a line."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from esdseg.sweeping.space import Choices, LogInterval, Parameter, Value, WeightedChoices

ABSENT = "not set"
"""The place of trials whose model does not have a setting."""

TICKS = 5


@dataclass(frozen=True)
class AxisScale:
    """Where the values of a setting lie on a vertical axis.

    Attributes:
        name: The setting.
        ticks: Heights from 0 to 1, and what stands there.
        texts: For values without an order: each with its height.
        low: The lowest number otherwise, on the axis' scale.
        high: The highest one.
        logarithmic: Whether the scale is.
    """

    name: str
    ticks: tuple[tuple[float, str], ...]
    texts: dict[str, float] | None = None
    low: float = 0.0
    high: float = 1.0
    logarithmic: bool = False

    @classmethod
    def of_numbers(cls, name: str, numbers: Sequence[float], logarithmic: bool) -> "AxisScale":
        """Make the axis of numbers, of which there is at least one."""
        scaled = [math.log(number) if logarithmic else number for number in numbers]
        low, high = min(scaled), max(scaled)
        if low == high:
            return cls(name, ((0.5, f"{numbers[0]:.4g}"),), None, low, low, logarithmic)
        steps = [low + (high - low) * step / (TICKS - 1) for step in range(TICKS)]
        texts = [f"{math.exp(step) if logarithmic else step:.3g}" for step in steps]
        heights = [step / (TICKS - 1) for step in range(TICKS)]
        # Whole numbers that lie closely would repeat.
        ticks = {text: height for height, text in zip(heights, texts, strict=True)}
        return cls(name, tuple((h, t) for t, h in ticks.items()), None, low, high, logarithmic)

    @classmethod
    def of_texts(cls, name: str, texts: Sequence[str]) -> "AxisScale":
        """Make the axis of things without an order."""
        distinct = list(dict.fromkeys(texts))
        span = max(1, len(distinct) - 1)
        heights = {text: 0.5 if len(distinct) == 1 else index / span for index, text in enumerate(distinct)}
        return cls(name, tuple((height, text) for text, height in heights.items()), heights)

    def height(self, value: Value) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.texts is not None:
            return self.texts[shown(value)]
        assert isinstance(value, (int, float))
        if self.high == self.low:
            return 0.5
        scaled = math.log(value) if self.logarithmic else value
        return (scaled - self.low) / (self.high - self.low)


def axis_scale(name: str, parameter: Parameter, values: Sequence[Value]) -> AxisScale:
    """Make the axis of a searched setting for the values that trials have of it."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    is_listed = isinstance(parameter, (Choices, WeightedChoices))
    if len(numbers) < len(values) or is_listed:
        listed = (
            parameter.values if isinstance(parameter, (Choices, WeightedChoices)) else sorted(set(numbers))
        )
        tried = {shown(value) for value in values}
        return AxisScale.of_texts(name, [text for text in [*map(shown, listed), ABSENT] if text in tried])
    return AxisScale.of_numbers(name, numbers, isinstance(parameter.axis, LogInterval) and min(numbers) > 0)


def shown(value: Value) -> str:
    """Return what stands for a value of a setting without an order."""
    if value is None:
        return ABSENT
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)
