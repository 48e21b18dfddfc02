"""Pictures of a sweep: how it went, what mattered, and which settings went together."""

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from optuna.trial import TrialState
from optuna.visualization import matplotlib as optuna_pictures
from pydantic import JsonValue

from esdseg.report.look import (
    CONFIDENCE_COLORS,
    DOTS_PER_INCH,
    FAINT_COLOR,
    LABEL_SIZE,
    LINE_COLOR,
    PAPER_COLOR,
    SERIES_COLORS,
    SMALL_SIZE,
    TEXT_COLOR,
    add_legend_below,
    add_title,
    new_figure,
    save_png,
    shorten,
    style_axes,
)

FEWEST_FOR_IMPORTANCE = 10
"""Finished trials below which the shares of the variance are chance."""

FINISHED_COLOR, BEST_COLOR = SERIES_COLORS[:2]
ROW_INCHES = 0.42

COLUMN_INCHES = 2.0
LABEL_SHARE = 0.5
"""Of a column's width in ``parallel.png``: the part with its labels, through which no line runs."""

LONGEST_LABEL = 14
"""Characters of a label in ``parallel.png`` for which there is room."""

FEW_VALUES = 6
"""A setting of so many whole numbers at most has a label at each of them, rather than a scale."""

NOT_USED = "not used"
"""Label of a setting that a trial's model does not have."""


@dataclass(frozen=True)
class PictureTrial:
    """A trial as the pictures show it.

    Attributes:
        number: Its number.
        state: ``finished``, ``pruned``, ``failed`` or ``running``.
        value: The metric's best value; ``None`` where there is none.
        settings: The searched settings that its model uses, by dotted name.
    """

    number: int
    state: str
    value: float | None
    settings: Mapping[str, JsonValue]


def write_sweep_pictures(
    study: optuna.Study,
    trials: Sequence[PictureTrial],
    title: str,
    metric: str,
    log_scales: Collection[str],
    paths: Sequence[Path],
) -> None:
    """Write the three pictures of a sweep in which a trial has finished.

    Args:
        study: The sweep's.
        trials: Its trials.
        title: Names the sweep, and the tiles that its trials are scored on.
        metric: What they are judged by.
        log_scales: Settings whose axis is logarithmic.
        paths: Where history, importances and settings go.
    """
    # Optuna draws with pyplot, which is to open no window and to keep its settings.
    mpl.use("agg")
    from matplotlib import pyplot

    # Before Optuna, which draws in a style of its own.
    parallel = draw_parallel(study, trials, title, metric, log_scales)
    with mpl.rc_context(), warnings.catch_warnings():
        # Drawing with Optuna is called experimental, and matplotlib widens an axis of one value.
        warnings.simplefilter("ignore")
        figures = draw_history(study, trials, title, metric), draw_importance(study, title, metric), parallel
    for path, figure in zip(paths, figures, strict=True):
        save_png(figure, path)
        pyplot.close(figure)


def draw_history(study: optuna.Study, trials: Sequence[PictureTrial], title: str, metric: str) -> Figure:
    """Draw every trial's value, and the best one so far of those that were trained to their end."""
    axes = optuna_pictures.plot_optimization_history(study, target_name=metric)
    finished, (best,) = axes.collections[0], axes.lines
    finished.set(color=FINISHED_COLOR, label="trained to the end", zorder=3)
    best.set(color=BEST_COLOR, alpha=1, drawstyle="steps-post", label="best so far", zorder=1)
    shown = [finished] if np.size(best.get_xdata()) < 2 else [best, finished]
    pruned = [(trial.number, trial.value) for trial in trials if trial.state == "pruned"]
    if pruned:
        label = "stopped early: best of fewer epochs"
        shown.append(axes.scatter(*zip(*pruned, strict=True), marker="v", color=FAINT_COLOR, label=label))
    if failed := [trial.number for trial in trials if trial.state == "failed"]:
        bottom = axes.get_xaxis_transform()
        heights = [0.02] * len(failed)
        shown.append(
            axes.scatter(failed, heights, marker="x", color=TEXT_COLOR, label="failed", transform=bottom)
        )
    axes.set(xlabel="trial", ylabel=metric)
    numbers = [trial.number for trial in trials]
    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure = _figure_of(axes, f"{title}: {_counted(len(trials), 'trial')}", 9, 4.6)
    add_legend_below(figure, shown, 4)
    return figure


def draw_importance(study: optuna.Study, title: str, metric: str) -> Figure:
    """Draw each setting's share of the variance between finished trials, by functional ANOVA.

    Hutter et al., http://proceedings.mlr.press/v32/hutter14.html.
    """
    title = f"{title}: what mattered"
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = sorted(
        {
            name
            for trial in finished
            for name in trial.params
            if len({other.params[name] for other in finished}) > 1
        }
    )
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in finished}) < 2 or not names:
        figure = new_figure(8, 2.4)
        axes = figure.subplots()
        axes.set_axis_off()
        text = (
            f"Nothing to say yet: this needs {FEWEST_FOR_IMPORTANCE} finished trials that differ in score;\n"
            f"there {'is' if len(finished) == 1 else 'are'} {_counted(len(finished), 'finished trial')}."
        )
        axes.text(0.5, 0.5, text, ha="center", va="center", color=FAINT_COLOR, fontsize=LABEL_SIZE)
        add_title(figure, title)
        return figure
    axes = optuna_pictures.plot_param_importances(
        study, optuna.importance.FanovaImportanceEvaluator(seed=0), names, target_name=metric
    )
    for bar in axes.patches:
        bar.set(color=FINISHED_COLOR, height=0.6)
    for number in axes.texts:
        number.set(text=f" {number.get_text().strip()}", fontsize=SMALL_SIZE, color=TEXT_COLOR)
    share = f"share of the variance of {metric} between {_counted(len(finished), 'finished trial')}"
    axes.set(xlabel=share, ylabel="", xlim=(0, 1.08))
    return _figure_of(axes, title, 8, 1.6 + ROW_INCHES * max(2, len(names)))


