"""Labelled cells that the tests of this folder share."""

from collections.abc import Sequence

import numpy as np

from esdseg.baselines.cell_features import LabelledCells


def random_cells(n_channels: int, classes: Sequence[int] = (0, 1, 2, 3), seed: int = 0) -> LabelledCells:
    """Cells whose features know something of their class, some of them without data."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(classes, 600)
    features = generator.normal(0, 2, (600, 3 * n_channels)) * (1 + np.arange(3 * n_channels))
    features[:, 0] += labels
    features[:, -1] -= 3 * labels
    features[generator.random(features.shape) < 0.05] = np.nan
    weights = np.array([0.7, 1.0, 1.5, 2.0])[labels]
    return LabelledCells(features.astype(np.float32), labels, weights)
