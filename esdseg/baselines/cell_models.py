"""The simple models: logistic regression and boosted trees on a cell's statistics, kept as plain arrays."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from esdseg.baselines.cell_features import FloatArray, LabelledCells
from esdseg.config.models import CellBoostingConfig, CellLogisticConfig, CellModelConfig
from esdseg.sensors.classes import NUM_CLASSES

DoubleArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int32]
Arrays = dict[str, npt.NDArray[Any]]

LOWEST_LOG_PROBABILITY = -30.0
"""Of any class, also of those that the training cells did not hold: a probability of about 1e-13."""

LOGISTIC_ITERATIONS = 2000
"""Steps of the solver at most; a few hundred are usual."""


@dataclass(frozen=True)
class CellModel(ABC):
    """A fitted model that gives class probabilities of label cells; all its fields are arrays."""

    @abstractmethod
    def scores(self, features: FloatArray) -> DoubleArray:
        """Map features (cells, 3C), NaN where there is no data, to scores (cells, 4).

        Their softmax are the probabilities. Minus infinity is a class that the training cells did not hold.
        """

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers were fitted."""

    def log_probabilities(self, features: FloatArray) -> FloatArray:
        """Map features (cells, 3C) to logarithms of class probabilities (cells, 4), -30 at least."""
        logarithms = log_softmax(self.scores(features), axis=1)
        return np.maximum(logarithms, LOWEST_LOG_PROBABILITY).astype(np.float32)

    def predict_proba(self, features: FloatArray) -> FloatArray:
        """Map features (cells, 3C) to class probabilities (cells, 4), which add up to 1."""
        probabilities = np.exp(self.log_probabilities(features))
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def arrays(self) -> Arrays:
        """Return all that the model consists of, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_features: int) -> Self:
        """Make a model of what :meth:`arrays` returned.

        Raises:
            ValueError: An array is missing, unknown, of a shape that does not fit, or holds NaN.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if arrays.keys() != names:
            raise ValueError(f"it holds {', '.join(sorted(arrays))} instead of {', '.join(sorted(names))}")
        for name, values in arrays.items():
            if np.isnan(values).any():
                raise ValueError(f"{name} holds NaN")
        model = cls(**arrays)
        model.check(n_features)
        return model

    @abstractmethod
    def check(self, n_features: int) -> None:
        """Refuse arrays that do not fit together or the number of features (``ValueError``)."""


@dataclass(frozen=True)
class CellLogistic(CellModel):
    """Multinomial logistic regression on standardised features; the training mean stands for no data.

    Attributes:
        mean: Of each feature over the training cells (3C,).
        scale: Standard deviation of each feature (3C,).
        weight: Of each class and feature (4, 3C).
        bias: Of each class (4,); minus infinity for a class that the training cells did not hold.
    """

    mean: DoubleArray
    scale: DoubleArray
    weight: DoubleArray
    bias: DoubleArray

    @classmethod
    def fit(cls, config: CellLogisticConfig, cells: LabelledCells) -> "CellLogistic":
        """Fit scikit-learn's logistic regression, whose solution is unique."""
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        classes = np.unique(cells.labels)
        imputer, scaler = SimpleImputer(keep_empty_features=True), StandardScaler()
        standardised = scaler.fit_transform(imputer.fit_transform(cells.features))
        weight, bias = np.zeros((NUM_CLASSES, standardised.shape[1])), np.full(NUM_CLASSES, -np.inf)
        bias[classes] = 0
        if len(classes) > 1:
            regression = LogisticRegression(C=config.C, max_iter=LOGISTIC_ITERATIONS)
            regression.fit(standardised, cells.labels, sample_weight=cells.weights)
            # For two classes scikit-learn keeps the scores of the second alone; those of the first are 0.
            scored = classes[-len(regression.coef_) :]
            weight[scored], bias[scored] = regression.coef_, regression.intercept_
        return cls(scaler.mean_, scaler.scale_, weight, bias)

    def scores(self, features: FloatArray) -> DoubleArray:
        """See :meth:`CellModel.scores`."""
        standardised = (features - self.mean) / self.scale
        scores: DoubleArray = np.nan_to_num(standardised, nan=0.0) @ self.weight.T + self.bias
        return scores

    @property
    def parameters(self) -> int:
        """See :attr:`CellModel.parameters`."""
        return self.weight.size + self.bias.size

    def check(self, n_features: int) -> None:
        """See :meth:`CellModel.check`."""
        expected = ((n_features,), (n_features,), (NUM_CLASSES, n_features), (NUM_CLASSES,))
        found = (self.mean.shape, self.scale.shape, self.weight.shape, self.bias.shape)
        if found != expected:
            raise ValueError(f"its arrays have the shapes {found} instead of {expected}")


