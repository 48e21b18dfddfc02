"""The ablation as a picture: a dot and an interval for each group of channels that was taken away."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esdseg.ablation.result import Row, Whole
from esdseg.ablation.wording import SECTION_TITLES, SHOWN_SCORES, row_label
from esdseg.metrics.score_table import SCORE_TITLES, show
from esdseg.report.look import FAINT_COLOR, LINE_COLOR, SERIES_COLORS, TEXT_COLOR, new_figure, save_png
from esdseg.sensors.sensors import SENSOR_NAMES

PICTURE_NAME = "ablation.png"
ROW_INCHES = 0.23
WIDTH_INCHES = 13.5
FRAME_INCHES = 1.3
"""Height of titles, scale and legend together."""

SECTION_ROWS = 1.4
"""Height of a section's heading in rows."""

MARKERS = {"inference": "o", "retrained": "D"}
HOW_TITLES = {"inference": "taken away from the finished network", "retrained": "trained again without it"}


def write_ablation_picture(folder: Path, whole: Whole, rows: Sequence[Row]) -> Path:
    """Write the picture as PNG; see :func:`draw_ablation_picture`."""
    return save_png(draw_ablation_picture(whole, rows), folder / PICTURE_NAME)


def draw_ablation_picture(whole: Whole, rows: Sequence[Row]) -> Figure:
    """Draw the differences of a few scores, each in a panel, rows below each other.

    Args:
        whole: The network with all channels.
        rows: At least one, in order.
    """
    heights, headings, bottom = _place(rows)
    figure = new_figure(WIDTH_INCHES, ROW_INCHES * bottom + FRAME_INCHES)
    panels = figure.subplots(1, len(SHOWN_SCORES), sharey=True)
    for axes, name in zip(panels, SHOWN_SCORES, strict=True):
        _draw_panel(axes, name, rows, heights)
        title = f"{SCORE_TITLES[name]}, {show(whole.scores.values[name])} with all channels"
        axes.set_title(title, fontsize=10.5, color=TEXT_COLOR, pad=8)
        for height in headings.values():
            axes.axhline(height - SECTION_ROWS / 2, color=LINE_COLOR, linewidth=0.8)
    panels[0].set_ylim(bottom - 0.4, -0.6)
    _label_rows(panels[0], rows, heights, headings)
    _draw_legend(figure, rows)
    return figure


def _place(rows: Sequence[Row]) -> tuple[list[float], dict[str, float], float]:
    """Return the height of each row and of each section's heading, and where the last ends, in rows."""
    heights: list[float] = []
    headings: dict[str, float] = {}
    height = 0.0
    for row in rows:
        title = SECTION_TITLES[row.removal.kind]
        if title not in headings:
            height += SECTION_ROWS - 1 if headings else 0.0
            headings[title] = height
            height += 1
        heights.append(height)
        height += 1
    return heights, headings, height


def _draw_panel(axes: Axes, name: str, rows: Sequence[Row], heights: Sequence[float]) -> None:
    axes.axvline(0, color=TEXT_COLOR, linewidth=1)
    for row, height in zip(rows, heights, strict=True):
        difference = row.differences[name]
        if difference.value is None:
            continue
        color = SERIES_COLORS[SENSOR_NAMES.index(row.removal.sensor)]
        if difference.interval is not None:
            axes.plot(difference.interval, (height, height), color=color, linewidth=2, alpha=0.6)
        filled = row.how == "inference"
        axes.plot(
            difference.value,
            height,
            marker=MARKERS[row.how],
            markersize=5.5,
            color=color,
            markerfacecolor=color if filled else "white",
            linestyle="none",
        )
    axes.grid(axis="x", color=LINE_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=TEXT_COLOR)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=FAINT_COLOR, labeltop=True)
    axes.set_xlabel("difference to all channels", fontsize=9, color=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=LINE_COLOR)


def _label_rows(
    axes: Axes, rows: Sequence[Row], heights: Sequence[float], headings: dict[str, float]
) -> None:
    ticks = [*heights, *headings.values()]
    axes.set_yticks(ticks, [*(row_label(row) for row in rows), *headings], fontsize=9)
    for label, row in zip(axes.get_yticklabels(), [*rows, *(None for _ in headings)], strict=True):
        if row is None:
            label.set(fontweight="bold", color=TEXT_COLOR)
        else:
            label.set_color(SERIES_COLORS[SENSOR_NAMES.index(row.removal.sensor)])


def _draw_legend(figure: Figure, rows: Sequence[Row]) -> None:
    shown = [how for how in HOW_TITLES if any(row.how == how for row in rows)]
    handles = [
        Line2D(
            [],
            [],
            color=FAINT_COLOR,
            marker=MARKERS[how],
            markersize=6,
            markerfacecolor=FAINT_COLOR if how == "inference" else "white",
            linewidth=2,
            label=HOW_TITLES[how],
        )
        for how in shown
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=10,
        labelcolor=TEXT_COLOR,
        title="Left of zero: the score falls. Bars: 95 % intervals from resampled tiles.",
        title_fontsize=9.5,
    )
