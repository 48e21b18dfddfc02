"""``ablation.png``: a dot and an interval for each group of channels that was taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from esdseg.metrics.scorecard import Difference
from esdseg.report.look import (
    FAINT_COLOR,
    LABEL_SIZE,
    LINE_COLOR,
    PAPER_COLOR,
    SERIES_COLORS,
    TEXT_COLOR,
    add_legend_below,
    add_title,
    new_figure,
    save_png,
    style_axes,
)

ROW_INCHES = 0.23
WIDTH_INCHES = 13.5
FRAME_INCHES = 1.8
"""Height of titles, scale and legend together."""

SECTION_ROWS = 1.4
"""Height of a section's heading in rows."""


@dataclass(frozen=True)
class AblationPanel:
    """A score whose differences are shown.

    Attributes:
        name: Its key in the rows' differences.
        title: Its name, with the score of the network with all channels.
    """

    name: str
    title: str


@dataclass(frozen=True)
class AblationRow:
    """A group of channels that was taken away.

    Attributes:
        section: Heading of the rows that it stands among.
        label: Its name in the section.
        series: Which of the colours it has; rows of one sensor share it.
        is_retrained: Whether the network was trained again without the group.
        differences: By score, less that with all channels.
    """

    section: str
    label: str
    series: int
    is_retrained: bool
    differences: Mapping[str, Difference]

    @property
    def color(self) -> str:
        """The colour of dot and interval."""
        return SERIES_COLORS[self.series % len(SERIES_COLORS)]


def write_ablation_picture(
    path: Path, title: str, panels: Sequence[AblationPanel], rows: Sequence[AblationRow]
) -> Path:
    """Write the picture as PNG; see :func:`draw_ablation_picture`."""
    return save_png(draw_ablation_picture(title, panels, rows), path)


def draw_ablation_picture(title: str, panels: Sequence[AblationPanel], rows: Sequence[AblationRow]) -> Figure:
    """Draw the differences of a few scores, a panel for each score and a line for each row.

    Args:
        title: Names the run, and the tiles that it was scored on.
        panels: The scores.
        rows: At least one; those of a section follow each other.
    """
    heights, headings, bottom = _place(rows)
    figure = new_figure(WIDTH_INCHES, ROW_INCHES * bottom + FRAME_INCHES)
    add_title(figure, title)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False).ravel()
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel, rows, heights)
        for height in headings.values():
            axes.axhline(height - SECTION_ROWS / 2, color=LINE_COLOR, linewidth=0.8)
    all_axes[0].set_ylim(bottom - 0.4, -0.6)
    _label_rows(all_axes[0], rows, heights, headings)
    titles = {False: "taken away from the finished network", True: "trained again without it"}
    handles = [
        Line2D([], [], linewidth=2, label=titles[is_retrained], **_dot(is_retrained, FAINT_COLOR))
        for is_retrained in sorted({row.is_retrained for row in rows})
    ]
    legend = add_legend_below(figure, handles, columns=2)
    legend.set_title(
        "Left of zero the score falls. Bars are 95 % intervals from resampled tiles.",
        prop=FontProperties(size=LABEL_SIZE - 0.5),
    )
    return figure


def _place(rows: Sequence[AblationRow]) -> tuple[list[float], dict[str, float], float]:
    """Return the height of each row and of each section's heading, and where the last ends, in rows."""
    heights: list[float] = []
    headings: dict[str, float] = {}
    height = 0.0
    for row in rows:
        if row.section not in headings:
            height += SECTION_ROWS - 1 if headings else 0.0
            headings[row.section] = height
            height += 1
        heights.append(height)
        height += 1
    return heights, headings, height


def _draw_panel(
    axes: Axes, panel: AblationPanel, rows: Sequence[AblationRow], heights: Sequence[float]
) -> None:
    axes.axvline(0, color=TEXT_COLOR, linewidth=1)
    for row, height in zip(rows, heights, strict=True):
        difference = row.differences[panel.name]
        if difference.value is None:
            continue
        if difference.interval is not None:
            axes.plot(difference.interval, (height, height), color=row.color, linewidth=2, alpha=0.6)
        axes.plot(difference.value, height, linestyle="none", **_dot(row.is_retrained, row.color))
    axes.set_xlabel("difference to all channels")
    style_axes(axes)
    axes.set_title(panel.title, fontsize=LABEL_SIZE, color=TEXT_COLOR, pad=8)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="x", labeltop=True)


def _dot(is_retrained: bool, color: str) -> dict[str, Any]:
    return {
        "color": color,
        "marker": "D" if is_retrained else "o",
        "markersize": 5.5,
        "markerfacecolor": PAPER_COLOR if is_retrained else color,
    }


def _label_rows(
    axes: Axes, rows: Sequence[AblationRow], heights: Sequence[float], headings: Mapping[str, float]
) -> None:
    axes.set_yticks([*heights, *headings.values()], [*(row.label for row in rows), *headings])
    for position, label in enumerate(axes.get_yticklabels()):
        is_heading = position >= len(rows)
        label.set(color=TEXT_COLOR, fontweight="bold" if is_heading else "normal")
