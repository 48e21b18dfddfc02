"""How far the map can be believed, as pictures: the reliability diagram and the coverage-risk curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esdseg.metrics.confusion import FloatArray
from esdseg.metrics.score_table import SCORE_TITLES, show
from esdseg.metrics.scorecard import Calibration, CoveragePoint, ReliabilityBin
from esdseg.report.look import FAINT_COLOR, LINE_COLOR, TEXT_COLOR, new_figure, save_png

RELIABILITY_NAME = "reliability.png"
COVERAGE_RISK_NAME = "coverage_risk.png"

MAIN_COLOR = "#0072b2"
GAP_COLOR = "#d55e00"
CURVES = {"accuracy": ("#0072b2", "-"), "contest_f1": ("#d55e00", "--"), "f1_macro": ("#009e73", ":")}
"""Colour and dashes of each score over coverage."""


@dataclass(frozen=True)
class CalibrationPictures:
    """The written pictures.

    Attributes:
        reliability: ``reliability.png``.
        coverage_risk: ``coverage_risk.png``.
    """

    reliability: Path
    coverage_risk: Path


def write_calibration_pictures(folder: Path, calibration: Calibration) -> CalibrationPictures:
    """Write ``reliability.png`` and ``coverage_risk.png``.

    Args:
        folder: Where to.
        calibration: How far the probabilities can be believed.
    """
    return CalibrationPictures(
        save_png(draw_reliability(calibration), folder / RELIABILITY_NAME),
        save_png(draw_coverage_risk(calibration), folder / COVERAGE_RISK_NAME),
    )


def draw_reliability(calibration: Calibration) -> Figure:
    """Draw how often cells of a confidence are right, and how many there are of it."""
    low, high, cells, confidence, accuracy = (
        _column(calibration.reliability, name) for name in ("low", "high", "cells", "confidence", "accuracy")
    )
    figure = new_figure(6.2, 6.4)
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    diagram.plot((0, 1), (0, 1), color=FAINT_COLOR, linewidth=1, linestyle="--", label="as sure as right")
    diagram.vlines(confidence, confidence, accuracy, color=GAP_COLOR, linewidth=2.5, label="gap")
    diagram.plot(
        confidence, accuracy, color=MAIN_COLOR, marker="o", markersize=6, linestyle="none", label="cells"
    )
    diagram.set(xlim=(0, 1), ylim=(0, 1.02))
    diagram.set_ylabel("share of cells that are right", fontsize=10.5, color=TEXT_COLOR)
    error, brier = calibration.expected_calibration_error, calibration.brier
    diagram.set_title(
        f"Reliability: expected calibration error {show(error)}, Brier score {show(brier)}",
        fontsize=12,
        color=TEXT_COLOR,
        pad=10,
    )
    diagram.legend(loc="upper left", frameon=False, fontsize=9.5, labelcolor=TEXT_COLOR)
    counts.bar(low, cells, width=high - low, align="edge", color=MAIN_COLOR, edgecolor="white")
    counts.set_ylabel("cells", fontsize=10.5, color=TEXT_COLOR)
    counts.set_xlabel("confidence: probability of the predicted class", fontsize=10.5, color=TEXT_COLOR)
    for axes in (diagram, counts):
        _style(axes)
    return figure


def draw_coverage_risk(calibration: Calibration) -> Figure:
    """Draw the scores of the most confident share of the cells."""
    share = _column(calibration.coverage, "share")
    figure = new_figure(6.8, 4.6)
    axes = figure.subplots()
    for name, (color, dashes) in CURVES.items():
        scores = _column(calibration.coverage, name)
        axes.plot(
            100 * share,
            scores,
            color=color,
            linestyle=dashes,
            linewidth=2,
            marker="o",
            markersize=3.5,
            label=SCORE_TITLES[name],
        )
    axes.set(xlim=(0, 102), ylim=(0, 1.02))
    axes.set_xlabel("most confident cells, % of all", fontsize=10.5, color=TEXT_COLOR)
    axes.set_ylabel("score of these cells alone", fontsize=10.5, color=TEXT_COLOR)
    axes.set_title("How good the map is where it is sure", fontsize=12, color=TEXT_COLOR, pad=10)
    axes.legend(loc="lower left", frameon=False, fontsize=9.5, labelcolor=TEXT_COLOR)
    _style(axes)
    return figure


def _style(axes: Axes) -> None:
    axes.grid(color=LINE_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=LINE_COLOR)


def _column(entries: Sequence[ReliabilityBin] | Sequence[CoveragePoint], name: str) -> FloatArray:
    """Return one number of every entry, NaN where it is undefined."""
    values = [getattr(entry, name) for entry in entries]
    return np.array([np.nan if value is None else value for value in values])
