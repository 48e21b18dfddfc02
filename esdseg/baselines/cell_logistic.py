"""Multinomial logistic regression on the statistics of a label cell."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from esdseg.baselines.cell_classifier import CellClassifier, LabelledCells
from esdseg.baselines.cell_statistics import STATISTICS
from esdseg.config.models import CellLogisticConfig
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import NUM_CLASSES

MAX_ITERATIONS = 2000
"""Of the solver; a few hundred are usual."""


class LogisticHead(nn.Module):
    """Standardises features, puts the training mean where there is no data, and weighs them.

    Args:
        n_features: Features of a cell.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.weight = nn.Parameter(torch.zeros(NUM_CLASSES, n_features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(NUM_CLASSES), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (cells, F) to scores (cells, 4)."""
        standardised = (features - self.mean) / self.scale
        standardised = torch.where(torch.isnan(standardised), 0.0, standardised)
        # No matrix product, since mixed precision would round it to half.
        return (standardised.unsqueeze(1) * self.weight).sum(dim=-1) + self.bias


def build_cell_logistic(
    config: CellLogisticConfig, channels: Sequence[Channel], subtile_size: int
) -> CellClassifier:
    """Build the model; until it is fitted, all classes are equally probable."""
    return CellClassifier(LogisticHead(len(STATISTICS) * len(channels)))


def fit_cell_logistic(
    model: CellClassifier, config: CellLogisticConfig, cells: LabelledCells, seed: int
) -> None:
    """Fit scikit-learn's logistic regression and take over its numbers.

    Args:
        model: As :func:`build_cell_logistic` made it.
        config: Its settings.
        cells: Training cells.
        seed: Not needed: the solution is unique.
    """
    # scikit-learn takes a moment to import and prediction does without.
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = model.head
    assert isinstance(head, LogisticHead)
    classes = cells.classes
    head.bias.copy_(
        torch.where(torch.isin(torch.arange(NUM_CLASSES), torch.from_numpy(classes)), 0.0, -torch.inf)
    )
    if len(classes) == 1:
        return
    pipeline = make_pipeline(
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=config.C, max_iter=MAX_ITERATIONS),
    )
    pipeline.fit(cells.features, cells.labels, logisticregression__sample_weight=cells.weights)
    _imputer, scaler, regression = (step for _, step in pipeline.steps)
    head.mean.copy_(torch.from_numpy(scaler.mean_))
    head.scale.copy_(torch.from_numpy(scaler.scale_))
    # For two classes scikit-learn keeps the scores of the second alone, those of the first being 0.
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(classes) == 2:
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    head.weight[classes] = torch.from_numpy(coefficients).float()
    head.bias[classes] = torch.from_numpy(intercepts).float()
