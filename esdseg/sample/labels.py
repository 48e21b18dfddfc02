"""The label grid by the contest's rule, and its picture."""

import numpy as np
import numpy.typing as npt

from esdseg.sample.light import Lamps, lit_cells_of
from esdseg.sample.settlements import Buildings, cell_of
from esdseg.sensors.classes import CLASSES
from esdseg.sensors.grid import CELL_SIZE_PX, GRID_SIZE


def label_grid(buildings: Buildings, lamps: Lamps) -> npt.NDArray[np.uint16]:
    """Label every cell: a settlement if any building stands in it, with electricity if any part is lit.

    A building stands where its centre is. A pixel is lit where the lamps' light on the ground reaches
    :data:`~esdseg.sample.light.LIT_THRESHOLD`.

    Returns:
        Codes 1 to 4, ``(16, 16)``.
    """
    settled = np.zeros(GRID_SIZE**2, bool)
    settled[cell_of(buildings.row, buildings.column)] = True
    codes = np.where(lit_cells_of(lamps), np.where(settled, 3, 4), np.where(settled, 1, 2))
    return codes.reshape(GRID_SIZE, GRID_SIZE).astype(np.uint16)


def label_picture(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Paint codes ``(16, 16)`` in class colours at the rasters' size: RGB ``(800, 800, 3)``."""
    palette = np.zeros((max(label_class.code for label_class in CLASSES) + 1, 3), np.uint8)
    for label_class in CLASSES:
        palette[label_class.code] = label_class.rgb
    return palette[labels].repeat(CELL_SIZE_PX, axis=0).repeat(CELL_SIZE_PX, axis=1)
