"""Random label cells for tests."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

CELLS = 60
PROBABILITY_STEPS = 6
"""Few distinct values, so that ties occur."""


def random_cells(
    seed: int, present: tuple[int, ...], cells: int = CELLS
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return labels of the present classes, shape (cells,), and probabilities with ties, shape (cells, 4)."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(present, size=cells)
    scores = generator.integers(1, PROBABILITY_STEPS, size=(cells, 4)).astype(np.float64)
    return truth, scores / scores.sum(axis=1, keepdims=True)


SEEDS = st.integers(0, 2**32 - 1)
PRESENT_CLASSES = st.sets(st.integers(0, 3), min_size=1).map(lambda classes: tuple(sorted(classes)))
