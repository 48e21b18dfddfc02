"""Line charts as plain geometry: what to draw where, for the page's template to write as SVG.

Colours are left to the page, which knows its theme and palette; a line only names its style.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 12, 44
"""Margins that hold the axes' numbers and titles."""

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        title: Its name in the legend.
        style: How the page draws it: ``class-1`` to ``class-4``, or ``series-1`` to ``series-6``.
        points: Horizontal and vertical value of each point; a value of ``None`` leaves a gap.
        tag: A sign beside the line, so that it is told apart without colour.
        has_dots: Whether each point is marked.
        has_casing: Whether it is edged, since its colour alone may not stand out from the page.
    """

    title: str
    style: str
    points: tuple[Point, ...]
    tag: str = ""
    has_dots: bool = False
    has_casing: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar that stands on the lower edge: its bounds and height in the chart's own values."""

    low: float
    high: float
    height: float


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        title: What it shows.
        low: Value at the left or lower end.
        high: Value at the right or upper end.
        ticks: Values with a number.
    """

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end to 1 at the high end, never beyond."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


UNIT_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def unit_axis(title: str) -> Axis:
    """Return an axis from 0 to 1."""
    return Axis(title, 0.0, 1.0, UNIT_TICKS)


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: Its heading.
        description: What it shows, for those who do not see it.
        across: The horizontal axis.
        up: The vertical axis.
        lines: The curves, the last on top.
        guide: Ends of a straight dashed line to compare with, where there is one.
        bars: Bars behind the curves.
        note: How to read it, in a sentence.
    """

    title: str
    description: str
    across: Axis
    up: Axis
    lines: tuple[Line, ...]
    guide: tuple[tuple[float, float], tuple[float, float]] | None = None
    bars: tuple[Bar, ...] = ()
    note: str = ""

    @property
    def legend(self) -> tuple[Line, ...]:
        """The curves by their tags, those without in the order in which they are drawn."""
        return tuple(sorted(self.lines, key=lambda line: (len(line.tag), line.tag)))

    def x(self, value: float) -> float:
        """Return the horizontal place of a value in the drawing."""
        return round(LEFT + self.across.share(value) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the vertical place of a value in the drawing, which counts from above."""
        return round(HEIGHT - BOTTOM - self.up.share(value) * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, points: Sequence[Point]) -> str:
        """Return points as the ``d`` of an SVG path."""
        steps = []
        command = "M"
        for across, up in points:
            if up is None:
                command = "M"
                continue
            steps.append(f"{command}{self.x(across):g} {self.y(up):g}")
            command = "L"
        return "".join(steps)

    def dots(self, line: Line) -> tuple[tuple[float, float], ...]:
        """Return the places of a line's points that exist."""
        return tuple((self.x(across), self.y(up)) for across, up in line.points if up is not None)

    def tag_place(self, line: Line) -> tuple[float, float]:
        """Return the place of a line's tag: on the line, each further along than that of the line before."""
        share = (self.lines.index(line) + 1) / (len(self.lines) + 1)
        wanted = LEFT + share * (WIDTH - LEFT - RIGHT)
        before: tuple[float, float] | None = None
        for x, y in self.dots(line):
            if before is not None and x >= wanted > before[0]:
                along = (wanted - before[0]) / (x - before[0])
                return round(wanted, 1), round(before[1] + along * (y - before[1]), 1)
            before = x, y
        return before or (wanted, 0.0)


def fitting_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis from 0 to a round number above the values, with about four ticks."""
    top = max(values, default=1.0) or 1.0
    step = _round_step(top / 4)
    count = ceil(top / step - 1e-9)
    return Axis(title, 0.0, count * step, tuple(round(index * step, 10) for index in range(count + 1)))


def epoch_axis(last: int) -> Axis:
    """Return an axis over epochs 1 to ``last``, with at most six whole numbers."""
    step = max(1, ceil(last / 6))
    ticks = tuple(float(epoch) for epoch in range(step, last + 1, step))
    return Axis("epoch", 1.0, float(max(last, 2)), ticks if step == 1 else (1.0, *ticks))


def _round_step(wanted: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the first that is no less than wanted."""
    power = 10.0 ** floor(log10(wanted))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= wanted * (1 - 1e-9))
