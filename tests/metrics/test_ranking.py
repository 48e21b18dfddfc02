from typing import Any

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import roc_auc_score

from esdseg.metrics import ranking
from esdseg.metrics.ranking import area_under_roc, auc_scores, resampled_areas
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.metrics.cells import PRESENT_CLASSES, SEEDS, random_cells


@given(SEEDS, PRESENT_CLASSES)
def test_areas_are_those_of_scikit_learn_with_ties_and_absent_classes(
    seed: int, present: tuple[int, ...]
) -> None:
    truth, probabilities = random_cells(seed, present)

    areas = area_under_roc(truth, probabilities)

    for index in range(4):
        positive = truth == index
        if 0 < positive.sum() < positive.size:
            assert areas[index] == pytest.approx(roc_auc_score(positive, probabilities[:, index]))
        else:
            assert np.isnan(areas[index])


def test_macro_leaves_out_undefined_classes() -> None:
    scores: dict[str, Any] = auc_scores(np.array([0.5, 0.7, np.nan, np.nan]))

    assert scores["macro"] == pytest.approx(0.6)
    assert scores["per_class"]["empty_lit"] is None


def test_unknown_cells_are_left_out_and_no_cells_give_no_areas() -> None:
    probabilities = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.3, 0.7, 0, 0]])

    assert area_under_roc([0, 1, UNKNOWN_LABEL], probabilities)[0] == 1.0
    assert np.isnan(area_under_roc(np.empty(0), np.empty((0, 4)))).all()


@given(SEEDS)
def test_a_resample_of_tiles_has_the_area_of_its_cells_laid_end_to_end(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cells = [random_cells(seed + tile, (0, 1, 2), cells=20) for tile in range(5)]
    weights = generator.multinomial(5, np.full(5, 0.2), size=4)

    areas = resampled_areas([c[0] for c in cells], [c[1] for c in cells], weights)

    for resample, tile_counts in zip(areas, weights, strict=True):
        picked = np.repeat(np.arange(5), tile_counts)
        expected = area_under_roc(
            np.concatenate([cells[tile][0] for tile in picked]),
            np.concatenate([cells[tile][1] for tile in picked]),
        )
        np.testing.assert_allclose(resample, expected, equal_nan=True)


def test_binned_scores_change_an_area_by_less_than_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 4000)
    score = np.clip(0.5 + 0.1 * truth + 0.3 * generator.standard_normal(4000), 0, 1)
    probabilities = np.stack([1 - score, score, 0 * score, 0 * score], axis=1)
    exact = area_under_roc(truth, probabilities)

    monkeypatch.setattr(ranking, "MAX_SCORE_BINS", 500)
    binned = resampled_areas([truth], [probabilities], np.array([[1]]))

    assert binned[0, 1] == pytest.approx(exact[1], abs=1e-3)
    assert binned[0, 1] != exact[1]
