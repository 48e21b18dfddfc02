"""The curves of a training: ``curves.png``, those of the report, and pictures for monitoring."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from esdseg.config.training import LossConfig
from esdseg.metrics.score_table import SCORE_TITLES
from esdseg.metrics.scorecard import RunHistory
from esdseg.report.look import (
    FAINT_COLOR,
    LABEL_SIZE,
    SERIES_COLORS,
    SERIES_DASHES,
    SERIES_MARKERS,
    TEXT_COLOR,
    add_legend_below,
    add_origin,
    add_title,
    new_figure,
    save_png,
    shorten,
    style_axes,
)
from esdseg.sensors.classes import label_grid_to_rgb

CURVES_NAME = "curves.png"

LOSSES = {"train_loss": "training", "val_loss": "validation"}
SCORES = {f"val_{name}": title for name, title in SCORE_TITLES.items()}

TERM_TITLES = {
    "cross_entropy": "cross-entropy",
    "focal": "focal loss",
    "dice": "Dice loss",
    "lovasz": "Lovász loss",
    "tversky": "Tversky loss",
}
WEIGHTED_TERMS = ("cross_entropy", "focal")
"""The terms of the loss that class weights count for."""

LONGEST_NAME = 30
"""Characters of a run's name for which there is room above a chart of the report."""

MARKED_EPOCHS = 30
"""Runs of more epochs have no marker on each."""

CELL_SIDE_PX = 16
"""Side of a label cell in a picture for monitoring; its edges stay sharp."""

GAP_PX = 8
"""White between truth and prediction."""

Row = Mapping[str, float | None]
"""The values of one epoch by column of ``metrics.csv``."""


def describe_loss(loss: LossConfig) -> str:
    """Return the loss in words, such as ``weighted cross-entropy + 0.5 Dice loss``."""
    terms = []
    for name, title in TERM_TITLES.items():
        factor = getattr(loss.terms, name)
        if factor:
            if name == "cross_entropy" and loss.cross_entropy_q:
                title = f"generalised cross-entropy (q {loss.cross_entropy_q:g})"
            weighted = "weighted " if loss.class_weights != "none" and name in WEIGHTED_TERMS else ""
            terms.append(f"{'' if factor == 1 else f'{factor:g} '}{weighted}{title}")
    return " + ".join(terms)


def describe_training(run: str, train_tiles: int | None, val_tiles: int | None) -> str:
    """Return which tiles a run saw, as ``first: trained on 9 tiles, validated on 3``, as far as known."""
    if train_tiles is None:
        return run
    tiles = "1 tile" if train_tiles == 1 else f"{train_tiles} tiles"
    return f"{run}: trained on {tiles}, validated on {val_tiles}"


def draw_run(rows: Sequence[Row], best_epoch: int | None, title: str, loss: LossConfig) -> Figure:
    """Draw losses, validation scores and learning rate of a run over its epochs.

    Args:
        rows: Rows of ``metrics.csv``.
        best_epoch: The epoch of ``best.ckpt``, marked by a line, where there is one.
        title: The run and its tiles; see :func:`describe_training`.
        loss: What was minimised.
    """
    # A model that is fitted in one go has none.
    rates = [rate for row in rows if (rate := row.get("learning_rate")) is not None and not np.isnan(rate)]
    panels = ["Loss", "Validation scores", *(["Learning rate"] if rates else [])]
    figure = new_figure(13 * len(panels) / 3, 5)
    add_title(figure, title)
    losses, scores, *others = figure.subplots(1, len(panels))
    _draw_columns(losses, rows, LOSSES)
    _draw_columns(scores, rows, SCORES)
    losses.set(ylabel=describe_loss(loss))
    _start_at_zero(losses)
    scores.set(ylabel="score", ylim=(0, 1.02))
    for rate in others:
        _draw_columns(rate, rows, {"learning_rate": "learning rate"})
        rate.set(ylabel="learning rate")
        _start_at_zero(rate)
        rate.ticklabel_format(axis="y", scilimits=(-2, 2))
    for axes, heading in zip((losses, scores, *others), panels, strict=True):
        if best_epoch is not None and len(rows) > 1:
            label = f"best epoch: {best_epoch}"
            axes.axvline(best_epoch, color=FAINT_COLOR, linestyle=(0, (1, 2)), linewidth=1.2, label=label)
        _style_epochs(axes, heading)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=2,
            frameon=False,
            fontsize=LABEL_SIZE - 1,
            labelcolor=TEXT_COLOR,
            handlelength=3,
        )
    return figure


