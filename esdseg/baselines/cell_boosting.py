"""Gradient-boosted trees on the statistics of a label cell, as plain tensors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from esdseg.baselines.cell_classifier import CellClassifier, LabelledCells
from esdseg.config.models import CellBoostingConfig
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import NUM_CLASSES


class TreesHead(nn.Module):
    """Adds up what the leaves of all trees say of a cell.

    The trees are tables (iterations, 4, nodes): node 0 is the root, a leaf leads to itself, and tables that a
    tree does not fill are leaves of value 0. So all cells walk all trees in step, and the shapes follow from
    the settings alone.

    Args:
        iterations: Rounds of boosting, each with a tree a class.
        max_leaves: Leaves of a tree at most.
        max_depth: Splits between root and leaf at most.
    """

    feature: Tensor
    left: Tensor
    right: Tensor
    missing_left: Tensor

    def __init__(self, iterations: int, max_leaves: int, max_depth: int) -> None:
        super().__init__()
        self.steps = min(max_depth, max_leaves - 1)
        shape = (iterations, NUM_CLASSES, 2 * max_leaves - 1)
        itself = torch.arange(shape[-1], dtype=torch.int32).expand(shape)
        self.register_buffer("feature", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("left", itself.clone())
        self.register_buffer("right", itself.clone())
        self.register_buffer("missing_left", torch.zeros(shape, dtype=torch.bool))
        self.threshold = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.value = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.baseline = nn.Parameter(torch.zeros(NUM_CLASSES), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (cells, F), NaN where there is no data, to scores (cells, 4)."""
        iterations, classes, nodes = self.value.shape
        roots = torch.arange(iterations * classes, device=features.device) * nodes
        tables = (self.feature, self.threshold, self.missing_left, self.left, self.right)
        feature, threshold, missing_left, left, right = (table.flatten() for table in tables)
        at = roots.expand(len(features), -1)
        for _ in range(self.steps):
            value = features.gather(1, feature[at].long())
            goes_left = torch.where(torch.isnan(value), missing_left[at], value <= threshold[at])
            at = roots + torch.where(goes_left, left[at], right[at])
        said = self.value.flatten()[at].reshape(-1, iterations, classes)
        return said.sum(dim=1) + self.baseline


def build_cell_boosting(
    config: CellBoostingConfig, channels: Sequence[Channel], subtile_size: int
) -> CellClassifier:
    """Build the model; until it is fitted, all classes are equally probable."""
    return CellClassifier(TreesHead(config.max_iter, config.max_leaf_nodes, config.max_depth))


def fit_cell_boosting(
    model: CellClassifier, config: CellBoostingConfig, cells: LabelledCells, seed: int
) -> None:
    """Fit scikit-learn's histogram gradient boosting and take over its trees.

    Args:
        model: As :func:`build_cell_boosting` made it.
        config: Its settings.
        cells: Training cells.
        seed: Chooses the features that each split may use.
    """
    # scikit-learn takes a moment to import and prediction does without.
    from sklearn.ensemble import HistGradientBoostingClassifier

    head = model.head
    assert isinstance(head, TreesHead)
    classes = cells.classes
    held = torch.isin(torch.arange(NUM_CLASSES), torch.from_numpy(classes))
    head.baseline.copy_(torch.where(held, 0.0, -torch.inf))
    if len(classes) == 1:
        return
    booster = HistGradientBoostingClassifier(
        max_iter=config.max_iter,
        learning_rate=config.learning_rate,
        max_leaf_nodes=config.max_leaf_nodes,
        max_depth=config.max_depth,
        min_samples_leaf=config.min_samples_leaf,
        l2_regularization=config.l2,
        max_bins=config.max_bins,
        max_features=config.feature_share,
        early_stopping=False,
        random_state=seed,
    )
    # A feature without any data has no thresholds to look for; a constant is never split at.
    has_data = np.isfinite(cells.features).any(axis=0)
    booster.fit(np.where(has_data, cells.features, 0.0), cells.labels, sample_weight=cells.weights)
    # For two classes scikit-learn keeps the scores of the second alone, those of the first being 0. It has no
    # public way to its trees; a test holds their scores against its own.
    scored = classes[1:] if len(classes) == 2 else classes
    head.baseline[scored] = torch.from_numpy(np.ravel(booster._baseline_prediction)).float()
    for iteration, trees in enumerate(booster._predictors):
        for label, tree in zip(scored, trees, strict=True):
            _take_over(head, iteration, int(label), tree.nodes)


def _take_over(head: TreesHead, iteration: int, label: int, nodes: npt.NDArray[np.void]) -> None:
    """Copy one tree from scikit-learn's table of nodes."""
    place = (iteration, label, slice(0, len(nodes)))
    itself = np.arange(len(nodes), dtype=np.int32)
    is_leaf = nodes["is_leaf"].astype(bool)
    head.feature[place] = torch.from_numpy(np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int32))
    head.left[place] = torch.from_numpy(np.where(is_leaf, itself, nodes["left"]).astype(np.int32))
    head.right[place] = torch.from_numpy(np.where(is_leaf, itself, nodes["right"]).astype(np.int32))
    head.missing_left[place] = torch.from_numpy(nodes["missing_go_to_left"].astype(bool))
    head.threshold[place] = torch.from_numpy(_round_down(nodes["num_threshold"]))
    head.value[place] = torch.from_numpy(np.where(is_leaf, nodes["value"], 0.0).astype(np.float32))


def _round_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest single-precision number not above each threshold.

    Single-precision features then fall on the same side of it as of the threshold itself.
    """
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
