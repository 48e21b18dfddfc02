"""The comparison picture of a tile: satellite image, ground truth, prediction and confidence."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from pydantic import JsonValue

from esdseg.classes import CLASSES, NUM_CLASSES, UNKNOWN_LABEL, UNKNOWN_RGB, label_grid_to_rgb
from esdseg.evaluation.files import write_whole
from esdseg.evaluation.prediction import TilePrediction
from esdseg.evaluation.satellite import SatellitePicture
from esdseg.evaluation.score_table import show
from esdseg.evaluation.scores import number_at
from esdseg.grid import CELL_SIZE_PX, GRID_SIZE, PIXEL_SIZE_M

COMPARISON_NAME = "comparison.png"

TILE_SIDE_KM = GRID_SIZE * CELL_SIZE_PX * PIXEL_SIZE_M / 1000
KILOMETRE_TICKS = (0, 2, 4, 6, 8)
CONFIDENCE_COLORS = "cividis"
"""Rises evenly in brightness and reads the same with every kind of colour vision."""

DOTS_PER_INCH = 120
PANEL_SIDE_INCHES = 3.6
TEXT_COLOR = "#1a1a1a"
FAINT_COLOR = "#666666"
LEGEND_ROW_INCHES = 12.0
"""Narrower pictures have their legend in two columns."""


def write_comparison(
    folder: Path,
    prediction: TilePrediction,
    satellite: SatellitePicture | None,
    scores: dict[str, JsonValue] | None,
) -> Path:
    """Write ``comparison.png`` of a tile; see :func:`draw_comparison`."""
    figure = draw_comparison(prediction, satellite, scores)
    return write_whole(folder / COMPARISON_NAME, lambda path: save_png(figure, path))


def save_png(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, whatever the path's ending."""
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH)


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Make a figure that needs no display and leaves no trace in pyplot's global state."""
    layout = ConstrainedLayoutEngine(wspace=0.04)
    figure = Figure(figsize=(width_inches, height_inches), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def draw_comparison(
    prediction: TilePrediction, satellite: SatellitePicture | None, scores: dict[str, JsonValue] | None
) -> Figure:
    """Draw the panels that exist: satellite image, ground truth, prediction, confidence.

    Args:
        prediction: The tile.
        satellite: Its satellite picture, where the store has one.
        scores: The tile's entry in ``tiles_detail`` of ``metrics.json``; none where it was not scored.
    """
    panels: list[tuple[str, str, npt.NDArray[np.uint8]]] = []
    if satellite:
        panels.append(("Satellite image", satellite.caption, satellite.rgb))
    if prediction.is_labelled:
        truth = label_grid_to_rgb(prediction.truth)
        panels.append(("Ground truth", _describe_classes(prediction.truth), truth))
    caption = _describe_scores(scores) if scores else _describe_classes(prediction.classes)
    panels.append(("Prediction", caption, label_grid_to_rgb(prediction.classes)))

    columns = len(panels) + 1
    figure = new_figure(PANEL_SIDE_INCHES * columns + 1.2, PANEL_SIDE_INCHES + 1.3)
    axes = figure.subplots(1, columns)
    for one, (title, below, rgb) in zip(axes, panels, strict=False):
        # Cells are plain squares; an image of more pixels than the panel is averaged, not thinned out.
        one.imshow(rgb, interpolation="nearest" if rgb.shape[0] == GRID_SIZE else "hanning", extent=_EXTENT)
        _label_panel(one, title, below)
    _draw_confidence(figure, axes[-1], prediction.probabilities.max(axis=0))
    axes[0].set_yticks(KILOMETRE_TICKS, [f"{tick} km" if tick else "0" for tick in KILOMETRE_TICKS])
    _draw_legend(figure, prediction.is_labelled and bool((prediction.truth == UNKNOWN_LABEL).any()))
    # A tile may be called anything, so a $ in its name must not start a formula.
    figure.suptitle(prediction.tile, fontsize=15, fontweight="bold", color=TEXT_COLOR, parse_math=False)
    return figure


_EXTENT = (0.0, TILE_SIDE_KM, TILE_SIDE_KM, 0.0)


def _label_panel(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, fontsize=12, color=TEXT_COLOR, pad=6)
    axes.set_xlabel(below, fontsize=9.5, color=FAINT_COLOR, labelpad=6)
    axes.set_xticks(KILOMETRE_TICKS, [])
    axes.set_yticks(KILOMETRE_TICKS, [])
    axes.tick_params(length=3, color=FAINT_COLOR, labelsize=8.5, labelcolor=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=FAINT_COLOR, linewidth=0.6)


def _draw_confidence(figure: Figure, axes: Axes, confidence: npt.NDArray[np.float32]) -> None:
    image = axes.imshow(
        confidence,
        interpolation="nearest",
        extent=_EXTENT,
        cmap=CONFIDENCE_COLORS,
        # The largest of four probabilities is never below a quarter.
        vmin=1 / NUM_CLASSES,
        vmax=1,
    )
    _label_panel(axes, "Confidence", f"probability of the predicted class, mean {confidence.mean():.2f}")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=[0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=8.5, length=3, color=FAINT_COLOR, labelcolor=FAINT_COLOR)
    bar.outline.set(edgecolor=FAINT_COLOR, linewidth=0.6)


def _draw_legend(figure: Figure, with_unknown: bool) -> None:
    handles = [
        Patch(facecolor=one.color, edgecolor=FAINT_COLOR, linewidth=0.6, label=f"{one.code}  {one.title}")
        for one in CLASSES
    ]
    if with_unknown:
        grey = tuple(shade / 255 for shade in UNKNOWN_RGB)
        handles.append(Patch(facecolor=grey, edgecolor=FAINT_COLOR, linewidth=0.6, label="Unknown"))
    columns = figure.get_figwidth()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles) if columns > LEGEND_ROW_INCHES else 2,
        frameon=False,
        fontsize=10.5,
        labelcolor=TEXT_COLOR,
        handlelength=1.2,
        handleheight=1.2,
        columnspacing=2.2,
    )


def _describe_classes(labels: npt.NDArray[np.integer]) -> str:
    cells = [f"{one.code}: {int((labels == one.index).sum())}" for one in CLASSES]
    return f"cells of class {',  '.join(cells)}"


def _describe_scores(scores: dict[str, JsonValue]) -> str:
    shown = {"accuracy": "accuracy", "contest F1": "contest_f1", "macro F1": "f1_macro"}
    return ",  ".join(f"{title} {show(number_at(scores, name))}" for title, name in shown.items())
