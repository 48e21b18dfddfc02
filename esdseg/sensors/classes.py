"""The label grid, and the classes of its cells with their codes and colours.

A cell of 500 m is the unit in which splits, samples, models, maps and error bars are counted.

Source: the contest's description of the DSE track (DOI 10.21227/vfbk-6325).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CELL_SIZE_PX = 50
"""Side of a label cell in raster pixels; a pixel is about 10 m, a cell 500 m."""

GRID_SIZE = 16
"""Label cells along each side of a tile."""

TILE_SIZE_PX = CELL_SIZE_PX * GRID_SIZE
"""Side of a tile in raster pixels: 800."""

PIXEL_SIZE_M = 10.0
"""Ground size of a raster pixel in metres (all sensors are resampled to it)."""

SUBTILE_SIZES = tuple(size for size in range(1, GRID_SIZE + 1) if GRID_SIZE % size == 0)
"""Sides of a subtile in label cells that divide a tile: 1, 2, 4, 8, 16."""


@dataclass(frozen=True)
class LabelClass:
    """One class of the label grid.

    Attributes:
        code: Value in ``groundTruth.tif``, 1 to 4.
        name: Identifier in metrics, JSON keys and logs.
        title: Wording for people.
        color: Colour in maps as ``#rrggbb``.
        safe_color: Colour that people of every colour vision tell from the other classes', of a similar hue:
            from the palette of Okabe and Ito, Color Universal Design (2008).
    """

    code: int
    name: str
    title: str
    color: str
    safe_color: str

    @property
    def index(self) -> int:
        """Value in training labels and logits: ``code - 1``, 0 to 3."""
        return self.code - 1

    @property
    def title_with_code(self) -> str:
        """Code and wording for people, such as ``1 Settlement without electricity``."""
        return f"{self.code} {self.title}"

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


CLASSES = (
    LabelClass(1, "settlement_dark", "Settlement without electricity", "#ff0000", "#d55e00"),
    LabelClass(2, "empty_dark", "No settlement, without electricity", "#0000ff", "#0072b2"),
    LabelClass(3, "settlement_lit", "Settlement with electricity", "#ffff00", "#f0e442"),
    LabelClass(4, "empty_lit", "No settlement, with electricity", "#b266ff", "#cc79a7"),
)
"""All classes in the order of their codes."""

CLASS_NAMES = tuple(label_class.name for label_class in CLASSES)
NUM_CLASSES = len(CLASSES)

CONTEST_CLASS = CLASSES[0]
"""The contest's region of interest; its F1 against the rest is the contest's score."""

UNKNOWN_LABEL = 255
"""Label index of a cell without ground truth; losses and metrics leave it out."""

UNKNOWN_RGB = (200, 200, 200)
"""Grey of cells without ground truth in pictures."""


def label_grid_to_rgb(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Colour a grid of labels.

    Args:
        labels: Label indices 0 to 3; any other value counts as unknown. Shape (height, width).

    Returns:
        Class colours, unknown cells grey, shape (height, width, 3).
    """
    # Imported here: the command line reads the grid's sizes before it needs NumPy.
    import numpy as np

    colors = np.array([*(label_class.rgb for label_class in CLASSES), UNKNOWN_RGB], dtype=np.uint8)
    known = (labels >= 0) & (labels < NUM_CLASSES)
    return colors[np.where(known, labels, NUM_CLASSES)]
