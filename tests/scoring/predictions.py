"""Made-up predictions for tests of scores and pictures."""

import numpy as np

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES


def make_prediction(tile: str, seed: int, classes: int = NUM_CLASSES) -> TilePrediction:
    """Return a tile of the first ``classes`` classes and probabilities that know something of them."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, (GRID_SIZE, GRID_SIZE)).astype(np.uint8)
    logits = generator.normal(size=(NUM_CLASSES, GRID_SIZE, GRID_SIZE))
    logits[:classes] += np.moveaxis(np.eye(classes)[truth], -1, 0)
    logits[classes:] = -10
    exponentials = np.exp(logits)
    return TilePrediction(tile, truth, (exponentials / exponentials.sum(axis=0)).astype(np.float32))
