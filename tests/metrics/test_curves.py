import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from esdseg.metrics.curves import (
    MAX_CURVE_POINTS,
    average_precision,
    curve_scores,
    precision_recall_curve,
    roc_curve,
    thin,
)
from esdseg.sensors.classes import CLASS_NAMES, UNKNOWN_LABEL


def scored_cells(cells: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Labels, and probabilities that lean to them; rounded, so that many are equal."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, size=cells, p=[0.4, 0.5, 0.07, 0.03]).astype(np.uint8)
    logits = generator.normal(size=(cells, 4)) + 1.2 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, np.round(probabilities, 3).astype(np.float32)


@given(
    hnp.arrays(np.bool_, 30, elements=st.booleans()),
    hnp.arrays(np.float32, 30, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])),
)
def test_curves_are_those_of_scikit_learn(
    positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float32]
) -> None:
    positive[:2] = True, False

    false_rate, true_rate = roc_curve(positive, score)
    expected_false, expected_true, _ = reference.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected_false)
    np.testing.assert_allclose(true_rate, expected_true)

    recall, precision = precision_recall_curve(positive, score)
    expected_precision, expected_recall, _ = reference.precision_recall_curve(positive, score)
    # scikit-learn goes on below the threshold that finds all, from the lowest threshold to the highest.
    np.testing.assert_allclose(recall, expected_recall[::-1][: recall.size])
    np.testing.assert_allclose(precision, expected_precision[::-1][: precision.size])
    assert (expected_recall[::-1][recall.size :] == 1).all()
    assert average_precision(recall, precision) == pytest.approx(
        reference.average_precision_score(positive, score)
    )


def test_stored_curves_keep_the_shape_of_thousands_of_points() -> None:
    labels, probabilities = scored_cells(15_360)

    scores = curve_scores(labels, probabilities)

    roc, precision_recall = scores["roc"], scores["precision_recall"]
    assert isinstance(roc, dict)
    assert isinstance(precision_recall, dict)
    for index, name in enumerate(CLASS_NAMES):
        positive, score = labels == index, probabilities[:, index]
        curve: dict[str, npt.NDArray[np.float64]] = roc[name]  # type: ignore[assignment]
        across, up = np.array(curve["false_positive_rate"]), np.array(curve["true_positive_rate"])
        expected_across, expected_up, _ = reference.roc_curve(positive, score, drop_intermediate=False)
        assert len(expected_across) > 3 * len(across)
        assert 20 < len(across) == len(up) <= MAX_CURVE_POINTS
        assert np.trapezoid(up, across) == pytest.approx(reference.roc_auc_score(positive, score), abs=1e-3)
        assert furthest_off(across, up, expected_across, expected_up) < 0.01

        other: dict[str, npt.NDArray[np.float64]] = precision_recall[name]  # type: ignore[assignment]
        recall, precision = np.array(other["recall"]), np.array(other["precision"])
        assert 20 < len(recall) == len(precision) <= MAX_CURVE_POINTS
        assert other["average_precision"] == pytest.approx(reference.average_precision_score(positive, score))
        assert furthest_off(recall, precision, *precision_recall_curve(positive, score)) < 0.04


def furthest_off(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    all_x: npt.NDArray[np.float64],
    all_y: npt.NDArray[np.float64],
) -> float:
    """Return how far the furthest of all points lies from the thinned curve."""
    start, step = np.stack([x[:-1], y[:-1]], 1), np.stack([np.diff(x), np.diff(y)], 1)
    points = np.stack([all_x, all_y], 1)[:, None]
    along = np.clip(((points - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-30), 0, 1)
    return float(np.hypot(*np.moveaxis(start + along[..., None] * step - points, -1, 0)).min(axis=1).max())


def test_a_class_that_is_in_no_cell_or_in_every_cell_has_no_curve() -> None:
    probabilities = np.full((5, 4), 0.25)
    labels = np.array([1, 1, 1, 1, UNKNOWN_LABEL])

    scores = curve_scores(labels, probabilities)

    assert scores["roc"] == scores["precision_recall"] == dict.fromkeys(CLASS_NAMES)


def test_unknown_cells_are_left_out() -> None:
    labels, probabilities = scored_cells(200)
    hidden = labels.copy()
    hidden[:50] = UNKNOWN_LABEL

    assert curve_scores(hidden, probabilities) == curve_scores(labels[50:], probabilities[50:])


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 99))
def test_thinning_keeps_both_ends_and_no_more_points_than_asked(size: int, points: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = np.sort(generator.random(size)), generator.random(size)

    kept = thin(x, y, points)

    assert (kept[0], kept[-1]) == (0, size - 1)
    assert len(kept) <= points
    assert (np.diff(kept) > 0).all()


def test_points_on_a_line_are_dropped() -> None:
    x = np.linspace(0, 1, 50)
    y = np.minimum(2 * x, 1)

    assert len(thin(x, y)) <= 4
    assert thin(x, x).tolist() == [0, 49]