@dataclass(frozen=True)
class CellBoosting(CellModel):
    """Gradient-boosted trees; the training median stands for no data.

    The trees are tables (rounds, 4, nodes). Node 0 is the root, and children come after their parent. A leaf
    is its own child, and so is a node that a smaller tree does not fill.

    Attributes:
        fill: Median of each feature over the training cells (3C,).
        feature: Position of the feature that a node looks at.
        threshold: A cell goes to the left child where its feature is not above this.
        left: Position of the left child.
        right: Position of the right child.
        value: What a leaf adds to the score of the tree's class.
        start: Score of each class before the first tree (4,).
    """

    fill: FloatArray
    feature: IndexArray
    threshold: DoubleArray
    left: IndexArray
    right: IndexArray
    value: DoubleArray
    start: DoubleArray

    @classmethod
    def fit(cls, config: CellBoostingConfig, cells: LabelledCells, seed: int) -> "CellBoosting":
        """Fit scikit-learn's gradient boosting; ``seed`` draws cells and features."""
        from sklearn.ensemble import GradientBoostingClassifier

        classes = np.unique(cells.labels)
        start = np.full(NUM_CLASSES, -np.inf)
        start[classes] = 0
        has_data = np.asarray(np.isfinite(cells.features).any(axis=0))
        fill = np.zeros(len(has_data), np.float32)
        fill[has_data] = np.nanmedian(cells.features[:, has_data], axis=0)
        if len(classes) == 1:
            return cls(fill, *_tables(1, 1), start)
        booster = GradientBoostingClassifier(
            n_estimators=config.max_iter,
            learning_rate=config.learning_rate,
            max_depth=config.max_depth,
            min_samples_leaf=config.min_samples_leaf,
            max_leaf_nodes=config.max_leaf_nodes,
            subsample=config.cell_share,
            max_features=config.feature_share,
            random_state=seed,
        )
        filled = np.where(np.isnan(cells.features), fill, cells.features)
        booster.fit(filled, cells.labels, sample_weight=cells.weights)
        # For two classes scikit-learn keeps the scores of the second alone; those of the first are 0.
        scored = classes[-booster.estimators_.shape[1] :]
        trees = [[estimator.tree_ for estimator in row] for row in booster.estimators_]
        nodes = max(tree.node_count for row in trees for tree in row)
        feature, threshold, left, right, value = _tables(len(trees), nodes)
        for iteration, row in enumerate(trees):
            for label, tree in zip(scored, row, strict=True):
                place = (iteration, label, slice(tree.node_count))
                is_leaf, itself = tree.children_left < 0, np.arange(tree.node_count)
                feature[place] = np.where(is_leaf, 0, tree.feature)
                threshold[place] = tree.threshold
                left[place] = np.where(is_leaf, itself, tree.children_left)
                right[place] = np.where(is_leaf, itself, tree.children_right)
                value[place] = np.where(is_leaf, config.learning_rate * tree.value[:, 0, 0], 0)
        model = cls(fill, feature, threshold, left, right, value, start)
        found = np.reshape(booster.decision_function(filled[:1]), -1)
        start[scored] = found - model.scores(filled[:1])[0, scored]
        return model

    def scores(self, features: FloatArray) -> DoubleArray:
        """See :meth:`CellModel.scores`."""
        features = np.where(np.isnan(features), self.fill, features)
        rounds, classes, nodes = self.value.shape
        roots = np.arange(rounds * classes) * nodes
        feature, threshold, left, right, value = (
            table.ravel() for table in (self.feature, self.threshold, self.left, self.right, self.value)
        )
        cells = np.arange(len(features))[:, np.newaxis]
        reached = np.broadcast_to(roots, (len(features), len(roots)))
        while True:
            goes_left = features[cells, feature[reached]] <= threshold[reached]
            following = roots + np.where(goes_left, left[reached], right[reached])
            if np.array_equal(following, reached):
                break
            reached = following
        scores: DoubleArray = value[reached].reshape(-1, rounds, classes).sum(axis=1) + self.start
        return scores

    @property
    def parameters(self) -> int:
        """See :attr:`CellModel.parameters`: the thresholds of splits, the values of leaves, the start."""
        splits = int((self.left != self.right).sum())
        return 2 * splits + int(np.isfinite(self.start).sum()) * (len(self.value) + 1)

    def check(self, n_features: int) -> None:
        """See :meth:`CellModel.check`."""
        tables = (self.feature, self.threshold, self.left, self.right, self.value)
        shape = self.value.shape
        if len(shape) != 3 or shape[1] != NUM_CLASSES or any(table.shape != shape for table in tables):
            raise ValueError(f"its trees have the shapes {', '.join(str(table.shape) for table in tables)}")
        if self.fill.shape != (n_features,) or self.start.shape != (NUM_CLASSES,):
            raise ValueError(f"{self.fill.shape[0]} features do not fit {n_features}")
        if any(table.dtype.kind != "i" for table in (self.feature, self.left, self.right)):
            raise ValueError("its trees have positions that are no whole numbers")
        itself = np.arange(shape[2])
        for child in (self.left, self.right):
            # A child before its parent could lead in circles for ever.
            if (child < itself).any() or (child >= shape[2]).any():
                raise ValueError("its trees lead nowhere")
        if (self.feature < 0).any() or (self.feature >= n_features).any():
            raise ValueError(f"its trees look at more than {n_features} features")


def _tables(rounds: int, nodes: int) -> tuple[IndexArray, DoubleArray, IndexArray, IndexArray, DoubleArray]:
    """Return tables of trees of which every node is a leaf of value 0."""
    shape = (rounds, NUM_CLASSES, nodes)
    itself = np.broadcast_to(np.arange(nodes, dtype=np.int32), shape)
    return (
        np.zeros(shape, np.int32),
        np.zeros(shape),
        itself.copy(),
        itself.copy(),
        np.zeros(shape),
    )


def fit_cell_model(config: CellModelConfig, cells: LabelledCells, seed: int) -> CellModel:
    """Fit a simple model to labelled cells.

    Args:
        config: Its settings.
        cells: At least one cell.
        seed: Of what the fit draws at random.
    """
    if isinstance(config, CellLogisticConfig):
        return CellLogistic.fit(config, cells)
    return CellBoosting.fit(config, cells, seed)


def cell_model_from_arrays(
    config: CellModelConfig, arrays: Mapping[str, npt.NDArray[Any]], n_features: int
) -> CellModel:
    """Make the model of some settings from its arrays (``ValueError`` where they are not those of one)."""
    kind = CellLogistic if isinstance(config, CellLogisticConfig) else CellBoosting
    return kind.from_arrays(arrays, n_features)
