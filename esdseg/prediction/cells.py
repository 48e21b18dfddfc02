"""The cells of an evaluated run with their probabilities, from the maps beside its scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from esdseg.errors import InputDataError
from esdseg.metrics.arrays import FloatArray, IntArray, mean_of_defined
from esdseg.metrics.confusion import confusion_matrix
from esdseg.metrics.ranking import area_under_roc, resampled_areas
from esdseg.prediction.maps import PROBABILITIES_NAME, TRUTH_NAME, read_codes, read_probabilities
from esdseg.sensors.classes import UNKNOWN_LABEL


@dataclass(frozen=True)
class Cells:
    """The cells of several tiles whose class is known.

    Attributes:
        truths: Label indices of each tile's cells, shape (cells,).
        probabilities: Their class probabilities, shape (cells, 4).
    """

    truths: tuple[npt.NDArray[np.uint8], ...]
    probabilities: tuple[npt.NDArray[np.float32], ...]

    def macro_area(self) -> float:
        """Return the macro AUC of all cells; NaN where it is undefined."""
        areas = area_under_roc(np.concatenate(self.truths), np.concatenate(self.probabilities))
        return float(mean_of_defined(areas))

    def resampled_macro_areas(self, weights: IntArray) -> FloatArray:
        """Return the macro AUC of each resample, shape (resamples,); NaN where it is undefined.

        Args:
            weights: How often each resample holds each tile, shape (resamples, tiles).
        """
        return mean_of_defined(resampled_areas(self.truths, self.probabilities, weights))


def read_cells(folder: Path, tiles: Sequence[str], confusions: IntArray) -> Cells | str:
    """Read the cells that ``evaluate`` scored.

    Args:
        folder: The results' folder.
        tiles: Names of the tiles.
        confusions: Their counts as they were scored, shape (tiles, 4, 4), to see that the maps are the same.

    Returns:
        The cells, or in words why there are none.
    """
    truths, probabilities = [], []
    for tile, scored in zip(tiles, confusions, strict=True):
        try:
            truth = read_codes(folder / tile / TRUTH_NAME)
            scores = read_probabilities(folder / tile / PROBABILITIES_NAME)
        except InputDataError as error:
            return str(error)
        if not np.array_equal(confusion_matrix(truth, scores.argmax(axis=0)), scored):
            return (
                f"The maps in {folder / tile} are not those that were scored; make them anew with "
                "`esdseg evaluate`."
            )
        known = truth != UNKNOWN_LABEL
        truths.append(truth[known])
        probabilities.append(scores[:, known].T)
    return Cells(tuple(truths), tuple(probabilities))
