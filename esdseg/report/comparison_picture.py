"""The comparison of runs as a picture: scores, differences to the first run, and F1 of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from esdseg.metrics.score_table import SCORE_TITLES, describe_tiles
from esdseg.metrics.scorecard import Difference, Interval, Score, Scorecard
from esdseg.report.look import (
    FAINT_COLOR,
    LINE_COLOR,
    SERIES_COLORS,
    SERIES_MARKERS,
    TEXT_COLOR,
    add_legend_below,
    add_title,
    new_figure,
    save_png,
    shorten,
    style_axes,
)
from esdseg.sensors.classes import CLASSES

GROUP_SPAN = 0.62
"""Share of a row's height over which its runs are spread."""

ROW_INCHES = 0.75
MORE_RUN_INCHES = 0.16

LONGEST_NAME = 30
"""Characters of a run's name for which there is room in titles."""

Point = tuple[Score, Interval | None]
"""A value and its interval."""


@dataclass(frozen=True)
class PictureRun:
    """A run as the picture shows it.

    Attributes:
        name: Its name.
        card: Its scores.
        class_intervals: 95 % interval of the F1 of each class, by class name.
        differences: Its scores less those of the first run, by score; none for the first itself.
    """

    name: str
    card: Scorecard
    class_intervals: Mapping[str, Interval | None]
    differences: Mapping[str, Difference]


def write_comparison_picture(path: Path, runs: Sequence[PictureRun]) -> Path:
    """Write the picture as PNG; see :func:`draw_comparison_picture`."""
    return save_png(draw_comparison_picture(runs), path)


def draw_comparison_picture(runs: Sequence[PictureRun]) -> Figure:
    """Draw two runs or more side by side, scored on the same tiles."""
    first = runs[0]
    row_inches = ROW_INCHES + MORE_RUN_INCHES * max(0, len(runs) - 2)
    figure = new_figure(14.5, row_inches * len(SCORE_TITLES) + 2.0)
    tiles = describe_tiles(first.card.split, len(first.card.tiles))
    add_title(
        figure, f"{shorten(first.name, LONGEST_NAME)} and {_others(runs[1:])} on {tiles}, with 95 % intervals"
    )
    scores, compared, classes = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _draw_rows(
        scores,
        "Scores",
        "score",
        tuple(SCORE_TITLES.values()),
        [
            [(getattr(run.card.headline(), name), run.card.intervals[name]) for name in SCORE_TITLES]
            for run in runs
        ],
    )
    shown = [name for name in SCORE_TITLES if any(name in run.differences for run in runs)]
    compared.axvline(0, color=FAINT_COLOR, linewidth=1)
    _draw_rows(
        compared,
        f"Difference to {shorten(first.name, LONGEST_NAME)}",
        "score less that of the first run; right of zero is better",
        tuple(SCORE_TITLES[name] for name in shown),
        [[_difference(run.differences.get(name)) for name in shown] for run in runs],
    )
    _draw_rows(
        classes,
        "F1 of each class",
        "F1",
        tuple(label_class.title_with_code.replace(" with", "\nwith") for label_class in CLASSES),
        [
            [
                (run.card.f1.per_class[label_class.name], run.class_intervals[label_class.name])
                for label_class in CLASSES
            ]
            for run in runs
        ],
    )
    for axes in (scores, classes):
        axes.set_xlim(0, 1)
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=7, linewidth=2, label=run.name)
        for run, (color, marker) in zip(runs, map(_style, range(len(runs))), strict=True)
    ]
    add_legend_below(figure, handles, columns=4)
    return figure


def _others(runs: Sequence[PictureRun]) -> str:
    return shorten(runs[0].name, LONGEST_NAME) if len(runs) == 1 else f"{len(runs)} other runs"


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
                axes.plot(interval, (height, height), color=color, linewidth=2, alpha=0.6, clip_on=False)
            axes.plot(
                value, height, marker=marker, markersize=7, color=color, linestyle="none", clip_on=False
            )
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
