from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from esdseg.evaluation.bootstrap import (
    INTERVAL_SCORES,
    bootstrap_intervals,
    draw_resamples,
    percentile_interval,
    resampled_scores,
)
from esdseg.evaluation.prediction import TilePrediction
from esdseg.metrics import confusion_matrix
from esdseg.metrics.arrays import IntArray
from tests.evaluation.predictions import make_prediction


def counts(tiles: list[TilePrediction]) -> IntArray:
    return np.stack([confusion_matrix(tile.truth, tile.classes) for tile in tiles])


def intervals(tiles: list[TilePrediction], seed: int, resamples: int = 300) -> dict[str, Any]:
    cells = [tile.known_cells() for tile in tiles]
    truths, probabilities = [truth for truth, _ in cells], [scores for _, scores in cells]
    return bootstrap_intervals(counts(tiles), truths, probabilities, resamples, seed)


def test_each_resample_is_scored_as_its_cells_laid_end_to_end() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(6)]
    weights = draw_resamples(len(tiles), 5, seed=3)

    cells = [tile.known_cells() for tile in tiles]
    scores = resampled_scores(counts(tiles), [c[0] for c in cells], [c[1] for c in cells], weights)

    for index, repeats in enumerate(weights):
        picked = [tile for tile, times in zip(tiles, repeats, strict=True) for _ in range(times)]
        truth = np.concatenate([tile.truth.ravel() for tile in picked])
        prediction = np.concatenate([tile.classes.ravel() for tile in picked])
        probabilities = np.concatenate([tile.known_cells()[1] for tile in picked])
        assert scores["accuracy"][index] == pytest.approx((truth == prediction).mean())
        assert scores["f1_macro"][index] == pytest.approx(f1_score(truth, prediction, average="macro"))
        assert scores["jaccard_macro"][index] == pytest.approx(
            jaccard_score(truth, prediction, average="macro")
        )
        assert scores["contest_f1"][index] == pytest.approx(f1_score(truth == 0, prediction == 0))
        assert scores["auc_macro"][index] == pytest.approx(
            roc_auc_score(np.eye(4)[truth], probabilities, average="macro")
        )


def test_the_interval_of_the_accuracy_is_scipys_bootstrap_over_tiles() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(12)]
    accuracies = [(tile.truth == tile.classes).mean() for tile in tiles]

    low, high = intervals(tiles, seed=0, resamples=5000)["accuracy"]

    expected = stats.bootstrap((accuracies,), np.mean, n_resamples=5000, method="percentile", rng=1)
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.002)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.002)


def test_the_seed_decides_the_intervals() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(9)]

    assert intervals(tiles, seed=1) == intervals(tiles, seed=1)
    assert intervals(tiles, seed=1) != intervals(tiles, seed=2)


def test_one_tile_has_no_intervals() -> None:
    assert intervals([make_prediction("Tile1", 0)], seed=0) == dict.fromkeys(INTERVAL_SCORES)


def test_resamples_that_leave_a_score_undefined_do_not_count() -> None:
    assert percentile_interval(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)
    assert percentile_interval(np.array([np.nan])) is None
