"""Where tiles are predicted: by default in this process."""

from collections.abc import Callable, Iterator, Sequence

from esdseg.config.evaluation import PredictionConfig
from esdseg.prediction.device import choose_device
from esdseg.prediction.inputs import Inputs
from esdseg.prediction.passes import Passes
from esdseg.prediction.prediction import predict_together
from esdseg.prediction.tile_prediction import TilePrediction

TilePredictor = Callable[[Inputs, Sequence[str]], Iterator[TilePrediction]]
"""Predicts the named tiles by the checkpoints of the inputs, before any calibration of theirs together, and
yields them in their order."""


def predict_here(config: PredictionConfig) -> TilePredictor:
    """Return what predicts tiles in this process, one after the other.

    Args:
        config: Where and how to compute.

    Raises:
        UsageError: The machine lacks the accelerator that the settings name.
    """
    device = choose_device(config.accelerator, config.precision)
    passes = Passes(config.tta, config.overlap)

    def predict(inputs: Inputs, tiles: Sequence[str]) -> Iterator[TilePrediction]:
        return predict_together(inputs.checkpoints, inputs.store, tiles, device, config.batch_size, passes)

    return predict
