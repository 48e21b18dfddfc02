import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from esdseg.datasets.sampling import class_weights

COUNTS = np.array([400, 530, 50, 18])


def test_balanced_weights_are_scikit_learns() -> None:
    cells = np.repeat(np.arange(4), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=cells)
    np.testing.assert_allclose(class_weights("balanced", COUNTS), expected)


def test_square_root_weights_lie_between_and_average_to_one_over_the_cells() -> None:
    weights = class_weights("sqrt", COUNTS)
    np.testing.assert_allclose((weights * COUNTS).sum() / COUNTS.sum(), 1)
    np.testing.assert_allclose(weights[3] / weights[0], np.sqrt(400 / 18))


def test_no_weights_are_ones() -> None:
    assert class_weights("none", COUNTS).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["balanced", "sqrt"])
def test_a_class_without_training_cells_weighs_one_and_does_not_move_the_others(kind: str) -> None:
    weights = class_weights(kind, np.array([10, 30, 0, 0]))  # type: ignore[arg-type]
    assert weights[2:].tolist() == [1, 1]
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[0] * 10 + weights[1] * 30, 40)
