"""The tiles of the report: their maps as outlines that the page colours, and their satellite images."""

import base64
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import Scorecard, TileScores, WorstCell
from esdseg.metrics.scores import confusion_matrix
from esdseg.prediction.maps import (
    PREDICTION_NAME,
    PROBABILITIES_NAME,
    TRUTH_NAME,
    read_codes,
    read_probabilities,
)
from esdseg.report.error_picture import cell_outcomes
from esdseg.report.satellite import SatellitePicture, read_satellite
from esdseg.sensors.classes import CELL_SIZE_PX, CLASSES, CONTEST_CLASS, NUM_CLASSES, UNKNOWN_LABEL

GALLERY_SIDE_PX = 400
PICTURE_QUALITY = 76
CHIP_MARGIN_CELLS = 1
"""Cells shown around a worst cell."""

CONFIDENCE_LEVELS = 10
"""Steps of the confidence's colours, from a quarter, below which it cannot fall, to 1."""

PADDING_GREY = 128
UNKNOWN_STYLE = "unknown"


@dataclass(frozen=True)
class Layer:
    """One map of a tile.

    Attributes:
        name: ``truth``, ``prediction``, ``confidence`` or ``errors``.
        title: Its name for people.
        shapes: The outline of its cells of one colour, ``d`` of an SVG path, by the style that the page
            gives them.
    """

    name: str
    title: str
    shapes: dict[str, str]


@dataclass(frozen=True)
class GalleryTile:
    """A tile in the report.

    Attributes:
        name: Its name.
        anchor: Its place in the page.
        scores: Its entry in ``tiles_detail``.
        settlements: Its true cells of class 1.
        fold: The fold whose checkpoint predicted it, where there are folds.
        picture: Its satellite picture as a data URI, where it has one.
        caption: The picture's sensor and date.
        layers: Its maps.
    """

    name: str
    anchor: str
    scores: TileScores
    settlements: int
    fold: str | None
    picture: str | None
    caption: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Chip:
    """A worst cell with the picture of its surroundings, a data URI, where its tile has a picture."""

    cell: WorstCell
    anchor: str
    picture: str | None


@dataclass(frozen=True)
class Gallery:
    """All tiles, and the cells that the map is most wrong about."""

    tiles: tuple[GalleryTile, ...]
    worst: tuple[Chip, ...]


def read_gallery(folder: Path, card: Scorecard) -> Gallery:
    """Read the maps and pictures that ``evaluate`` left in a folder.

    Raises:
        InputDataError: A tile's files are missing or damaged, or their maps are not those that were scored.
    """
    tiles: list[GalleryTile] = []
    chips: dict[WorstCell, Chip] = {}
    for position, name in enumerate(card.tiles, start=1):
        anchor = f"tile-{position}"
        satellite = read_satellite(folder / name)
        tiles.append(_read_tile(folder / name, name, anchor, card, satellite))
        for cell in card.worst_cells:
            if cell.tile == name:
                chips[cell] = Chip(cell, anchor, _cut_chip(satellite, cell))
    return Gallery(tuple(tiles), tuple(chips[cell] for cell in card.worst_cells))


def _read_tile(
    folder: Path, name: str, anchor: str, card: Scorecard, satellite: SatellitePicture | None
) -> GalleryTile:
    truth = read_codes(folder / TRUTH_NAME)
    prediction = read_codes(folder / PREDICTION_NAME)
    probabilities = read_probabilities(folder / PROBABILITIES_NAME)
    scores = card.tiles_detail[name]
    if confusion_matrix(truth, prediction).tolist() != [list(row) for row in scores.confusion_matrix]:
        raise InputDataError(
            f"The maps in {folder} are not those that were scored: another command has written them since. "
            "Make scores and maps anew with `esdseg evaluate`."
        )
    return GalleryTile(
        name=name,
        anchor=anchor,
        scores=scores,
        settlements=sum(scores.confusion_matrix[CONTEST_CLASS.index]),
        fold=card.fold_of(name),
        picture=None if satellite is None else embed(satellite.rgb, GALLERY_SIDE_PX),
        caption="" if satellite is None else satellite.caption,
        layers=(
            Layer("truth", "Ground truth", _class_shapes(truth)),
            Layer("prediction", "Prediction", _class_shapes(prediction)),
            Layer("confidence", "Confidence", _shapes(confidence_levels(probabilities), "level")),
            Layer("errors", "Mistakes", _shapes(cell_outcomes(truth, prediction), "outcome")),
        ),
    )


def outlines(values: npt.NDArray[np.integer]) -> dict[int, str]:
    """Return the outlines of the cells of each value; neighbours within a row are one rectangle.

    Args:
        values: Shape (height, width).

    Returns:
        For each value the ``d`` of an SVG path in units of cells, the origin at the upper left.
    """
    found: dict[int, list[str]] = {}
    for row, cells in enumerate(values):
        bounds = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), cells.size]
        for start, end in pairwise(bounds):
            found.setdefault(int(cells[start]), []).append(f"M{start} {row}h{end - start}v1H{start}z")
    return {value: "".join(found[value]) for value in sorted(found)}


def confidence_levels(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Return the level of each cell's confidence; levels are of equal width from 0.25 to 1.

    Args:
        probabilities: Shape (4, height, width); NaN is no data.

    Returns:
        Levels 0 to 9, shape (height, width); 255 where there is no data.
    """
    share = (probabilities.max(axis=0) - 1 / NUM_CLASSES) / (1 - 1 / NUM_CLASSES)
    levels = np.clip(share * CONFIDENCE_LEVELS, 0, CONFIDENCE_LEVELS - 1)
    return np.where(np.isnan(share), UNKNOWN_LABEL, levels).astype(np.uint8)


def embed(rgb: npt.NDArray[np.uint8], side_px: int) -> str:
    """Return a picture as a data URI, its longer side at most ``side_px``."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, format="WEBP", quality=PICTURE_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _class_shapes(labels: npt.NDArray[np.uint8]) -> dict[str, str]:
    styles = {label_class.index: f"class-{label_class.code}" for label_class in CLASSES}
    styles[UNKNOWN_LABEL] = UNKNOWN_STYLE
    return {styles[value]: outline for value, outline in outlines(labels).items()}


def _shapes(values: npt.NDArray[np.uint8], style: str) -> dict[str, str]:
    return {
        UNKNOWN_STYLE if value == UNKNOWN_LABEL else f"{style}-{value}": outline
        for value, outline in outlines(values).items()
    }


def _cut_chip(satellite: SatellitePicture | None, cell: WorstCell) -> str | None:
    """Cut out a cell and those around it, grey beyond the tile's edge."""
    if satellite is None:
        return None
    margin = CHIP_MARGIN_CELLS * CELL_SIZE_PX
    padded = np.pad(satellite.rgb, ((margin, margin), (margin, margin), (0, 0)), constant_values=PADDING_GREY)
    side = CELL_SIZE_PX + 2 * margin
    top, left = cell.row * CELL_SIZE_PX, cell.column * CELL_SIZE_PX
    return embed(padded[top : top + side, left : left + side], side)
