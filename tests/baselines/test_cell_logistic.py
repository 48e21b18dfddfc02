from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esdseg.baselines.cell_logistic import build_cell_logistic, fit_cell_logistic
from esdseg.config.models import AnyModelConfig, CellLogisticConfig
from tests.models.helpers import random_cells, some_channels
from tests.models.model_checks import PrecisionChecks


class TestCellLogistic(PrecisionChecks):
    config: ClassVar[AnyModelConfig] = CellLogisticConfig()


@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (0, 1, 3), (1, 2)])
def test_probabilities_are_those_of_scikit_learn(classes: tuple[int, ...]) -> None:
    cells = random_cells(5, classes)
    config = CellLogisticConfig(C=0.5)
    model = build_cell_logistic(config, some_channels(5), 4)
    fit_cell_logistic(model, config, cells, seed=0)
    reference = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(C=0.5, max_iter=2000)
    ).fit(cells.features, cells.labels, logisticregression__sample_weight=cells.weights)

    unseen = random_cells(5, classes, seed=1).features
    found = torch.softmax(model.classify_cells(torch.from_numpy(unseen)), dim=1).numpy()

    np.testing.assert_allclose(found[:, classes], reference.predict_proba(unseen), atol=1e-5)
    np.testing.assert_allclose(np.delete(found, classes, axis=1), 0, atol=1e-12)


def test_a_channel_without_data_and_a_single_class_can_be_fitted() -> None:
    cells = random_cells(2, (2,))
    cells.features[:, 1] = np.nan
    config = CellLogisticConfig()
    model = build_cell_logistic(config, some_channels(2), 4)
    fit_cell_logistic(model, config, cells, seed=0)
    logits = model.classify_cells(torch.from_numpy(cells.features))
    assert (logits.argmax(dim=1) == 2).all()
    assert torch.isfinite(logits).all()
