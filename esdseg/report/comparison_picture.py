"""The comparison of runs as a picture: scores, differences to the first run, and F1 of each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from esdseg.metrics.score_table import SCORE_TITLES
from esdseg.metrics.scorecard import Difference, Interval, Score, Scorecard
from esdseg.report.look import (
    FAINT_COLOR,
    LINE_COLOR,
    SERIES_COLORS,
    SERIES_MARKERS,
    TEXT_COLOR,
    add_legend_below,
    new_figure,
    save_png,
    style_axes,
)
from esdseg.sensors.classes import CLASSES

GROUP_SPAN = 0.62
"""Share of a row's height over which its runs are spread."""

ROW_INCHES = 0.75
MORE_RUN_INCHES = 0.16

Point = tuple[Score, Interval | None]
"""A value and its interval."""


def write_comparison_picture(
    path: Path, runs: Mapping[str, Scorecard], differences: Mapping[str, Mapping[str, Difference]]
) -> Path:
    """Write the picture as PNG; see :func:`draw_comparison_picture`."""
    return save_png(draw_comparison_picture(runs, differences), path)


def draw_comparison_picture(
    runs: Mapping[str, Scorecard], differences: Mapping[str, Mapping[str, Difference]]
) -> Figure:
    """Draw runs side by side.

    Args:
        runs: The scorecards of two runs or more, by the runs' names.
        differences: Of each run to the first, by score; none for the first itself.
    """
    row_inches = ROW_INCHES + MORE_RUN_INCHES * max(0, len(runs) - 2)
    figure = new_figure(14.5, row_inches * len(SCORE_TITLES) + 1.6)
    scores, compared, classes = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _draw_rows(
        scores,
        "Scores, 95 % intervals",
        "score",
        tuple(SCORE_TITLES.values()),
        [
            [(getattr(card.headline(), name), card.intervals[name]) for name in SCORE_TITLES]
            for card in runs.values()
        ],
    )
    shown = [name for name in SCORE_TITLES if any(name in scored for scored in differences.values())]
    compared.axvline(0, color=FAINT_COLOR, linewidth=1)
    _draw_rows(
        compared,
        "Difference to the first run, 95 % intervals",
        "score less that of the first run",
        tuple(SCORE_TITLES[name] for name in shown),
        [[_difference(differences.get(run, {}).get(name)) for name in shown] for run in runs],
    )
    _draw_rows(
        classes,
        "F1 of each class",
        "F1",
        tuple(
            f"{label_class.code}  {label_class.title}".replace(", ", ",\n").replace(" with", "\nwith")
            for label_class in CLASSES
        ),
        [[(card.f1.per_class[label_class.name], None) for label_class in CLASSES] for card in runs.values()],
    )
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=7, linewidth=2, label=run)
        for run, (color, marker) in zip(runs, map(_style, range(len(runs))), strict=True)
    ]
    add_legend_below(figure, handles, columns=4)
    return figure


def _draw_rows(
    axes: Axes, title: str, unit: str, rows: Sequence[str], points: Sequence[Sequence[Point]]
) -> None:
    """Draw a row for each score, with the runs below each other in it."""
    offsets = [GROUP_SPAN * ((index + 0.5) / len(points) - 0.5) for index in range(len(points))]
    for index, of_run in enumerate(points):
        color, marker = _style(index)
        for row, (value, interval) in enumerate(of_run):
            if value is None:
                continue
            height = row + offsets[index]
            if interval is not None:
                axes.plot(interval, (height, height), color=color, linewidth=2, alpha=0.6)
            axes.plot(value, height, marker=marker, markersize=7, color=color, linestyle="none")
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style_axes(axes, title)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([row + 0.5 for row in range(len(rows) - 1)], minor=True)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="y", which="minor", color=LINE_COLOR, linewidth=0.6)
    axes.tick_params(axis="y", which="both", length=0, labelcolor=TEXT_COLOR)


def _difference(difference: Difference | None) -> Point:
    return (None, None) if difference is None else (difference.value, difference.interval)


def _style(index: int) -> tuple[str, str]:
    return SERIES_COLORS[index % len(SERIES_COLORS)], SERIES_MARKERS[index % len(SERIES_MARKERS)]
