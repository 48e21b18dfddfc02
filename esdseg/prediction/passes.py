"""How often, and as which windows, a network sees each label cell of a tile."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esdseg.config.evaluation import TestTimeAugmentation
from esdseg.datasets.augmentation import move
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES


@dataclass(frozen=True)
class Turn:
    """A symmetry of the square: flips, and then quarter turns counter-clockwise.

    Attributes:
        left_right: Whether left and right are mirrored.
        up_down: Whether top and bottom are mirrored.
        quarter_turns: Turns of 90 degrees, 0 to 3.
    """

    left_right: bool = False
    up_down: bool = False
    quarter_turns: int = 0

    def move(self, grid: Tensor) -> Tensor:
        """Return values (..., S, S) moved."""
        return move(grid, self.left_right, self.up_down, self.quarter_turns)

    def move_back(self, grid: Tensor) -> Tensor:
        """Return values (..., S, S) where they were before :meth:`move`."""
        turned = move(grid, False, False, -self.quarter_turns % 4)
        return move(turned, self.left_right, self.up_down, 0)


_FLIPS = (Turn(), Turn(left_right=True), Turn(up_down=True), Turn(left_right=True, up_down=True))
_TURNS: dict[TestTimeAugmentation, tuple[Turn, ...]] = {
    "none": _FLIPS[:1],
    "flips": _FLIPS,
    "d4": tuple(Turn(flip, False, turns) for flip in (False, True) for turns in range(4)),
}


@dataclass(frozen=True)
class Passes:
    """How a tile is predicted.

    Attributes:
        tta: Turns and flips under which each window is seen: its own alone, the 4 flips, or all 8 of the
            square (the dihedral group D4).
        overlap: Label cells that neighbouring windows share.
    """

    tta: TestTimeAugmentation = "none"
    overlap: int = 0

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns and flips; the first leaves everything where it is."""
        return _TURNS[self.tta]

    def window_starts(self, window_size: int) -> tuple[int, ...]:
        """Return the first cells, along either side of a tile, of windows of ``window_size`` cells.

        They advance by what neighbours do not share; the last ends flush with the tile.
        """
        last = GRID_SIZE - window_size
        if last == 0:
            return (0,)
        return (*range(0, last, window_size - self.overlap), last)

    def window_weights(self, window_size: int) -> Tensor:
        """Return how much each cell of a window counts where windows overlap, (k, k) float32, above 0.

        A cell counts by its distance from the window's edges, in rows times in columns: a pyramid. At an
        edge a network sees the least of a cell's surroundings.
        """
        if self.overlap == 0:
            return torch.ones(window_size, window_size)
        position = torch.arange(1, window_size + 1)
        slope = torch.minimum(position, position.flip(0)).float()
        return slope[:, None] * slope


ONE_PASS = Passes()
"""Each window once, as it lies; none overlap."""


class CellMean:
    """The weighted mean of what windows say of a tile's cells."""

    def __init__(self) -> None:
        self._sum = torch.zeros(NUM_CLASSES, GRID_SIZE, GRID_SIZE)
        self._weight = torch.zeros(GRID_SIZE, GRID_SIZE)

    def add(self, probabilities: Tensor, corners: Sequence[tuple[int, int]], weights: Tensor) -> None:
        """Add windows.

        Args:
            probabilities: Of each window, (N, 4, k, k).
            corners: Row and column of each window's first cell.
            weights: Of a window's cells, (k, k).
        """
        size = weights.shape[-1]
        for one, (top, left) in zip(probabilities, corners, strict=True):
            self._sum[:, top : top + size, left : left + size] += weights * one
            self._weight[top : top + size, left : left + size] += weights

    def result(self) -> Tensor:
        """Return the mean (4, 16, 16), once all cells were added."""
        return self._sum / self._weight
