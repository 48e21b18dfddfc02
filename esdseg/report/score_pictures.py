"""The pictures of a run's scores: confusion matrix, ROC, precision and recall, reliability, coverage.

Each is drawn once: ``evaluate`` writes the figure as PNG, and ``report.html`` shows the same figure as SVG.
They are narrow, so that their texts can be read on a phone.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from esdseg.metrics.score_table import SCORE_TITLES, describe_tiles, show
from esdseg.metrics.scorecard import CoveragePoint, ReliabilityBin, Scorecard
from esdseg.metrics.scores import FloatArray, divide
from esdseg.report.look import (
    FAINT_COLOR,
    LINE_COLOR,
    PAPER_COLOR,
    SERIES_COLORS,
    SERIES_DASHES,
    SERIES_MARKERS,
    SMALL_SIZE,
    TEXT_COLOR,
    add_legend_below,
    add_origin,
    new_figure,
    save_png,
    shorten,
    style_axes,
)
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, NUM_CLASSES, LabelClass

WIDTH_INCHES = 4.8
"""Of every figure here: at this width a phone shows their texts in full size."""

LONGEST_NAME = 40
"""Characters of a run's name for which there is room above a picture."""

FEW_CELLS = 30
"""A bin of fewer cells is drawn hollow: its share of right cells says little."""

SWATCH_CELLS = 0.16
"""Side of the class colours beside the confusion matrix, in its cells."""

DARKEST_TINT = 0.35
"""Opacity behind 100 % in the confusion matrix, so low that text on it is readable."""

COVERAGE_SCORES = ("accuracy", "contest_f1", "f1_macro")


def describe_origin(run: str, split: str, tiles: int) -> str:
    """Return whose scores a picture shows, such as ``first on 3 tiles of the val split``."""
    return f"{shorten(run, LONGEST_NAME)} on {describe_tiles(split, tiles)}"


def draw_confusion_matrix(counts: npt.ArrayLike, origin: str) -> Figure:
    """Draw a confusion matrix: counts, and their shares of the true class.

    Args:
        counts: Cells by true class (rows) and predicted class (columns), (4, 4).
        origin: Whose it is; see :func:`describe_origin`.
    """
    cells = np.asarray(counts)
    shares = divide(cells, cells.sum(axis=1, keepdims=True))
    figure = new_figure(WIDTH_INCHES, 4.5)
    add_origin(figure, origin)
    axes = figure.subplots()
    for row, column in np.ndindex(cells.shape):
        _draw_cell(axes, row, column, int(cells[row, column]), float(shares[row, column]))
    labels = [
        f"{_in_lines(label_class)}\n{total:,} cells"
        for label_class, total in zip(CLASSES, cells.sum(axis=1).tolist(), strict=True)
    ]
    edges = np.arange(0.5, NUM_CLASSES - 1)
    axes.set(xlim=(-0.5, NUM_CLASSES - 0.5), ylim=(NUM_CLASSES - 0.5, -0.5), aspect="equal")
    axes.set_xlabel("predicted class", labelpad=8)
    axes.set_ylabel("true class", labelpad=8)
    style_axes(axes, "Confusion matrix:\ncells and % of the true class")
    axes.grid(False)
    axes.set_xticks(range(NUM_CLASSES), [str(label_class.code) for label_class in CLASSES])
    axes.set_yticks(range(NUM_CLASSES), labels)
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color=LINE_COLOR, linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.tick_params(axis="x", pad=20, labelcolor=TEXT_COLOR)
    axes.tick_params(axis="y", pad=23, labelcolor=TEXT_COLOR, labelsize=SMALL_SIZE - 0.5)
    for label_class in CLASSES:
        _draw_swatch(axes, label_class, -0.5 - 1.1 * SWATCH_CELLS, label_class.index)
        _draw_swatch(axes, label_class, label_class.index, NUM_CLASSES - 0.5 + 1.1 * SWATCH_CELLS)
    return figure


def draw_roc(card: Scorecard) -> Figure:
    """Draw the ROC curve of each class against the rest."""
    curves = {
        name: (curve.false_positive_rate, curve.true_positive_rate)
        for name, curve in card.roc.items()
        if curve is not None
    }
    figure = _draw_class_curves(
        card, "ROC", curves, lambda name: f"AUC {show(card.auc.per_class[name])}", with_diagonal=True
    )
    figure.axes[0].set(
        xlabel="false positive rate: share of other cells taken for the class",
        ylabel="true positive rate: share of its cells found",
    )
    return figure


