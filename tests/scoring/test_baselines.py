from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score

from esdseg.metrics.confusion import confusion_matrix
from esdseg.scoring.baselines import baseline_scores


def test_baselines_are_the_scores_of_one_class_everywhere() -> None:
    truth = np.random.default_rng(0).choice(4, 500, p=[0.4, 0.5, 0.06, 0.04])
    baselines: dict[str, Any] = baseline_scores(
        confusion_matrix(truth, np.zeros_like(truth)), np.array([1, 9, 3, 2])
    )

    for name, class_index in (("majority", 1), ("all_class_1", 0)):
        prediction = np.full_like(truth, class_index)
        scores = baselines[name]
        assert scores["accuracy"] == pytest.approx((truth == class_index).mean())
        assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, prediction))
        assert scores["contest_f1"] == pytest.approx(f1_score(truth == 0, prediction == 0))
        assert scores["f1"]["macro"] == pytest.approx(f1_score(truth, prediction, average="macro"))
        assert scores["jaccard"]["macro"] == pytest.approx(jaccard_score(truth, prediction, average="macro"))
        assert scores["auc"]["macro"] == 0.5
    assert baselines["majority"]["predicted_class"] == "empty_dark"


def test_the_majority_is_that_of_the_training_tiles_not_of_the_scored_cells() -> None:
    scored = confusion_matrix([1] * 8 + [0] * 2, [1] * 10)

    baselines: dict[str, Any] = baseline_scores(scored, np.array([100, 5, 0, 0]))

    assert baselines["majority"]["predicted_class"] == "settlement_dark"
    assert baselines["majority"]["accuracy"] == pytest.approx(0.2)


def test_a_class_that_no_scored_cell_has_has_no_area() -> None:
    baselines: dict[str, Any] = baseline_scores(confusion_matrix([0, 1], [0, 0]), np.array([1, 1, 1, 1]))

    assert baselines["all_class_1"]["auc"]["per_class"]["settlement_dark"] == 0.5
    assert baselines["all_class_1"]["auc"]["per_class"]["empty_lit"] is None
