import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score

from esdseg.metrics.calibration import (
    TEMPERATURE_LIMITS,
    best_threshold,
    brier_score,
    brier_score_of_class,
    calibration_scores,
    coverage_curve,
    expected_calibration_error,
    f1_from_counts,
    fit_temperature,
    negative_log_likelihood,
    reliability_bins,
    threshold_counts,
)
from esdseg.metrics.scores import FloatArray, IntArray
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

    bins = reliability_bins(truth, probabilities, bins=10)

    assert [one.cells for one in bins] == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
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

    bins = reliability_bins(truth, probabilities)

    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15)
    held = [one for one in bins if one.cells]
    np.testing.assert_allclose(np.array([one.accuracy for one in held], dtype=float), accuracy)
    np.testing.assert_allclose(np.array([one.confidence for one in held], dtype=float), confidence)
    assert {one.accuracy for one in bins if not one.cells} <= {None}
    assert expected_calibration_error(bins) == pytest.approx(
        np.average(np.abs(accuracy - confidence), weights=[one.cells for one in held])
    )


@given(SEEDS)
def test_one_bin_holds_the_gap_of_all_cells(seed: int) -> None:
    truth, probabilities = random_cells(seed, (0, 1, 2, 3))

    right = probabilities.argmax(axis=1) == truth
    assert expected_calibration_error(reliability_bins(truth, probabilities, bins=1)) == pytest.approx(
        abs(probabilities.max(axis=1).mean() - right.mean())
    )


def test_probabilities_that_say_the_truth_have_a_small_error_and_sharpened_ones_a_large_one() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), size=20_000)
    truth = (generator.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)

    assert (calibration_scores(truth, probabilities).expected_calibration_error or 1) < 0.02
    assert (calibration_scores(truth, sharpened).expected_calibration_error or 0) > 0.15


def test_coverage_scores_are_those_of_the_most_confident_cells() -> None:
    truth, probabilities = distinct_cells(1)
    falling = np.argsort(-probabilities.max(axis=1))

    curve = coverage_curve(truth, probabilities)

    assert [point.cells for point in curve] == list(range(20, 401, 20))
    np.testing.assert_allclose([point.share for point in curve], np.arange(1, 21) / 20)
    for point in curve:
        taken = falling[: point.cells]
        labels, classes = truth[taken], probabilities.argmax(axis=1)[taken]
        assert point.accuracy == pytest.approx(accuracy_score(labels, classes))
        assert point.contest_f1 == pytest.approx(f1_score(labels == 0, classes == 0))
        assert point.confidence == probabilities.max(axis=1)[taken[-1]]


@given(SEEDS)
def test_the_order_of_cells_of_one_confidence_moves_nothing(seed: int) -> None:
    truth, probabilities = random_cells(seed, (0, 1, 2, 3))
    shuffled = np.random.default_rng(seed).permutation(truth.size)

    curve, other = (
        coverage_curve(truth, probabilities),
        coverage_curve(truth[shuffled], probabilities[shuffled]),
    )

    assert curve == other
    assert curve[-1].share == 1


def test_cells_of_one_confidence_are_one_point() -> None:
    (point,) = coverage_curve(np.array([0, 1, 2]), np.full((3, 4), 0.25))

    assert (point.cells, point.share) == (3, 1)


def test_unknown_cells_do_not_count() -> None:
    truth, probabilities = distinct_cells(2)
    partly = np.concatenate([truth, np.full(50, UNKNOWN_LABEL)])
    more = np.concatenate([probabilities, np.full((50, 4), 0.25)])

    assert calibration_scores(partly, more) == calibration_scores(truth, probabilities)


def test_without_any_cell_everything_is_undefined() -> None:
    scores = calibration_scores(np.array([UNKNOWN_LABEL]), np.full((1, 4), 0.25))

    assert (scores.expected_calibration_error, scores.brier, scores.mean_confidence) == (None, None, None)
    assert scores.coverage == ()


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
    before, after = (
        expected_calibration_error(reliability_bins(labels, softmax(scaled, axis=1))) or 0
        for scaled in (logits, logits / temperature)
    )
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


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(1, 60), levels=st.sampled_from([2, 5, 1000]))
def test_no_other_threshold_gives_a_higher_f1(seed: int, cells: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.choice([0, 1, 2, UNKNOWN_LABEL], cells)
    scores = (generator.integers(0, levels + 1, cells) / levels).astype(np.float32)
    known = labels != UNKNOWN_LABEL
    best = best_threshold(labels, scores)
    if not (labels == 0).any():
        assert best is None
        return
    assert best is not None
    tried = [
        f1_score(labels[known] == 0, scores[known] >= threshold, zero_division=0)
        for threshold in np.concatenate([np.unique(scores), [0.0]])
    ]
    assert float(f1_from_counts(threshold_counts(labels, scores, best))) == pytest.approx(max(tried))
    assert 0 <= best <= 1


def test_the_threshold_lies_between_two_cells_and_calls_few_cells_class_1() -> None:
    assert best_threshold([0, 0, 1, 1], np.array([0.9, 0.6, 0.4, 0.1])) == pytest.approx(0.5)
    # From 0.8 on and from 0.2 on the F1 is 2/3 alike.
    assert best_threshold([0, 1, 1, 0], np.array([0.8, 0.6, 0.4, 0.2])) == pytest.approx(0.7)
    assert best_threshold([1, 0], np.array([0.9, 0.3])) == pytest.approx(0.15)


def test_without_any_class_1_the_f1_is_undefined() -> None:
    counts = threshold_counts([1, 2], np.array([0.1, 0.2]), 0.5)
    assert counts.tolist() == [0, 0, 0]
    assert np.isnan(f1_from_counts(counts))
