from typing import Any

import numpy as np
import pytest
from hypothesis import given
from sklearn import metrics as reference

from esdseg.metrics.scores import (
    classification_scores,
    confusion_matrix,
    constant_scores,
    headline_scores,
)
from esdseg.sensors.classes import CLASS_NAMES, UNKNOWN_LABEL
from tests.metrics.cells import PRESENT_CLASSES, SEEDS, random_cells

LABELS = [0, 1, 2, 3]


def scores_from_confusion(confusion: Any) -> dict[str, Any]:
    return classification_scores(confusion, np.full(4, np.nan)).model_dump()


def per_class(scores: dict[str, Any], name: str) -> list[float | None]:
    return [scores[name]["per_class"][class_name] for class_name in CLASS_NAMES]


@given(SEEDS, PRESENT_CLASSES, PRESENT_CLASSES)
def test_scores_are_those_of_scikit_learn_with_absent_classes(
    seed: int, in_truth: tuple[int, ...], in_prediction: tuple[int, ...]
) -> None:
    truth, _ = random_cells(seed, in_truth)
    prediction, _ = random_cells(seed + 1, in_prediction)

    confusion = confusion_matrix(truth, prediction)
    scores: dict[str, Any] = scores_from_confusion(confusion)

    assert confusion.tolist() == reference.confusion_matrix(truth, prediction, labels=LABELS).tolist()
    defined = sorted(set(truth) | set(prediction))
    assert scores["accuracy"] == pytest.approx(reference.accuracy_score(truth, prediction))
    recalls = reference.recall_score(truth, prediction, labels=sorted(set(truth)), average=None)
    assert scores["balanced_accuracy"] == pytest.approx(recalls.mean())
    for average in ("macro", "micro", "weighted"):
        expected = reference.f1_score(truth, prediction, labels=defined, average=average)
        assert scores["f1"][average] == pytest.approx(expected)
    for average in ("macro", "micro"):
        expected = reference.jaccard_score(truth, prediction, labels=defined, average=average)
        assert scores["jaccard"][average] == pytest.approx(expected)
    assert scores["iou"] == scores["jaccard"]
    settled = {"labels": LABELS, "average": None, "zero_division": np.nan}
    for name, function, known in (
        ("f1", reference.f1_score, defined),
        ("precision", reference.precision_score, set(prediction)),
        ("recall", reference.recall_score, set(truth)),
    ):
        for index, (value, expected) in enumerate(
            zip(per_class(scores, name), function(truth, prediction, **settled), strict=True)
        ):
            if index in known:
                assert value == pytest.approx(expected)
            else:
                assert value is None
    binary_truth, binary_prediction = truth == 0, prediction == 0
    if 0 in defined:
        assert scores["contest_f1"] == pytest.approx(reference.f1_score(binary_truth, binary_prediction))
    else:
        assert scores["contest_f1"] is None


def test_a_hand_worked_case_with_a_class_in_neither_truth_nor_prediction() -> None:
    scores: dict[str, Any] = scores_from_confusion([[3, 1, 0, 0], [2, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])

    assert scores["accuracy"] == pytest.approx(0.7)
    assert scores["contest_f1"] == pytest.approx(6 / 9)
    assert scores["f1"]["macro"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores["jaccard"]["macro"] == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores["jaccard"]["micro"] == pytest.approx(7 / 13)
    assert scores["f1"]["per_class"]["settlement_lit"] is None


def test_a_class_that_is_in_the_truth_but_never_predicted_has_f1_0_and_no_precision() -> None:
    scores: dict[str, Any] = scores_from_confusion(confusion_matrix([0, 0, 1], [1, 1, 1]))

    assert scores["f1"]["per_class"]["settlement_dark"] == 0.0
    assert scores["precision"]["per_class"]["settlement_dark"] is None
    assert scores["f1"]["macro"] == pytest.approx(0.25)


def test_no_cells_give_no_scores() -> None:
    scores: dict[str, Any] = scores_from_confusion(np.zeros((4, 4), dtype=int))

    assert scores["accuracy"] is None
    assert scores["f1"]["weighted"] is None
    assert scores["jaccard"]["micro"] is None


def test_unknown_cells_are_left_out() -> None:
    confusion = confusion_matrix([[0, UNKNOWN_LABEL], [1, UNKNOWN_LABEL]], [[0, 1], [2, 3]])

    assert confusion.sum() == 2
    assert confusion[0, 0] == 1
    assert confusion[1, 2] == 1


@given(SEEDS)
def test_headline_scores_of_a_stack_are_those_of_its_matrices(seed: int) -> None:
    stack = np.random.default_rng(seed).integers(0, 3, size=(5, 3, 4, 4))

    together = headline_scores(stack)

    for row, column in np.ndindex(5, 3):
        alone = headline_scores(stack[row, column])
        for name, values in together.items():
            np.testing.assert_equal(values[row, column], alone[name])


@pytest.mark.parametrize("class_index", range(4))
def test_a_constant_answer_has_the_scores_of_one_class_everywhere(class_index: int) -> None:
    truth = np.random.default_rng(0).choice(3, 500, p=[0.4, 0.5, 0.1])
    prediction = np.full_like(truth, class_index)

    scores = constant_scores(np.bincount(truth, minlength=4), class_index)

    assert scores.predicted_class == CLASS_NAMES[class_index]
    assert scores.accuracy == pytest.approx((truth == class_index).mean())
    assert scores.balanced_accuracy == pytest.approx(
        reference.recall_score(truth, prediction, labels=[0, 1, 2], average="macro")
    )
    assert scores.contest_f1 == pytest.approx(reference.f1_score(truth == 0, prediction == 0))
    assert scores.auc.per_class["settlement_dark"] == 0.5
    assert scores.auc.per_class["empty_lit"] is None, "no cell is of this class"
