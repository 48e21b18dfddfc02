"""The picture of ``python -m benchmarks.change``: what each model scores under each condition."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from esdseg.report.look import (
    LINE_COLOR,
    SERIES_COLORS,
    SERIES_MARKERS,
    TEXT_COLOR,
    add_legend_below,
    add_title,
    new_figure,
    save_png,
    style_axes,
)

SCORE_TITLES = {"contest_f1": "Contest F1", "f1_macro": "Macro F1"}

ROW_INCHES = 0.4

GROUP_SPAN = 0.66
"""Share of a row's height over which its models are spread."""

Scores = Mapping[str, Mapping[str, float]]
"""By score, a value with its interval, as the file of results holds them."""


def write_change_picture(
    path: Path, scores: Mapping[tuple[str, str], Scores], models: Sequence[str], conditions: Sequence[str]
) -> Path:
    """Draw scores as points with 95 % intervals, a row for each condition.

    Args:
        path: The PNG.
        scores: Of models under conditions; where there is none, none is drawn.
        models: The models to show.
        conditions: The conditions, in the order of the rows.
    """
    figure = new_figure(10.5, ROW_INCHES * len(conditions) + 1.6)
    add_title(figure, "Scores where tiles, land, dates, sensors or labels change, with 95 % intervals")
    axes_of_scores = figure.subplots(1, len(SCORE_TITLES), sharey=True)
    for axes, (score, title) in zip(axes_of_scores, SCORE_TITLES.items(), strict=True):
        for number, model in enumerate(models):
            offset = GROUP_SPAN * ((number + 0.5) / len(models) - 0.5)
            for row, condition in enumerate(conditions):
                if (model, condition) in scores:
                    _draw_point(axes, scores[model, condition][score], row + offset, number)
        axes.set_xlim(0, 1)
        style_axes(axes, title)
        axes.set_yticks(range(len(conditions)), conditions)
        axes.set_yticks([row + 0.5 for row in range(len(conditions) - 1)], minor=True)
        axes.set_ylim(len(conditions) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="y", which="minor", color=LINE_COLOR, linewidth=0.6)
        axes.tick_params(axis="y", which="both", length=0, labelcolor=TEXT_COLOR)
    handles = [
        Line2D([], [], color=SERIES_COLORS[number], marker=SERIES_MARKERS[number], linewidth=2, label=model)
        for number, model in enumerate(models)
    ]
    add_legend_below(figure, handles, columns=5)
    return save_png(figure, path)


def _draw_point(axes: Axes, score: Mapping[str, float], height: float, number: int) -> None:
    color, marker = SERIES_COLORS[number], SERIES_MARKERS[number]
    axes.plot((score["low"], score["high"]), (height, height), color=color, linewidth=2, alpha=0.6)
    axes.plot(score["value"], height, marker=marker, markersize=5.5, color=color, linestyle="none")