def write_curves(
    path: Path, rows: Sequence[Row], best_epoch: int | None, title: str, loss: LossConfig
) -> Path:
    """Write the curves of a run as PNG; see :func:`draw_run`."""
    return save_png(draw_run(rows, best_epoch, title, loss), path)


def draw_histories(histories: Sequence[RunHistory], name: str) -> dict[str, Figure]:
    """Draw losses and validation scores over the epochs for the report.

    Several runs, such as folds, are a line each: in a figure of the validation loss, and in one of the
    contest's F1.

    Args:
        histories: The epochs of each run.
        name: Of the run, which several folds or members may make up.

    Returns:
        The figures ``loss`` and ``scores``; none where no run has two epochs.
    """
    runs = [history for history in histories if len(history.epochs) > 1]
    if not runs:
        return {}
    shown = shorten(name, LONGEST_NAME)
    origin = f"{shown}: {len(runs)} runs, each on its own tiles"
    if len(runs) == 1:
        origin = describe_training(shown, runs[0].train_tiles, runs[0].val_tiles)
    figures = {chart: new_figure(4.8, 4.6) for chart in ("loss", "scores")}
    for chart, figure in figures.items():
        add_origin(figure, origin)
        axes = figure.subplots()
        if len(runs) == 1:
            lines = _draw_columns(axes, runs[0].epochs, LOSSES if chart == "loss" else SCORES)
        else:
            column = "val_loss" if chart == "loss" else "val_contest_f1"
            lines = [
                _draw_line(axes, run.epochs, column, number, f"fold {run.fold}" if run.fold else run.run)
                for number, run in enumerate(runs)
            ]
        of_folds = {"loss": "Validation loss", "scores": f"Validation {SCORE_TITLES['contest_f1']}"}
        of_one = {"loss": "Loss", "scores": "Validation scores"}
        axes.set_ylabel("loss" if chart == "loss" else "score")
        if chart == "loss":
            _start_at_zero(axes)
        else:
            axes.set_ylim(0, 1.02)
        _style_epochs(axes, (of_one if len(runs) == 1 else of_folds)[chart])
        add_legend_below(figure, lines, columns=2)
    return figures


def draw_side_by_side(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint8]:
    """Draw a tile's truth, left, beside its prediction in class colours.

    Args:
        truth: Label indices (16, 16), 0 to 3; 255, unknown, is grey.
        prediction: Label indices (16, 16).

    Returns:
        RGB (height, width, 3).
    """
    square = np.ones((CELL_SIDE_PX, CELL_SIDE_PX, 1), np.uint8)
    panels = [np.kron(label_grid_to_rgb(labels), square) for labels in (truth, prediction)]
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _draw_columns(axes: Axes, rows: Sequence[Row], titles: Mapping[str, str]) -> list[Line2D]:
    return [
        _draw_line(axes, rows, column, number, title) for number, (column, title) in enumerate(titles.items())
    ]


def _draw_line(axes: Axes, rows: Sequence[Row], column: str, number: int, title: str) -> Line2D:
    """Draw a column over the epochs; a missing value leaves a gap."""
    values = [row.get(column) for row in rows]
    (line,) = axes.plot(
        [row["epoch"] or 0.0 for row in rows],
        [np.nan if value is None else value for value in values],
        color=SERIES_COLORS[number % len(SERIES_COLORS)],
        linestyle=SERIES_DASHES[number % len(SERIES_DASHES)],
        marker=SERIES_MARKERS[number % len(SERIES_MARKERS)] if len(rows) < MARKED_EPOCHS else None,
        markersize=3.5,
        label=title,
    )
    return line


def _start_at_zero(axes: Axes) -> None:
    """Let the vertical axis begin at 0, with room above the highest value for its marker."""
    # The margin is a share of all that is to be seen, which 0 belongs to.
    axes.update_datalim([(0, 0)], updatex=False)
    axes.autoscale_view()
    axes.set_ylim(bottom=0)


def _style_epochs(axes: Axes, title: str) -> None:
    axes.set_xlabel("epoch")
    # Epochs count from 1.
    low, high = axes.get_xlim()
    axes.set_xlim(max(0.5, low), high) if high - low > 1 else axes.set_xlim(low - 0.5, high + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style_axes(axes, title)