def draw_parallel(
    study: optuna.Study, trials: Sequence[PictureTrial], title: str, metric: str, log_scales: Collection[str]
) -> Figure:
    """Draw every finished trial as a line through its settings to its value; the better, the darker.

    The lines stop at each column's labels and go on behind them at the same height.
    """
    # The best trial is drawn last, on top.
    ranked = sorted(
        (trial for trial in trials if trial.state == "finished"),
        key=lambda trial: trial.value if trial.value is not None else np.nan,
        reverse=study.direction.name == "MINIMIZE",
    )
    names = sorted({name for trial in ranked for name in trial.settings})
    columns = {
        name: _column_of([trial.settings.get(name, NOT_USED) for trial in ranked], name in log_scales)
        for name in names
    }
    columns[metric] = _column_of([trial.value for trial in ranked])
    figure = new_figure(max(8, COLUMN_INCHES * len(columns) + 0.4), 4.8)
    axes = figure.subplots()
    colors = colormaps[CONFIDENCE_COLORS](np.linspace(0.9, 0, len(ranked)) if len(ranked) > 1 else [0.0])
    heights = np.array([column.heights for column in columns.values()])
    for trial, color in zip(heights.T, colors, strict=True):
        for number in range(len(columns) - 1):
            across = (number + LABEL_SHARE / 2, number + 1 - LABEL_SHARE / 2)
            axes.plot(across, trial[number : number + 2], color=color, linewidth=1.6)
    for number, column in enumerate(columns.values()):
        for edge in (-LABEL_SHARE / 2, LABEL_SHARE / 2):
            axes.plot([number + edge] * 2, (-0.04, 1.04), color=LINE_COLOR, linewidth=0.8)
        for height, label in column.labels.items():
            axes.text(
                number,
                height,
                shorten(label, LONGEST_LABEL),
                ha="center",
                va="center",
                fontsize=SMALL_SIZE,
                color=FAINT_COLOR,
                parse_math=False,
            )
    others = len(trials) - len(ranked)
    more = f"; {others} not shown, which were stopped early or failed" if others else ""
    better = "\nEach line is a trial: the darker, the better" if len(ranked) > 1 else ""
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(-0.08, 1.08))
    style_axes(axes)
    axes.grid(visible=False)
    axes.set_yticks([])
    titles = [name.replace(".", ".\n") for name in columns]
    axes.set_xticks(range(len(columns)), titles, fontsize=LABEL_SIZE - 1, color=TEXT_COLOR)
    for spine in axes.spines.values():
        spine.set_visible(False)
    add_title(figure, f"{title}: {_counted(len(ranked), 'finished trial')}{more}{better}")
    return figure


@dataclass(frozen=True)
class _Column:
    """A column of ``parallel.png``.

    Attributes:
        heights: Where each trial's line crosses it, 0 to 1.
        labels: What stands in it, by height.
    """

    heights: list[float]
    labels: dict[float, str]


def _column_of(values: Sequence[JsonValue], is_log: bool = False) -> _Column:
    """Place numbers on a scale, and names or a few whole numbers in equal steps."""
    numbers = [float(value) for value in values if _is_number(value)]
    is_used = [value != NOT_USED for value in values]
    has_steps = len(numbers) < sum(is_used) or len(set(numbers)) < 3
    if has_steps or (len(set(numbers)) <= FEW_VALUES and all(number.is_integer() for number in numbers)):
        return _steps_of(values)
    low, high = min(numbers), max(numbers)
    is_log = is_log and low > 0
    # Below the scale there is room for trials that do not use the setting.
    bottom = 0.0 if all(is_used) else 0.15

    def height(number: float) -> float:
        first, own, last = np.log((low, number, high)) if is_log else (low, number, high)
        return float(bottom + (1 - bottom) * (own - first) / (last - first))

    locator = LogLocator(subs=(1, 3)) if is_log else MaxNLocator(4)
    labels = {height(tick): f"{tick:.4g}" for tick in locator.tick_values(low, high) if low <= tick <= high}
    heights = [height(float(value)) if _is_number(value) else 0.0 for value in values]
    return _Column(heights, labels if all(is_used) else {0.0: NOT_USED, **labels})


def _steps_of(values: Sequence[JsonValue]) -> _Column:
    """Place values in equal steps: first what is not used, then numbers, then names."""
    by_label = {_shown(value): value for value in values}

    def rank(label: str) -> tuple[bool, bool, float, str]:
        value = by_label[label]
        return value != NOT_USED, not _is_number(value), float(value) if _is_number(value) else 0.0, label

    labels = sorted(by_label, key=rank)
    places = np.linspace(0, 1, len(labels)).tolist() if len(labels) > 1 else [0.5]
    height_of = dict(zip(labels, places, strict=True))
    return _Column([height_of[_shown(value)] for value in values], dict(zip(places, labels, strict=True)))


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _figure_of(axes: Axes, title: str, width_inches: float, height_inches: float) -> Figure:
    """Return the figure that Optuna has drawn on, in this project's look."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.set(size_inches=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout_engine="constrained")
    figure.set_facecolor(PAPER_COLOR)
    axes.set_facecolor(PAPER_COLOR)
    axes.set_title("", loc="left")
    if legend := axes.get_legend():
        legend.remove()
    style_axes(axes, title)
    return figure
