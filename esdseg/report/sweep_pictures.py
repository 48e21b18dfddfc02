"""Pictures of a sweep, drawn by Optuna: how it went, what mattered, and which settings went together."""

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from optuna.visualization import matplotlib as optuna_pictures
from pydantic import JsonValue

from esdseg.report.look import (
    DOTS_PER_INCH,
    FAINT_COLOR,
    PAPER_COLOR,
    SERIES_COLORS,
    SMALL_SIZE,
    TEXT_COLOR,
    add_legend_below,
    save_png,
    style_axes,
)

FEWEST_FOR_IMPORTANCE = 4
FINISHED_COLOR, BEST_COLOR = SERIES_COLORS[:2]
ROW_INCHES = 0.42
AXIS_INCHES = 1.7


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
    metric: str,
    log_scales: Collection[str],
    paths: Sequence[Path],
) -> None:
    """Write the three pictures of a sweep in which a trial has finished.

    Args:
        study: The sweep's.
        trials: Its trials.
        metric: What they are judged by.
        log_scales: Settings whose axis is logarithmic.
        paths: Where history, importances and settings go.
    """
    # Optuna draws with pyplot, which is to open no window and to keep its settings.
    mpl.use("agg")
    from matplotlib import pyplot

    with mpl.rc_context(), warnings.catch_warnings():
        # Drawing with Optuna is called experimental, and matplotlib widens an axis of one value.
        warnings.simplefilter("ignore")
        figures = (
            draw_history(study, trials, metric),
            draw_importance(study, trials, metric),
            draw_parallel(study, trials, metric, log_scales),
        )
    for path, figure in zip(paths, figures, strict=True):
        save_png(figure, path)
        pyplot.close(figure)


def draw_history(study: optuna.Study, trials: Sequence[PictureTrial], metric: str) -> Figure:
    """Draw every trial's value, and the best one so far of those that were trained to their end."""
    axes = optuna_pictures.plot_optimization_history(study, target_name=metric)
    finished, (best,) = axes.collections[0], axes.lines
    finished.set(color=FINISHED_COLOR, label="trained to the end")
    best.set(color=BEST_COLOR, alpha=1, drawstyle="steps-post", label="best so far", zorder=1)
    pruned = [(trial.number, trial.value) for trial in trials if trial.state == "pruned"]
    shown = [best, finished]
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure = _figure_of(axes, f"{study.study_name}: {len(trials)} trials", 9, 4.6)
    add_legend_below(figure, shown, 4)
    return figure


def draw_importance(study: optuna.Study, trials: Sequence[PictureTrial], metric: str) -> Figure:
    """Draw each setting's share of the variance between finished trials, by functional ANOVA.

    Hutter et al., http://proceedings.mlr.press/v32/hutter14.html.
    """
    title = f"{study.study_name}: what mattered"
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = sorted(
        {
            name
            for trial in finished
            for name in trial.params
            if len({one.params[name] for one in finished}) > 1
        }
    )
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in finished}) < 2 or not names:
        from matplotlib import pyplot

        _, axes = pyplot.subplots()
        axes.set_axis_off()
        text = (
            f"Nothing to say yet: this needs {FEWEST_FOR_IMPORTANCE} finished trials\nthat differ in score, "
            f"and there are {len(finished)} finished ones."
        )
        axes.text(0.5, 0.5, text, ha="center", va="center", color=FAINT_COLOR)
        return _figure_of(axes, title, 8, 2.4)
    axes = optuna_pictures.plot_param_importances(
        study, optuna.importance.FanovaImportanceEvaluator(seed=0), names, target_name=metric
    )
    for bar in axes.patches:
        bar.set(color=FINISHED_COLOR, height=0.6)
    axes.set(xlabel=f"share of the variance of {metric} between {len(finished)} finished trials", ylabel="")
    return _figure_of(axes, title, 8, 1.6 + ROW_INCHES * max(2, len(names)))


def draw_parallel(
    study: optuna.Study, trials: Sequence[PictureTrial], metric: str, log_scales: Collection[str]
) -> Figure:
    """Draw every finished trial as a line through its settings, coloured by its value."""
    finished = [trial for trial in trials if trial.state == "finished"]
    shown = _study_of_settings(study, finished, log_scales)
    axes = optuna_pictures.plot_parallel_coordinate(shown, target_name=metric)
    for line in axes.collections:
        line.set(cmap="cividis" if study.direction.name == "MAXIMIZE" else "cividis_r")
    names = sorted({name for trial in finished for name in trial.settings})
    axes.set_xticks(range(1 + len(names)), [metric, *names], rotation=20, ha="right")
    others = len(trials) - len(finished)
    more = f"; {others} not shown, which were stopped early or failed" if others else ""
    title = f"{study.study_name}: {len(finished)} finished trials{more}"
    return _figure_of(axes, title, max(8, 2.5 + AXIS_INCHES * (1 + len(names))), 4.8)


def _study_of_settings(
    study: optuna.Study, trials: Sequence[PictureTrial], log_scales: Collection[str]
) -> optuna.Study:
    """Return a study of the settings' values; Optuna's own knows some by their quantile or label alone."""
    names = {name: None for trial in trials for name in trial.settings}
    kinds: dict[str, BaseDistribution] = {}
    for name in names:
        values = [trial.settings[name] for trial in trials if name in trial.settings]
        numbers = [
            value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)
        ]
        if len(numbers) == len(values) and len(set(numbers)) > 1:
            is_log = name in log_scales and min(numbers) > 0
            kinds[name] = FloatDistribution(min(numbers), max(numbers), log=is_log)
        else:
            kinds[name] = CategoricalDistribution(sorted({_shown(value) for value in values}))
    shown = optuna.create_study(direction=study.direction)
    for trial in trials:
        params = {
            name: _shown(value) if isinstance(kinds[name], CategoricalDistribution) else value
            for name, value in trial.settings.items()
        }
        shown.add_trial(
            optuna.create_trial(
                value=trial.value, params=params, distributions={name: kinds[name] for name in params}
            )
        )
    return shown


def _shown(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _figure_of(axes: Axes, title: str, width_inches: float, height_inches: float) -> Figure:
    """Return the figure that Optuna has drawn on, in this project's look."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    # Constrained layout, which legends below need, cannot place the colour bar.
    layout = "tight" if len(figure.axes) > 1 else "constrained"
    figure.set(size_inches=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout_engine=layout)
    figure.set_facecolor(PAPER_COLOR)
    for other in figure.axes:
        other.set_facecolor(PAPER_COLOR)
        other.grid(visible=False)
        other.tick_params(labelsize=SMALL_SIZE, labelcolor=FAINT_COLOR)
        other.patch.set_visible(other is axes)
    axes.set_title("", loc="left")
    if legend := axes.get_legend():
        legend.remove()
    style_axes(axes, title)
    return figure
