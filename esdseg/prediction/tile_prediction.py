"""What networks say of a tile: arrays alone, so that what draws and scores them needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esdseg.metrics.ranking import ScoredCells
from esdseg.metrics.resampling import ScoredTiles
from esdseg.metrics.scores import confusion_matrix
from esdseg.sensors.classes import UNKNOWN_LABEL


@dataclass(frozen=True)
class TilePrediction:
    """What a network says of one tile, beside what is known of it.

    Attributes:
        tile: The tile's name.
        truth: Label indices (16, 16), uint8: 0 to 3, 255 is unknown.
        probabilities: Of each class, (4, 16, 16) float32; they add up to 1. NaN where the tile has too few
            of the network's channels: such a cell is no data in the map, and is not scored.
        uncalibrated: The same before any temperature acts, where one does.
        predicted_by: Paths of the checkpoints whose mean the probabilities are.
        cell_shares: Share of the network's channels that each cell has, (16, 16); of several networks the
            smallest. ``None`` where nobody looked.
    """

    tile: str
    truth: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    uncalibrated: npt.NDArray[np.float32] | None = None
    predicted_by: tuple[str, ...] = ()
    cell_shares: npt.NDArray[np.float32] | None = None

    @property
    def is_mapped(self) -> npt.NDArray[np.bool_]:
        """Where the map has data, (16, 16)."""
        return np.isfinite(self.probabilities.sum(axis=0))

    @property
    def channel_share(self) -> float:
        """Share of the network's channels that the tile has, the mean over its cells."""
        return 1.0 if self.cell_shares is None else float(self.cell_shares.mean(dtype=np.float64))

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """Label indices (16, 16) of the most probable classes; 255 where the map has no data."""
        return np.where(self.is_mapped, self.probabilities.argmax(axis=0), UNKNOWN_LABEL).astype(np.uint8)

    @property
    def scored_truth(self) -> npt.NDArray[np.uint8]:
        """The truth where the map has data, and 255 elsewhere."""
        return np.where(self.is_mapped, self.truth, UNKNOWN_LABEL).astype(np.uint8)

    @property
    def is_scored(self) -> bool:
        """Whether any cell has both a truth and a prediction."""
        return bool((self.scored_truth != UNKNOWN_LABEL).any())

    @property
    def is_labelled(self) -> bool:
        """Whether the class of any cell is known."""
        return bool((self.truth != UNKNOWN_LABEL).any())

    def known_cells(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return labels (cells,) and probabilities (cells, 4) of the cells that are scored."""
        known = self.scored_truth != UNKNOWN_LABEL
        return self.truth[known], self.probabilities[:, known].T


def scored_tiles(predictions: Sequence[TilePrediction]) -> ScoredTiles:
    """Return what scores and their resamples need of labelled tiles, in their order."""
    truths, probabilities = zip(*(prediction.known_cells() for prediction in predictions), strict=True)
    networks = list(dict.fromkeys(prediction.predicted_by for prediction in predictions))
    return ScoredTiles(
        confusions=np.stack(
            [confusion_matrix(prediction.scored_truth, prediction.classes) for prediction in predictions]
        ),
        cells=ScoredCells(
            truths, probabilities, [networks.index(prediction.predicted_by) for prediction in predictions]
        ),
    )
