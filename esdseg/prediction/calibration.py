"""A temperature and a threshold for what several checkpoints, turns or windows say together.

Each checkpoint's own temperature was fitted to its plain answers. A mean of such answers is less sure than
they are, mostly less than it is right (Rahaman and Thiery, Uncertainty Quantification and Deep Ensembles,
NeurIPS 2021), so what is averaged is calibrated after it was averaged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from esdseg.metrics.calibration import best_threshold, fit_temperature
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CONTEST_CLASS


@dataclass(frozen=True)
class Calibration:
    """Temperature and threshold of averaged probabilities.

    Attributes:
        temperature: What their logarithms are divided by.
        threshold: Probability of class 1 from which the contest's F1 was highest; ``None`` where the tiles
            that chose it hold no class 1.
        predictions: Of the tiles that chose both, by tile, before the temperature acts.
    """

    temperature: float
    threshold: float | None
    predictions: Mapping[str, TilePrediction]

    def apply(self, prediction: TilePrediction) -> TilePrediction:
        """Return a tile's prediction with the temperature."""
        before = prediction.probabilities if prediction.uncalibrated is None else prediction.uncalibrated
        tempered = temper(prediction.probabilities, self.temperature)
        return replace(prediction, probabilities=tempered, uncalibrated=before)


def fit_calibration(predictions: Sequence[TilePrediction]) -> Calibration:
    """Choose temperature and threshold on tiles with ground truth that were not trained on."""
    truth = np.concatenate([prediction.known_cells()[0] for prediction in predictions])
    averaged = np.concatenate([prediction.known_cells()[1] for prediction in predictions])
    temperature = fit_temperature(truth, _logarithms(averaged))
    share = temper(averaged.T, temperature)[CONTEST_CLASS.index]
    return Calibration(
        temperature, best_threshold(truth, share), {prediction.tile: prediction for prediction in predictions}
    )


def temper(probabilities: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """Divide the logarithms of probabilities (4, ...) by a temperature; the results add up to 1 again."""
    scaled = _logarithms(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)


def _logarithms(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny).astype(np.float64))