def draw_precision_recall(card: Scorecard) -> Figure:
    """Draw precision over recall of each class against the rest."""
    curves = {name: curve for name, curve in card.precision_recall.items() if curve is not None}
    figure = _draw_class_curves(
        card,
        "Precision and recall",
        {name: (curve.recall, curve.precision) for name, curve in curves.items()},
        lambda name: f"average precision {show(curves[name].average_precision)}",
        with_diagonal=False,
        # Average precision is the area under steps: no threshold has a point between two of the curve's.
        drawstyle="steps-pre",
    )
    figure.axes[0].set(
        xlabel="recall: share of its cells found", ylabel="precision: share of right ones among the mapped"
    )
    return figure


def draw_reliability(card: Scorecard) -> Figure:
    """Draw how often cells of a confidence are right, and how many there are of it.

    Bins of few cells are drawn hollow.
    """
    bins = card.calibration.reliability
    low, high, cells, confidence, accuracy = (
        _column(bins, name) for name in ("low", "high", "cells", "confidence", "accuracy")
    )
    figure = new_figure(WIDTH_INCHES, 5.8)
    add_origin(figure, _origin(card))
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    diagonal = diagram.plot((0, 1), (0, 1), color=FAINT_COLOR, linestyle="--", label="as sure as right")
    diagram.vlines(confidence, confidence, accuracy, color=SERIES_COLORS[1], linewidth=2.5)
    points = [
        diagram.plot(
            confidence[shown],
            accuracy[shown],
            color=SERIES_COLORS[0],
            marker="o",
            markerfacecolor=face,
            linestyle="none",
            label=label,
        )[0]
        for shown, face, label in (
            (cells >= FEW_CELLS, SERIES_COLORS[0], "cells of a bin"),
            ((cells > 0) & (cells < FEW_CELLS), PAPER_COLOR, f"fewer than {FEW_CELLS} cells"),
        )
        if shown.any()
    ]
    diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share of cells that are right")
    bars = counts.bar(
        low, cells, width=high - low, align="edge", color=SERIES_COLORS[0], edgecolor=PAPER_COLOR
    )
    labels = [f"{int(number):,}" if number else "" for number in cells]
    counts.bar_label(bars, labels, padding=1, fontsize=SMALL_SIZE - 2, color=TEXT_COLOR)
    counts.yaxis.set_major_locator(MaxNLocator(3, prune="lower", integer=True))
    counts.set(
        ylim=(0, 1.25 * cells.max()), ylabel="cells", xlabel="confidence: probability of the predicted class"
    )
    error, brier = card.calibration.expected_calibration_error, card.calibration.brier
    style_axes(diagram, f"Reliability: calibration error {show(error)}, Brier {show(brier)}")
    style_axes(counts)
    figure.align_ylabels()
    gap = Line2D([], [], color=SERIES_COLORS[1], linewidth=2.5, label="gap")
    add_legend_below(figure, [*diagonal, gap, *points], columns=2)
    return figure


def draw_coverage(card: Scorecard) -> Figure:
    """Draw the scores of the most confident share of the cells."""
    coverage = card.calibration.coverage
    figure = new_figure(WIDTH_INCHES, 4.4)
    add_origin(figure, _origin(card))
    axes = figure.subplots()
    lines = [
        axes.plot(
            100 * _column(coverage, "share"),
            _column(coverage, name),
            color=SERIES_COLORS[number],
            linestyle=SERIES_DASHES[number],
            linewidth=2,
            marker=SERIES_MARKERS[number],
            markersize=3.5,
            label=SCORE_TITLES[name],
        )[0]
        for number, name in enumerate(COVERAGE_SCORES)
    ]
    axes.set(xlim=(0, 102), ylim=(0, 1.02))
    axes.set(xlabel="most confident cells, % of all", ylabel="score of these cells alone")
    style_axes(axes, "How good the map is where it is sure")
    add_legend_below(figure, lines, columns=3)
    return figure


DRAWN: dict[str, Callable[[Scorecard], Figure]] = {
    "confusion_matrix": lambda card: draw_confusion_matrix(card.confusion_matrix, _origin(card)),
    "roc": draw_roc,
    "precision_recall": draw_precision_recall,
    "reliability": draw_reliability,
    "coverage_risk": draw_coverage,
}
"""The function that draws each picture, by its file's name without ``.png``."""


def draw_scores(card: Scorecard) -> dict[str, Figure]:
    """Draw all pictures of a scorecard, by their files' names without ``.png``."""
    return {name: draw(card) for name, draw in DRAWN.items()}


