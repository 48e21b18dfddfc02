import json

import numpy as np
import pytest
from hypothesis import given
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score

from esdseg.metrics.arrays import FloatArray, IntArray
from esdseg.metrics.calibration import (
    brier_score,
    brier_score_of_class,
    calibration_scores,
    coverage_curve,
    reliability,
)
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.metrics.cells import PRESENT_CLASSES, SEEDS, random_cells


def distinct_cells(seed: int, cells: int = 400) -> tuple[IntArray, FloatArray]:
    """Cells that no two have the same confidence of, with probabilities that know something of the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 4, cells)
    logits = generator.normal(size=(cells, 4)) + 1.5 * np.eye(4)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_a_hand_worked_case() -> None:
    # Confidences .9 (right), .9 (wrong), .6 (right), .6 (right): gaps .4 and .4, each of half the cells.
    probabilities = np.array(
        [[0.9, 0.1, 0, 0], [0.9, 0.1, 0, 0], [0.4, 0.6, 0, 0], [0.2, 0.2, 0.6, 0]], dtype=float
    )
    truth = np.array([0, 1, 1, 2])

    bins = reliability(truth, probabilities, bins=10)

    assert bins.cells.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    assert bins.expected_calibration_error == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert brier_score(truth, probabilities) == pytest.approx((0.02 + 1.62 + 0.32 + 0.24) / 4)
    assert brier_score_of_class(truth, probabilities, 0) == pytest.approx((0.01 + 0.81 + 0.16 + 0.04) / 4)


@given(SEEDS, PRESENT_CLASSES)
def test_brier_scores_are_those_of_scikit_learn(seed: int, present: tuple[int, ...]) -> None:
    truth, probabilities = random_cells(seed, present)

    assert brier_score(truth, probabilities) == pytest.approx(
        brier_score_loss(truth, probabilities, labels=[0, 1, 2, 3], scale_by_half=False)
    )
    assert brier_score_of_class(truth, probabilities, 0) == pytest.approx(
        np.mean((probabilities[:, 0] - (truth == 0)) ** 2)
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_reliability_diagram_is_that_of_scikit_learn(seed: int) -> None:
    truth, probabilities = distinct_cells(seed)
    right = probabilities.argmax(axis=1) == truth

    bins = reliability(truth, probabilities)

    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15)
    held = bins.cells > 0
    np.testing.assert_allclose(bins.accuracy[held], accuracy)
    np.testing.assert_allclose(bins.confidence[held], confidence)
    assert np.isnan(bins.accuracy[~held]).all()
    assert bins.expected_calibration_error == pytest.approx(
        np.average(np.abs(accuracy - confidence), weights=bins.cells[held])
    )


@given(SEEDS)
def test_one_bin_holds_the_gap_of_all_cells(seed: int) -> None:
    truth, probabilities = random_cells(seed, (0, 1, 2, 3))

    right = probabilities.argmax(axis=1) == truth
    assert reliability(truth, probabilities, bins=1).expected_calibration_error == pytest.approx(
        abs(probabilities.max(axis=1).mean() - right.mean())
    )


def test_probabilities_that_say_the_truth_have_a_small_error_and_sharpened_ones_a_large_one() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), size=20_000)
    truth = (generator.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)

    assert reliability(truth, probabilities).expected_calibration_error < 0.02
    assert reliability(truth, sharpened).expected_calibration_error > 0.15


def test_coverage_scores_are_those_of_the_most_confident_cells() -> None:
    truth, probabilities = distinct_cells(1)
    falling = np.argsort(-probabilities.max(axis=1))

    curve = coverage_curve(truth, probabilities)

    assert curve.cells.tolist() == list(range(20, 401, 20))
    np.testing.assert_allclose(curve.share, np.arange(1, 21) / 20)
    for index, cells in enumerate(curve.cells):
        labels, classes = truth[falling[:cells]], probabilities.argmax(axis=1)[falling[:cells]]
        assert curve.scores["accuracy"][index] == pytest.approx(accuracy_score(labels, classes))
        assert curve.scores["contest_f1"][index] == pytest.approx(f1_score(labels == 0, classes == 0))
        assert curve.confidence[index] == probabilities.max(axis=1)[falling[cells - 1]]


@given(SEEDS)
def test_the_order_of_cells_of_one_confidence_moves_nothing(seed: int) -> None:
    truth, probabilities = random_cells(seed, (0, 1, 2, 3))
    shuffled = np.random.default_rng(seed).permutation(truth.size)

    curve, other = (
        coverage_curve(truth, probabilities),
        coverage_curve(truth[shuffled], probabilities[shuffled]),
    )

    assert curve.cells.tolist() == other.cells.tolist()
    np.testing.assert_array_equal(curve.scores["contest_f1"], other.scores["contest_f1"])
    assert curve.share[-1] == 1


def test_cells_of_one_confidence_are_one_point() -> None:
    curve = coverage_curve(np.array([0, 1, 2]), np.full((3, 4), 0.25))

    assert (curve.cells.tolist(), curve.share.tolist()) == ([3], [1])


def test_unknown_cells_do_not_count() -> None:
    truth, probabilities = distinct_cells(2)
    partly = np.concatenate([truth, np.full(50, UNKNOWN_LABEL)])
    more = np.concatenate([probabilities, np.full((50, 4), 0.25)])

    assert calibration_scores(partly, more) == calibration_scores(truth, probabilities)


def test_without_any_cell_everything_is_null_and_json_holds_no_nan() -> None:
    scores = calibration_scores(np.array([UNKNOWN_LABEL]), np.full((1, 4), 0.25))

    assert scores["expected_calibration_error"] is None
    assert scores["brier"] is None
    assert scores["coverage"] == []
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
