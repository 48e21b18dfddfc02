"""The comparison of runs as a picture: scores, differences to the first run, and F1 of each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esdseg.metrics.score_table import SCORE_TITLES
from esdseg.metrics.scorecard import Difference, Interval, Score, Scorecard
from esdseg.report.look import (
    FAINT_COLOR,
    LINE_COLOR,
    SERIES_COLORS,
    SERIES_MARKERS,
    TEXT_COLOR,
    new_figure,
    save_png,
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
        runs: The scores of two runs or more, by what they are called.
        differences: Of each run to the first, by score; nothing for the first.
    """
    row_inches = ROW_INCHES + MORE_RUN_INCHES * max(0, len(runs) - 2)
    figure = new_figure(14.5, row_inches * len(SCORE_TITLES) + 1.6)
    scores, compared_to_first, classes = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _draw_rows(
        scores,
        "Scores, 95 % intervals",
        tuple(SCORE_TITLES.values()),
        [
            [(getattr(card.headline(), name), card.intervals[name]) for name in SCORE_TITLES]
            for card in runs.values()
        ],
    )
    compared = [name for name in SCORE_TITLES if any(name in of_run for of_run in differences.values())]
    compared_to_first.axvline(0, color=FAINT_COLOR, linewidth=1)
    _draw_rows(
        compared_to_first,
        "Difference to the first run, 95 % intervals",
        tuple(SCORE_TITLES[name] for name in compared),
        [[_point(differences.get(label, {}).get(name)) for name in compared] for label in runs],
    )
    _draw_rows(
        classes,
        "F1 of each class",
        tuple(f"{one.code}  {one.title}".replace(", ", ",\n").replace(" with", "\nwith") for one in CLASSES),
        [[(card.f1.per_class[one.name], None) for one in CLASSES] for card in runs.values()],
    )
    _draw_legend(figure, list(runs))
    return figure


def _draw_rows(axes: Axes, title: str, rows: Sequence[str], points: Sequence[Sequence[Point]]) -> None:
    """Draw a row a score, the runs below each other in it."""
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
    axes.set_title(title, fontsize=11.5, color=TEXT_COLOR, pad=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=9.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([row + 0.5 for row in range(len(rows) - 1)], minor=True)
    axes.grid(axis="x", color=LINE_COLOR, linewidth=0.6)
    axes.grid(axis="y", which="minor", color=LINE_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=TEXT_COLOR)
    axes.tick_params(axis="x", labelsize=9, labelcolor=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=LINE_COLOR)


def _point(difference: Difference | None) -> Point:
    return (None, None) if difference is None else (difference.value, difference.interval)


def _style(index: int) -> tuple[str, str]:
    return SERIES_COLORS[index % len(SERIES_COLORS)], SERIES_MARKERS[index % len(SERIES_MARKERS)]


def _draw_legend(figure: Figure, labels: Sequence[str]) -> None:
    handles = []
    for index, label in enumerate(labels):
        color, marker = _style(index)
        handles.append(Line2D([], [], color=color, marker=marker, markersize=7, linewidth=2, label=label))
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(labels), 4),
        frameon=False,
        fontsize=10.5,
        labelcolor=TEXT_COLOR,
    )
    # A run may be called anything, so a $ in its name must not start a formula.
    for text in legend.get_texts():
        text.set_parse_math(False)
