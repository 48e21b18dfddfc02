"""The simple models give what scikit-learn gives, from plain arrays alone."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esdseg.baselines.cell_models import Arrays, CellModel, cell_model_from_arrays, fit_cell_model
from esdseg.config.models import CellBoostingConfig, CellLogisticConfig, CellModelConfig
from tests.baselines.cells import random_cells

LOGISTIC = CellLogisticConfig(C=0.5)
BOOSTING = CellBoostingConfig(
    max_iter=30,
    learning_rate=0.2,
    max_depth=5,
    min_samples_leaf=7,
    max_leaf_nodes=12,
    cell_share=0.6,
    feature_share=0.3,
)
EVERY_MODEL = pytest.mark.parametrize("config", [LOGISTIC, BOOSTING], ids=lambda config: config.name)
N_FEATURES = 15


def reference(config: CellModelConfig) -> tuple[object, str]:
    """scikit-learn's own pipeline, and the name that sample weights have there."""
    if isinstance(config, CellLogisticConfig):
        model = LogisticRegression(C=0.5, max_iter=2000)
        steps = (SimpleImputer(keep_empty_features=True), StandardScaler(), model)
        return make_pipeline(*steps), "logisticregression__sample_weight"
    trees = GradientBoostingClassifier(
        n_estimators=30,
        learning_rate=0.2,
        max_depth=5,
        min_samples_leaf=7,
        max_leaf_nodes=12,
        subsample=0.6,
        max_features=0.3,
        random_state=7,
    )
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(imputer, trees), "gradientboostingclassifier__sample_weight"


@EVERY_MODEL
@pytest.mark.parametrize("classes", [(0, 1, 2, 3), (0, 1, 3), (1, 2)])
def test_probabilities_are_those_of_scikit_learn(config: CellModelConfig, classes: tuple[int, ...]) -> None:
    cells = random_cells(5, classes)
    model = fit_cell_model(config, cells, seed=7)
    pipeline, weights = reference(config)
    pipeline.fit(cells.features, cells.labels, **{weights: cells.weights})  # type: ignore[attr-defined]

    unseen = np.concatenate([random_cells(5, classes, seed=1).features, cells.features])
    unseen[:50, 3] = np.nan
    found = model.predict_proba(unseen)

    expected = pipeline.predict_proba(unseen)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found[:, classes], expected, atol=1e-5)
    np.testing.assert_allclose(np.delete(found, classes, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(expected.argmax(axis=1))) > 1, "the model tells cells apart"


@EVERY_MODEL
@pytest.mark.parametrize("classes", [(2,), (0, 2)])
def test_a_channel_without_data_and_a_single_class_can_be_fitted(
    config: CellModelConfig, classes: tuple[int, ...]
) -> None:
    cells = random_cells(2, classes)
    cells.features[:, 1] = np.nan
    logarithms = fit_cell_model(config, cells, seed=0).log_probabilities(cells.features)
    assert set(logarithms.argmax(axis=1).tolist()) == set(classes)
    assert np.isfinite(logarithms).all()


@EVERY_MODEL
def test_a_fit_follows_from_its_seed(config: CellModelConfig) -> None:
    cells = random_cells(5)
    first, again, other = (fit_cell_model(config, cells, seed).arrays() for seed in (1, 1, 2))
    assert all(np.array_equal(values, again[name]) for name, values in first.items())
    is_random = isinstance(config, CellBoostingConfig)
    assert is_random != all(np.array_equal(values, other[name]) for name, values in first.items())


@EVERY_MODEL
def test_arrays_give_the_model_back(config: CellModelConfig) -> None:
    cells = random_cells(5)
    model = fit_cell_model(config, cells, seed=0)
    same = cell_model_from_arrays(config, model.arrays(), N_FEATURES)
    assert np.array_equal(same.log_probabilities(cells.features), model.log_probabilities(cells.features))
    assert same.parameters == model.parameters > 0


def fitted(config: CellModelConfig) -> CellModel:
    return fit_cell_model(config, random_cells(5), seed=0)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (LOGISTIC, {"bias": np.zeros(3)}, "have the shapes"),
        (LOGISTIC, {"weight": np.full((4, N_FEATURES), np.nan)}, "weight holds NaN"),
        (LOGISTIC, {"extra": np.zeros(1)}, "it holds bias, extra, mean"),
        (BOOSTING, {"value": np.zeros(3)}, "its trees have the shapes"),
        (BOOSTING, {"fill": np.zeros(2, np.float32)}, "2 features do not fit 15"),
        (BOOSTING, {"start": np.zeros(1)}, "do not fit"),
    ],
)
def test_other_arrays_are_refused(
    config: CellModelConfig,
    change: Arrays,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        cell_model_from_arrays(config, {**fitted(config).arrays(), **change}, N_FEATURES)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("left", -1, "lead nowhere"),
        ("right", 10_000, "lead nowhere"),
        ("feature", 15, "look at more than 15 features"),
        ("feature", -1, "look at more than 15 features"),
    ],
)
def test_trees_that_lead_out_of_their_tables_are_refused(name: str, value: int, message: str) -> None:
    arrays = fitted(BOOSTING).arrays()
    arrays[name] = arrays[name].copy()
    arrays[name][0, 0, 0] = value
    with pytest.raises(ValueError, match=message):
        cell_model_from_arrays(BOOSTING, arrays, N_FEATURES)


def test_trees_that_lead_in_a_circle_are_refused() -> None:
    arrays = fitted(BOOSTING).arrays()
    arrays["left"] = arrays["left"].copy()
    arrays["left"][0, 0, 1] = 0
    with pytest.raises(ValueError, match="lead nowhere"):
        cell_model_from_arrays(BOOSTING, arrays, N_FEATURES)
