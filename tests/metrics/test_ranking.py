import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from sklearn import metrics as reference
from sklearn.metrics import roc_auc_score

from esdseg.metrics import ranking
from esdseg.metrics.ranking import (
    MAX_CURVE_POINTS,
    ScoredCells,
    area_under_roc,
    precision_recall_curves,
    roc_curves,
)
from esdseg.sensors.classes import CLASS_NAMES, UNKNOWN_LABEL
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


def test_unknown_cells_are_left_out_and_no_cells_give_no_areas() -> None:
    probabilities = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.3, 0.7, 0, 0]])

    assert area_under_roc([0, 1, UNKNOWN_LABEL], probabilities)[0] == 1.0
    assert np.isnan(area_under_roc(np.empty(0), np.empty((0, 4)))).all()


@given(SEEDS)
def test_a_resample_of_tiles_has_the_area_of_its_cells_laid_end_to_end(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cells = [random_cells(seed + tile, (0, 1, 2), cells=20) for tile in range(5)]
    weights = generator.multinomial(5, np.full(5, 0.2), size=4)

    tiles = ScoredCells([c[0] for c in cells], [c[1] for c in cells], [0] * 5)
    areas = tiles.resampled_areas(weights)

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
    binned = ScoredCells([truth], [probabilities], [0]).resampled_areas(np.array([[1]]))

    assert binned[0, 1] == pytest.approx(exact[1], abs=1e-3)
    assert binned[0, 1] != exact[1]


def test_networks_are_not_ranked_against_each_other() -> None:
    # Each network ranks its own cells without a mistake, on another scale than the other one.
    truth = np.array([0, 1, 0, 1])
    score = np.array([0.9, 0.8, 0.3, 0.2])
    probabilities = np.stack([score, 1 - score, 0 * score, 0 * score], axis=1)

    assert area_under_roc(truth, probabilities)[0] == 0.75
    assert area_under_roc(truth, probabilities, [0, 0, 1, 1])[0] == 1.0
    tiles = ScoredCells([truth[:2], truth[2:]], [probabilities[:2], probabilities[2:]], [0, 1])
    assert tiles.areas()[0] == 1.0
    np.testing.assert_array_equal(tiles.resampled_areas(np.array([[1, 1], [2, 0]]))[:, 0], 1.0)


@given(SEEDS)
def test_the_area_of_several_networks_weighs_each_by_the_pairs_that_it_scored(seed: int) -> None:
    cells = [random_cells(seed + tile, (0, 1, 2), cells=20 + 5 * tile) for tile in range(4)]
    networks = [0, 1, 1, 2]
    tiles = ScoredCells([c[0] for c in cells], [c[1] for c in cells], networks)

    areas, weights = [], []
    for network in range(3):
        mine = [pair for pair, by in zip(cells, networks, strict=True) if by == network]
        truth, scores = (np.concatenate([pair[part] for pair in mine]) for part in (0, 1))
        positive = truth == 0
        if positive.any() and not positive.all():
            areas.append(roc_auc_score(positive, scores[:, 0]))
            weights.append(int(positive.sum()) * int((~positive).sum()))

    assert tiles.areas()[0] == pytest.approx(np.average(areas, weights=weights))
    np.testing.assert_allclose(tiles.resampled_areas(np.ones((1, 4), dtype=np.int64))[0], tiles.areas())


def scored_cells(cells: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Labels, and probabilities that lean to them; rounded, so that many are equal."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, size=cells, p=[0.4, 0.5, 0.07, 0.03]).astype(np.uint8)
    logits = generator.normal(size=(cells, 4)) + 1.2 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, np.round(probabilities, 3).astype(np.float32)


def test_stored_curves_keep_the_shape_of_thousands_of_points() -> None:
    labels, probabilities = scored_cells(15_360)

    roc, precision_recall = roc_curves(labels, probabilities), precision_recall_curves(labels, probabilities)

    for index, name in enumerate(CLASS_NAMES):
        positive, score = labels == index, probabilities[:, index]
        curve, other = roc[name], precision_recall[name]
        assert curve is not None
        assert other is not None
        across, up = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
        expected_across, expected_up, _ = reference.roc_curve(positive, score, drop_intermediate=False)
        assert len(expected_across) > 3 * len(across)
        assert 20 < len(across) == len(up) <= MAX_CURVE_POINTS
        assert np.trapezoid(up, across) == pytest.approx(reference.roc_auc_score(positive, score), abs=1e-3)
        assert furthest_off(across, up, expected_across, expected_up) < 0.01

        recall, precision = np.array(other.recall), np.array(other.precision)
        assert 20 < len(recall) == len(precision) <= MAX_CURVE_POINTS
        assert (recall[0], recall[-1]) == (0, 1)
        assert other.average_precision == pytest.approx(reference.average_precision_score(positive, score))
        expected_precision, expected_recall, _ = reference.precision_recall_curve(positive, score)
        end = int(np.argmax(expected_recall[::-1] == 1)) + 1
        expected = expected_recall[::-1][:end], expected_precision[::-1][:end]
        assert furthest_off(recall, precision, *expected) < 0.04


def furthest_off(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    all_x: npt.NDArray[np.float64],
    all_y: npt.NDArray[np.float64],
) -> float:
    """Return how far the furthest of all points lies from the thinned curve."""
    start, step = np.stack([x[:-1], y[:-1]], 1), np.stack([np.diff(x), np.diff(y)], 1)
    points = np.stack([all_x, all_y], 1)[:, None]
    along = np.clip(((points - start) * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-30), 0, 1)
    return float(np.hypot(*np.moveaxis(start + along[..., None] * step - points, -1, 0)).min(axis=1).max())


def test_a_class_that_is_in_no_cell_or_in_every_cell_has_no_curve() -> None:
    probabilities, labels = np.full((4, 4), 0.25), np.array([1, 1, 1, 1])

    nothing = dict.fromkeys(CLASS_NAMES)
    assert roc_curves(labels, probabilities) == nothing
    assert precision_recall_curves(labels, probabilities) == nothing
