"""A temperature that is fitted to averaged probabilities makes them as sure as they are right."""

import numpy as np
import pytest
from scipy.special import softmax

from esdseg.metrics.calibration import best_threshold, calibration_scores
from esdseg.prediction.calibration import fit_calibration, temper
from esdseg.prediction.tile_prediction import TilePrediction


def simulated(members: int, sharpness: float, tiles: int) -> list[TilePrediction]:
    """Return the mean of members that are right about as often, but ``sharpness`` times too sure of it.

    The truth of a cell is drawn from the softmax of its scores; each member sees them with noise of its own.
    """
    generator = np.random.default_rng(7)
    made = []
    for number in range(tiles):
        scores = generator.normal(0, 2, (4, 16, 16))
        chances = softmax(scores, axis=0).reshape(4, -1).T
        truth = np.array([generator.choice(4, p=one) for one in chances]).reshape(16, 16).astype(np.uint8)
        seen = [scores + generator.normal(0, 1, scores.shape) for _ in range(members)]
        said = [softmax(sharpness * one, axis=0) for one in seen]
        made.append(TilePrediction(f"Tile{number}", truth, np.mean(said, axis=0).astype(np.float32)))
    return made


def calibration_error(predictions: list[TilePrediction]) -> float:
    truths, shares = zip(*(one.known_cells() for one in predictions), strict=True)
    error = calibration_scores(np.concatenate(truths), np.concatenate(shares)).expected_calibration_error
    assert isinstance(error, float)
    return error


@pytest.mark.parametrize(("members", "sharpness", "is_too_sure"), [(3, 4.0, True), (8, 0.6, False)])
def test_new_tiles_are_better_calibrated_with_the_temperature(
    members: int, sharpness: float, is_too_sure: bool
) -> None:
    predictions = simulated(members, sharpness, tiles=16)
    choosing, new = predictions[:8], predictions[8:]
    calibration = fit_calibration(choosing)
    tempered = [calibration.apply(one) for one in new]
    assert (calibration.temperature > 1) is is_too_sure
    assert calibration_error(new) > 0.08
    assert calibration_error(tempered) < 0.5 * calibration_error(new)
    for before, after in zip(new, tempered, strict=True):
        np.testing.assert_array_equal(after.classes, before.classes)
        np.testing.assert_array_equal(after.uncalibrated, before.probabilities)
    shares = np.concatenate([calibration.apply(one).probabilities[0].ravel() for one in choosing])
    truth = np.concatenate([one.truth.ravel() for one in choosing])
    assert calibration.threshold == best_threshold(truth, shares)


def test_tempering_is_the_softmax_of_divided_logarithms_and_bears_zeros() -> None:
    shares = np.array([[0.7, 1.0], [0.2, 0.0], [0.1, 0.0], [1e-9, 0.0]], dtype=np.float32)
    tempered = temper(shares, 2.0)
    np.testing.assert_allclose(tempered[:, 0], softmax(np.log(shares[:, 0].astype(float)) / 2), rtol=1e-5)
    assert np.isfinite(tempered).all()
    np.testing.assert_allclose(tempered.sum(axis=0), 1, rtol=1e-6)
