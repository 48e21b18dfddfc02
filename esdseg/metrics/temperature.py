"""Temperature scaling: one number that makes a network's probabilities as sure as they are right.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Logits are divided by the temperature before
the softmax; which class is the most probable does not change.
"""

import numpy as np
import numpy.typing as npt

from esdseg.metrics.arrays import FloatArray
from esdseg.sensors.classes import UNKNOWN_LABEL

TEMPERATURE_LIMITS = (0.05, 20.0)
"""Cells that a network tells apart without a mistake would call for a temperature of 0."""

_PRECISION = 1e-7
"""Of the temperature's logarithm."""


def negative_log_likelihood(
    truth: npt.ArrayLike, logits: npt.NDArray[np.floating], temperature: float = 1.0
) -> float:
    """Compute the mean negative logarithm of the true class' probability.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        logits: Class scores before the softmax, shape (cells, 4).
        temperature: What they are divided by.

    Returns:
        From 0 up; NaN without any cell.
    """
    labels, known = _known(truth, logits)
    if not labels.size:
        return float("nan")
    scaled = known / temperature
    highest = scaled.max(axis=1)
    log_sums = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
    return float(np.mean(log_sums - scaled[np.arange(labels.size), labels]))


def fit_temperature(truth: npt.ArrayLike, logits: npt.NDArray[np.floating]) -> float:
    """Find the temperature at which the true classes are most likely.

    The likelihood has one peak, since its negative logarithm is convex in the inverse of the temperature.

    Args:
        truth: Label indices 0 to 3, shape (cells,); cells of 255 (unknown) are left out.
        logits: Class scores before the softmax, shape (cells, 4).

    Returns:
        A temperature within :data:`TEMPERATURE_LIMITS`: above 1 the network was too sure; 1 without any cell.
    """
    # SciPy's optimisers take a moment to import, and training alone needs them.
    from scipy.optimize import minimize_scalar

    labels, known = _known(truth, logits)
    if not labels.size:
        return 1.0
    low, high = np.log(TEMPERATURE_LIMITS)
    found = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(labels, known, float(np.exp(log_temperature))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": _PRECISION},
    )
    return float(np.exp(found.x))


def _known(
    truth: npt.ArrayLike, logits: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.integer], FloatArray]:
    labels = np.asarray(truth)
    known = labels != UNKNOWN_LABEL
    return labels[known], np.asarray(logits, dtype=np.float64)[known]