def write_score_pictures(folder: Path, figures: dict[str, Figure]) -> None:
    """Write the pictures of a scorecard as PNG.

    Raises:
        InputDataError: A file cannot be written.
        MissingResourceError: There is no space left.
    """
    for name, figure in figures.items():
        save_png(figure, folder / f"{name}.png")


def _origin(card: Scorecard) -> str:
    return describe_origin(card.run, card.split, len(card.tiles))


def _draw_cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    is_defined = not np.isnan(share)
    if is_defined and share:
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=TEXT_COLOR, alpha=share * DARKEST_TINT, linewidth=0))
    weight = "bold" if row == column else "normal"
    for height, text, size in (
        (row - 0.12, f"{count:,}", 12),
        (row + 0.2, f"{100 * share:.0f} %" if is_defined else "–", SMALL_SIZE),
    ):
        axes.text(
            column, height, text, ha="center", va="center", color=TEXT_COLOR, fontsize=size, fontweight=weight
        )


def _draw_swatch(axes: Axes, label_class: LabelClass, x: float, y: float) -> None:
    """Draw a square in a class's colour around a place outside the axes."""
    axes.add_patch(
        Rectangle(
            (x - SWATCH_CELLS / 2, y - SWATCH_CELLS / 2),
            SWATCH_CELLS,
            SWATCH_CELLS,
            facecolor=label_class.color,
            edgecolor=FAINT_COLOR,
            linewidth=0.6,
            clip_on=False,
        )
    )


def _in_lines(label_class: LabelClass) -> str:
    """Break a class title before its electricity, such as ``1 Settlement / without electricity``."""
    return label_class.title_with_code.replace(" with", "\nwith")


def _draw_class_curves(
    card: Scorecard,
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    describe: Callable[[str], str],
    with_diagonal: bool,
    drawstyle: Literal["default", "steps-pre"] = "default",
) -> Figure:
    """Draw a curve of each class in its colour, with its code on it.

    Args:
        card: Whose curves they are.
        title: Of the picture.
        curves: Values across and upwards by class name.
        describe: Returns what the legend says of a class.
        with_diagonal: Whether guessing gives the diagonal.
        drawstyle: Whether points are joined by straight lines, or by steps to the height of the right one.
    """
    figure = new_figure(WIDTH_INCHES, 5.2)
    add_origin(figure, _origin(card))
    axes = figure.subplots()
    if with_diagonal:
        axes.plot((0, 1), (0, 1), color=FAINT_COLOR, linestyle="--")
    lines: dict[int, Line2D] = {}
    # The contest's class comes last, so that it lies on top.
    for label_class in sorted(CLASSES, key=lambda label_class: label_class is CONTEST_CLASS):
        if label_class.name not in curves:
            continue
        across, up = (np.array(values) for values in curves[label_class.name])
        (lines[label_class.code],) = axes.plot(
            across,
            up,
            color=label_class.color,
            linewidth=2.2,
            drawstyle=drawstyle,
            path_effects=[Stroke(linewidth=4, foreground=FAINT_COLOR), Normal()],
            label=f"{label_class.title_with_code}: {describe(label_class.name)}",
        )
        if drawstyle == "steps-pre":
            across, up = np.repeat(across, 2)[:-1], np.repeat(up, 2)[1:]
        axes.annotate(
            str(label_class.code),
            _point_along(across, up, label_class.code / (NUM_CLASSES + 1)),
            ha="center",
            va="center",
            fontsize=SMALL_SIZE,
            fontweight="bold",
            color=TEXT_COLOR,
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": PAPER_COLOR, "edgecolor": FAINT_COLOR},
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=0.8)
    style_axes(axes, title)
    if lines:
        add_legend_below(figure, [lines[code] for code in sorted(lines)], columns=1)
    else:
        text = "No curve: no class is in some cells\nand not in all."
        axes.text(0.5, 0.5, text, ha="center", va="center", color=TEXT_COLOR)
    return figure


def _point_along(across: FloatArray, up: FloatArray, share: float) -> tuple[float, float]:
    """Return the point that lies at a share of a curve's length, counted along the axes."""
    length = np.cumsum(np.abs(np.diff(across, prepend=across[0])) + np.abs(np.diff(up, prepend=up[0])))
    wanted = share * length[-1]
    return float(np.interp(wanted, length, across)), float(np.interp(wanted, length, up))


def _column(rows: Sequence[ReliabilityBin] | Sequence[CoveragePoint], name: str) -> FloatArray:
    """Return one number of every row, NaN where there is none."""
    values = [getattr(row, name) for row in rows]
    return np.array([np.nan if value is None else value for value in values])
