from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from esdseg.baselines.cell_boosting import build_cell_boosting, fit_cell_boosting
from esdseg.config.models import AnyModelConfig, CellBoostingConfig
from tests.models.helpers import random_cells, some_channels
from tests.models.model_checks import PrecisionChecks

CONFIG = CellBoostingConfig(
    max_iter=30, learning_rate=0.2, max_leaf_nodes=20, max_depth=5, l2=0.5, max_bins=63
)


class TestCellBoosting(PrecisionChecks):
    config: ClassVar[AnyModelConfig] = CellBoostingConfig(max_iter=5, max_leaf_nodes=4)


def reference() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=30,
        learning_rate=0.2,
        max_leaf_nodes=20,
        max_depth=5,
        min_samples_leaf=20,
        l2_regularization=0.5,
        max_bins=63,
        max_features=0.2,
        early_stopping=False,
        random_state=7,
    )


@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (0, 1, 3), (1, 2)])
def test_probabilities_are_those_of_scikit_learn(classes: tuple[int, ...]) -> None:
    cells = random_cells(5, classes)
    model = build_cell_boosting(CONFIG, some_channels(5), 4)
    fit_cell_boosting(model, CONFIG, cells, seed=7)
    trees = reference().fit(cells.features, cells.labels, sample_weight=cells.weights)

    unseen = np.concatenate([random_cells(5, classes, seed=1).features, cells.features])
    unseen[:50, 3] = np.nan
    found = torch.softmax(model.classify_cells(torch.from_numpy(unseen)), dim=1).numpy()

    expected = trees.predict_proba(unseen)
    np.testing.assert_allclose(found[:, classes], expected, atol=1e-5)
    np.testing.assert_allclose(np.delete(found, classes, axis=1), 0, atol=1e-12)
    assert expected.max(axis=1).mean() > 0.5, "the trees say something"


def test_features_that_never_missed_data_in_training_may_miss_it_later() -> None:
    cells = random_cells(2)
    cells.features[np.isnan(cells.features)] = 0.5
    model = build_cell_boosting(CONFIG, some_channels(2), 4)
    fit_cell_boosting(model, CONFIG, cells, seed=7)
    trees = reference().fit(cells.features, cells.labels, sample_weight=cells.weights)
    unseen = random_cells(2, seed=2).features
    found = torch.softmax(model.classify_cells(torch.from_numpy(unseen)), dim=1).numpy()
    np.testing.assert_allclose(found, trees.predict_proba(unseen), atol=1e-5)


def test_a_channel_without_data_and_a_single_class_can_be_fitted() -> None:
    for classes in ((2,), (0, 2)):
        cells = random_cells(2, classes)
        cells.features[:, 1] = np.nan
        model = build_cell_boosting(CONFIG, some_channels(2), 4)
        fit_cell_boosting(model, CONFIG, cells, seed=0)
        logits = model.classify_cells(torch.from_numpy(cells.features))
        assert set(logits.argmax(dim=1).tolist()) == set(classes)
        assert torch.isfinite(logits).all()
