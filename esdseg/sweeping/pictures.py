"""Pictures of a sweep: how it went, what mattered, and which settings went together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from esdseg.report.look import CONFIDENCE_COLORS, FAINT_COLOR, LINE_COLOR, TEXT_COLOR, new_figure, save_png
from esdseg.sweeping.engine import quiet_optuna
from esdseg.sweeping.files import HISTORY_NAME, IMPORTANCE_NAME, PARALLEL_NAME
from esdseg.sweeping.parallel_axes import AxisScale, axis_scale
from esdseg.sweeping.record import TrialRecord, scored
from esdseg.sweeping.spec import Sweep

FINISHED_COLOR = "#0072b2"
BEST_COLOR = "#d55e00"
PRUNED_COLOR = "#999999"
"""Okabe and Ito's colours, which every kind of colour vision tells apart."""

FEWEST_FOR_IMPORTANCE = 4
ROW_INCHES = 0.42
AXIS_INCHES = 1.7


def write_pictures(
    folder: Path,
    sweep: Sweep,
    records: Sequence[TrialRecord],
    finished: Sequence[optuna.trial.FrozenTrial],
) -> None:
    """Write ``history.png``, ``importance.png`` and ``parallel.png``.

    Args:
        folder: The sweep's.
        sweep: What was searched.
        records: All trials.
        finished: Optuna's own record of the finished ones.
    """
    figures = {
        HISTORY_NAME: draw_history(sweep, records),
        IMPORTANCE_NAME: draw_importance(sweep, importances(sweep, finished), len(finished)),
        PARALLEL_NAME: draw_parallel(sweep, records),
    }
    for name, figure in figures.items():
        save_png(figure, folder / name)


def draw_history(sweep: Sweep, records: Sequence[TrialRecord]) -> Figure:
    """Draw every trial's value, and the best one so far."""
    figure = new_figure(9, 4.6)
    axes = figure.subplots()
    finished, pruned = scored(records, "finished"), scored(records, "pruned")
    failed = [one for one in records if one.state == "failed"]
    best: list[float] = []
    for _, value in finished:
        best.append(value if not best or sweep.metric.is_better(value, best[-1]) else best[-1])
    numbers = [one.number for one, _ in finished]
    axes.step(numbers, best, where="post", color=BEST_COLOR, label="best so far", zorder=1)
    groups = (
        (finished, "o", FINISHED_COLOR, "finished"),
        (pruned, "v", PRUNED_COLOR, "stopped early, best until then"),
    )
    for group, marker, color, label in groups:
        if group:
            points = [one.number for one, _ in group], [value for _, value in group]
            axes.plot(*points, linestyle="none", marker=marker, color=color, label=label)
    if failed:
        axes.plot(
            [one.number for one in failed],
            [0.02] * len(failed),
            linestyle="none",
            marker="x",
            color="#000000",
            label="failed",
            transform=axes.get_xaxis_transform(),
        )
    axes.set_xlabel("trial")
    axes.set_ylabel(sweep.metric.name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=LINE_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, labelcolor=TEXT_COLOR)
    _title(axes, f"{sweep.name}: {len(records)} trials")
    return figure


def importances(sweep: Sweep, finished: Sequence[optuna.trial.FrozenTrial]) -> dict[str, float]:
    """Return each searched setting's share of the variance between finished trials, by functional ANOVA.

    Hutter et al., http://proceedings.mlr.press/v32/hutter14.html. Empty where there are too few trials, or
    all are equally good.
    """
    if len(finished) < FEWEST_FOR_IMPORTANCE or len({trial.value for trial in finished}) < 2:
        return {}
    with quiet_optuna():
        study = optuna.create_study(direction=sweep.metric.goal)
        study.add_trials(finished)
        names = [name for name in sweep.parameters if len({trial.params[name] for trial in finished}) > 1]
        if not names:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)


def draw_importance(sweep: Sweep, shares: dict[str, float], trials: int) -> Figure:
    """Draw how much each searched setting mattered."""
    names = sorted(shares, key=lambda name: shares[name])
    figure = new_figure(8, 1.6 + ROW_INCHES * max(2, len(names)))
    axes = figure.subplots()
    if not names:
        axes.set_axis_off()
        axes.text(
            0.5,
            0.5,
            f"Nothing to say yet: this needs {FEWEST_FOR_IMPORTANCE} finished trials\nthat differ in score, "
            f"and there are {trials} finished ones.",
            ha="center",
            va="center",
            color=FAINT_COLOR,
        )
    else:
        bars = axes.barh(names, [shares[name] for name in names], color=FINISHED_COLOR, height=0.6)
        axes.bar_label(bars, [f"{shares[name]:.0%}" for name in names], padding=4, color=TEXT_COLOR)
        axes.set_xlim(0, 1.12 * max(shares.values()))
        axes.set_xlabel(f"share of the variance of {sweep.metric.name} between {trials} finished trials")
        axes.tick_params(length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    _title(axes, f"{sweep.name}: what mattered")
    return figure


def draw_parallel(sweep: Sweep, records: Sequence[TrialRecord]) -> Figure:
    """Draw every trial as a line through its settings to its value, coloured by it."""
    finished, pruned = scored(records, "finished"), scored(records, "pruned")
    shown = [*pruned, *finished]
    scales = [
        axis_scale(name, parameter, [one.settings.get(name) for one, _ in shown])
        for name, parameter in sweep.parameters.items()
    ]
    scales.append(AxisScale.of_numbers(sweep.metric.name, [value for _, value in shown], logarithmic=False))
    figure = new_figure(2.5 + AXIS_INCHES * len(scales), 4.8)
    axes = figure.subplots()
    values = [value for _, value in finished]
    colours = ScalarMappable(Normalize(min(values), max(values)), colormaps[CONFIDENCE_COLORS])

    def draw_line(one: TrialRecord, value: float, color: Any, linewidth: float) -> None:
        settings = [*(one.settings.get(name) for name in sweep.parameters), value]
        heights = [scale.height(setting) for scale, setting in zip(scales, settings, strict=True)]
        axes.plot(range(len(scales)), heights, color=color, linewidth=linewidth, alpha=0.85)

    for one, value in pruned:
        draw_line(one, value, PRUNED_COLOR, 0.8)
    # The best lines lie above the others.
    for one, value in sorted(finished, key=lambda pair: pair[1], reverse=sweep.metric.goal == "minimize"):
        draw_line(one, value, colours.to_rgba(np.array(value)), 1.8)
    for position, scale in enumerate(scales):
        axes.axvline(position, color=TEXT_COLOR, linewidth=1)
        for height, text in scale.ticks:
            axes.annotate(
                text,
                (position, height),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                va="center",
                color=TEXT_COLOR,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
            ).set_parse_math(False)
    axes.set_xticks(range(len(scales)), [scale.name.replace(".", ".\n", 1) for scale in scales], fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(scales) - 0.5)
    axes.set_ylim(-0.06, 1.06)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(colours, ax=axes, label=sweep.metric.name, fraction=0.04, pad=0.01)
    grey = f", {len(pruned)} stopped early in grey" if pruned else ""
    _title(axes, f"{sweep.name}: {len(finished)} finished trials{grey}")
    return figure


def _title(axes: Axes, text: str) -> None:
    # A sweep may be called anything, so a $ in its name must not start a formula.
    axes.set_title(text, fontsize=12, color=TEXT_COLOR, pad=10, parse_math=False)
