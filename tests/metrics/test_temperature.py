import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from esdseg.metrics.arrays import FloatArray, IntArray
from esdseg.metrics.calibration import reliability
from esdseg.metrics.temperature import TEMPERATURE_LIMITS, fit_temperature, negative_log_likelihood
from esdseg.sensors.classes import UNKNOWN_LABEL


def sure_cells(factor: float, cells: int = 4000, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Return labels drawn from known probabilities, and the logits of these times a factor."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (cells, 4))
    labels = np.array([generator.choice(4, p=row) for row in softmax(logits, axis=1)])
    return labels, logits * factor


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_that_of_another_minimiser(factor: float) -> None:
    labels, logits = sure_cells(factor)

    def loss(log_temperature: FloatArray) -> float:
        scores = log_softmax(logits / np.exp(log_temperature[0]), axis=1)
        return float(-scores[np.arange(len(labels)), labels].mean())

    found = minimize(loss, x0=[0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})
    temperature = fit_temperature(labels, logits)
    assert temperature == pytest.approx(float(np.exp(found.x[0])), rel=1e-4)
    assert temperature == pytest.approx(factor, rel=0.1), "what the logits were multiplied by"
    assert negative_log_likelihood(labels, logits, temperature) == pytest.approx(found.fun)


def test_an_over_confident_model_is_calibrated_by_it_on_other_cells() -> None:
    temperature = fit_temperature(*sure_cells(3.0))
    labels, logits = sure_cells(3.0, seed=1)
    before = reliability(labels, softmax(logits, axis=1)).expected_calibration_error
    after = reliability(labels, softmax(logits / temperature, axis=1)).expected_calibration_error
    assert after < 0.03 < 0.15 < before


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(*TEMPERATURE_LIMITS))
def test_the_likeliest_class_stays_whatever_the_temperature(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 5, (50, 4))
    np.testing.assert_array_equal(softmax(logits / temperature, axis=1).argmax(axis=1), logits.argmax(axis=1))


def test_unknown_cells_do_not_count_and_without_cells_it_is_one() -> None:
    labels, logits = sure_cells(2.0, cells=300)
    more = np.concatenate([labels, np.full(9, UNKNOWN_LABEL)])
    padded = np.concatenate([logits, np.full((9, 4), 1e3)])
    assert fit_temperature(more, padded) == fit_temperature(labels, logits)
    assert fit_temperature(labels[:0], logits[:0]) == 1
    assert np.isnan(negative_log_likelihood(labels[:0], logits[:0]))


def test_cells_told_apart_without_mistake_end_at_the_limit() -> None:
    labels = np.arange(4)
    assert fit_temperature(labels, np.eye(4)) == pytest.approx(TEMPERATURE_LIMITS[0], rel=1e-3)
