"""Weights of the classes in training, by how rare they are."""

from typing import Literal

import numpy as np
import numpy.typing as npt


def class_weights(
    kind: Literal["none", "balanced", "sqrt"], cell_counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Weigh classes by how rare they are among the training cells.

    Args:
        kind: ``balanced`` gives every class the same total weight (scikit-learn's formula), ``sqrt`` takes
            the square root of those weights, ``none`` gives every cell the weight 1.
        cell_counts: Training cells of each class (4,).

    Returns:
        Weights (4,), scaled so that the mean over the training cells is 1 and learning rates mean the same
        for every kind. A class without training cells gets 1: it acts on validation losses alone.
    """
    present = cell_counts > 0
    if kind == "none" or not present.any():
        return np.ones(len(cell_counts))
    total = cell_counts.sum()
    balanced = total / (present.sum() * np.where(present, cell_counts, 1))
    weights = balanced if kind == "balanced" else np.sqrt(balanced)
    weights = weights * total / (weights * cell_counts).sum()
    return np.where(present, weights, 1.0)
