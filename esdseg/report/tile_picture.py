"""``comparison.png`` of a tile: satellite image, ground truth, prediction and confidence."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from PIL import Image

from esdseg.metrics.score_table import show
from esdseg.metrics.scorecard import TileScores
from esdseg.prediction.channel_share import show_share
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.look import (
    CONFIDENCE_COLORS,
    DOTS_PER_INCH,
    FAINT_COLOR,
    SMALL_SIZE,
    TEXT_COLOR,
    TITLE_SIZE,
    add_legend_below,
    new_figure,
    set_fonts,
    shorten,
)
from esdseg.report.satellite import SatellitePicture
from esdseg.sensors.classes import (
    CELL_SIZE_PX,
    CLASSES,
    GRID_SIZE,
    NUM_CLASSES,
    PIXEL_SIZE_M,
    UNKNOWN_LABEL,
    UNKNOWN_RGB,
    label_grid_to_rgb,
)
from esdseg.system.files import write_whole

COMPARISON_NAME = "comparison.png"

TILE_SIDE_KM = GRID_SIZE * CELL_SIZE_PX * PIXEL_SIZE_M / 1000
KILOMETRE_TICKS = (0, 2, 4, 6, 8)
PANEL_SIDE_INCHES = 3.6
LEGEND_ROW_INCHES = 12.0
"""Narrower pictures have their legend in two columns."""

NAME_SIZE = 13
LONGEST_TILE = 24
LONGEST_RUN = 32
"""Characters of names for which there is room above two panels."""

_HIGH_NAME = "Ä_{g}"
_LONG_CAPTION = "accuracy 0.000,  contest F1 0.000,  macro F1 0.000"
"""The tallest name and the longest caption that space is reserved for."""


def write_comparison(
    folder: Path,
    prediction: TilePrediction,
    satellite: SatellitePicture | None,
    scores: TileScores | None,
    origin: str,
) -> Path:
    """Write ``comparison.png`` of a tile; see :func:`draw_comparison`."""
    frame = _frame_for(_Panels.of(prediction, satellite))
    image = frame.paint(prediction, satellite, scores, origin)
    resolution = (DOTS_PER_INCH, DOTS_PER_INCH)
    return write_whole(folder / COMPARISON_NAME, lambda path: image.save(path, format="PNG", dpi=resolution))


def describe_origin(split: str, mapped_by: Sequence[str]) -> str:
    """Return where a map comes from, such as ``val split, mapped by first``.

    Args:
        split: The split that the tile belongs to in its store.
        mapped_by: The runs whose mean the map is, mostly a single one.
    """
    runs = shorten(mapped_by[0], LONGEST_RUN) if len(mapped_by) == 1 else f"the mean of {len(mapped_by)} runs"
    return f"{split} split, mapped by {runs}"


def draw_comparison(
    prediction: TilePrediction, satellite: SatellitePicture | None, scores: TileScores | None, origin: str
) -> Figure:
    """Draw the panels that exist: satellite image, ground truth, prediction, confidence.

    Args:
        prediction: The tile.
        satellite: Its satellite picture, where the store has one.
        scores: The tile's scores; ``None`` where it was not scored.
        origin: Where the map comes from; see :func:`describe_origin`.
    """
    frame = _Frame(_Panels.of(prediction, satellite))
    frame.fill(prediction, satellite, scores, origin)
    return frame.figure


class _Panels(NamedTuple):
    """The panels and legend entries that a comparison picture has."""

    with_satellite: bool
    with_truth: bool
    with_unknown: bool

    @classmethod
    def of(cls, prediction: TilePrediction, satellite: SatellitePicture | None) -> "_Panels":
        is_labelled = prediction.is_labelled
        with_unknown = not prediction.is_mapped.all() or (
            is_labelled and bool((prediction.truth == UNKNOWN_LABEL).any())
        )
        return cls(satellite is not None, is_labelled, with_unknown)


class _Frame:
    """The comparison picture of tiles that have the same panels: laid out once, filled for each tile.

    Laying out and drawing what is the same in all tiles takes three quarters of a picture's time.
    """

    def __init__(self, panels: _Panels) -> None:
        titles = ["Prediction", "Confidence"]
        if panels.with_truth:
            titles.insert(0, "Ground truth")
        if panels.with_satellite:
            titles.insert(0, "Satellite image")
        self.figure = new_figure(PANEL_SIDE_INCHES * len(titles) + 1.2, PANEL_SIDE_INCHES + 1.3)
        all_axes = self.figure.subplots(1, len(titles))
        self._images = {title: _add_panel(axes, title) for axes, title in zip(all_axes, titles, strict=True)}
        _draw_color_bar(self.figure, self._images["Confidence"])
        all_axes[0].set_yticks(KILOMETRE_TICKS, [f"{tick} km" if tick else "0" for tick in KILOMETRE_TICKS])
        _draw_legend(self.figure, panels.with_unknown)
        # A tile may be called anything, so a $ in its name must not start a formula.
        self._name = self.figure.suptitle(
            _HIGH_NAME, fontsize=NAME_SIZE, fontweight="bold", color=TEXT_COLOR, parse_math=False
        )
        set_fonts(self.figure)
        # The place of everything is that of these words, whichever tile is the first.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        self._unfilled: Any = None

    def fill(
        self,
        prediction: TilePrediction,
        satellite: SatellitePicture | None,
        scores: TileScores | None,
        origin: str,
    ) -> None:
        """Show a tile; see :func:`draw_comparison`."""
        if satellite is not None:
            self._show("Satellite image", satellite.rgb, satellite.caption)
        if prediction.is_labelled:
            truth = label_grid_to_rgb(prediction.truth)
            self._show("Ground truth", truth, _describe_classes(prediction.truth))
        caption = (
            _describe_scores(scores) if scores and scores.cells else _describe_classes(prediction.classes)
        )
        self._show("Prediction", label_grid_to_rgb(prediction.classes), caption)
        confidence = prediction.probabilities.max(axis=0)
        self._show("Confidence", confidence, _describe_confidence(prediction))
        self._name.set_text(f"{shorten(prediction.tile, LONGEST_TILE)}: {origin}")

    def paint(
        self,
        prediction: TilePrediction,
        satellite: SatellitePicture | None,
        scores: TileScores | None,
        origin: str,
    ) -> Image.Image:
        """Return the picture of a tile, painted over the frame that all share."""
        canvas = self.figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        if self._unfilled is None:
            self._unfilled = self._paint_unfilled(canvas)
        self.fill(prediction, satellite, scores, origin)
        canvas.restore_region(self._unfilled)
        for image in self._images.values():
            image.axes.draw_artist(image)
            for spine in image.axes.spines.values():
                image.axes.draw_artist(spine)
            self.figure.draw_artist(image.axes.xaxis.label)
        self.figure.draw_artist(self._name)
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def _show(self, title: str, values: npt.NDArray[np.generic], caption: str) -> None:
        image = self._images[title]
        image.set_data(values)
        image.axes.xaxis.label.set_text(caption)

    def _paint_unfilled(self, canvas: FigureCanvasAgg) -> Any:
        """Draw what is the same in all tiles, and return it as the canvas keeps it."""
        captions = [image.axes.xaxis.label for image in self._images.values()]
        changing: list[Artist] = [self._name, *self._images.values(), *captions]
        for artist in changing:
            artist.set_visible(False)
        canvas.draw()
        unfilled = canvas.copy_from_bbox(self.figure.bbox)
        for artist in changing:
            artist.set_visible(True)
        return unfilled


@cache
def _frame_for(panels: _Panels) -> _Frame:
    """Return the frame to paint tiles in; there are eight at most."""
    return _Frame(panels)


def _add_panel(axes: Axes, title: str) -> AxesImage:
    """Add an empty panel whose caption is as long as captions get."""
    is_photo = title == "Satellite image"
    image = axes.imshow(
        np.full((GRID_SIZE, GRID_SIZE), np.nan),
        # Cells are plain squares; an image of more pixels than the panel is averaged, not thinned out.
        interpolation="hanning" if is_photo else "nearest",
        extent=(0.0, TILE_SIDE_KM, TILE_SIDE_KM, 0.0),
        cmap=CONFIDENCE_COLORS,
        # The largest of four probabilities is never below a quarter.
        vmin=1 / NUM_CLASSES,
        vmax=1,
    )
    # Shows where there is no confidence.
    axes.set_facecolor([shade / 255 for shade in UNKNOWN_RGB])
    axes.set_title(title, fontsize=TITLE_SIZE, color=TEXT_COLOR, pad=6)
    axes.set_xlabel(_LONG_CAPTION, fontsize=9.5, color=FAINT_COLOR, labelpad=6)
    # Those at the edges would run into the next panel's.
    axes.set_xticks(KILOMETRE_TICKS, ["", *(f"{tick} km" for tick in KILOMETRE_TICKS[1:-1]), ""])
    axes.set_yticks(KILOMETRE_TICKS, [])
    axes.tick_params(length=3, color=FAINT_COLOR, labelsize=SMALL_SIZE, labelcolor=FAINT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=FAINT_COLOR, linewidth=0.6)
    return image


def _draw_color_bar(figure: Figure, confidence: AxesImage) -> None:
    bar = figure.colorbar(
        confidence, ax=confidence.axes, fraction=0.046, pad=0.03, ticks=[0.25, 0.5, 0.75, 1]
    )
    bar.ax.tick_params(labelsize=SMALL_SIZE, length=3, color=FAINT_COLOR, labelcolor=FAINT_COLOR)
    bar.outline.set(edgecolor=FAINT_COLOR, linewidth=0.6)


def _draw_legend(figure: Figure, with_unknown: bool) -> None:
    entries = [(label_class.title_with_code, label_class.rgb) for label_class in CLASSES]
    if with_unknown:
        entries.append(("Unknown or no data", UNKNOWN_RGB))
    handles = [
        Patch(facecolor=[shade / 255 for shade in rgb], edgecolor=FAINT_COLOR, linewidth=0.6, label=title)
        for title, rgb in entries
    ]
    add_legend_below(figure, handles, len(handles) if figure.get_figwidth() > LEGEND_ROW_INCHES else 2)


def _describe_classes(labels: npt.NDArray[np.integer]) -> str:
    counts = [f"{label_class.code}: {int((labels == label_class.index).sum())}" for label_class in CLASSES]
    return f"cells of class {',  '.join(counts)}"


def _describe_confidence(prediction: TilePrediction) -> str:
    confidence = prediction.probabilities.max(axis=0)[prediction.is_mapped]
    mean = f"mean {confidence.mean():.2f}" if confidence.size else "no data"
    if prediction.channel_share == 1:
        return f"probability of the predicted class, {mean}"
    return f"{mean};  the tile has {show_share(prediction.channel_share)} of the channels"


def _describe_scores(scores: TileScores) -> str:
    return (
        f"accuracy {show(scores.accuracy)},  contest F1 {show(scores.contest_f1)},  "
        f"macro F1 {show(scores.f1_macro)}"
    )
