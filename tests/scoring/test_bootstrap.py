from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from esdseg.metrics.arrays import IntArray
from esdseg.metrics.confusion import confusion_matrix
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.bootstrap import (
    INTERVAL_SCORES,
    bootstrap_intervals,
    draw_resamples,
    percentile_interval,
    resampled_scores,
    tail_share,
)
from tests.scoring.predictions import make_prediction


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

    expected = stats.bootstrap(
        (accuracies,),
        np.mean,
        n_resamples=5000,
        method="percentile",
        rng=1,
        confidence_level=1 - 2 * tail_share(12),
    )
    assert low == pytest.approx(expected.confidence_interval.low, abs=0.002)
    assert high == pytest.approx(expected.confidence_interval.high, abs=0.002)


def test_the_seed_decides_the_intervals() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(9)]

    assert intervals(tiles, seed=1) == intervals(tiles, seed=1)
    assert intervals(tiles, seed=1) != intervals(tiles, seed=2)


def test_one_tile_has_no_intervals() -> None:
    assert intervals([make_prediction("Tile1", 0)], seed=0) == dict.fromkeys(INTERVAL_SCORES)


def test_resamples_that_leave_a_score_undefined_do_not_count() -> None:
    assert percentile_interval(np.array([np.nan, 0.5, 0.5]), tiles=9) == (0.5, 0.5)
    assert percentile_interval(np.array([np.nan]), tiles=9) is None


@pytest.mark.parametrize("tiles", [5, 12, 60])
def test_the_interval_of_a_mean_reaches_as_far_as_students_t(tiles: int) -> None:
    # The mean of a bell-shaped sample whose resamples are as spread as the bootstrap's would be.
    sample = np.random.default_rng(1).normal(size=tiles)
    resampled = np.random.default_rng(2).normal(sample.mean(), sample.std() / np.sqrt(tiles), size=400_000)

    interval = percentile_interval(resampled, tiles)

    expected = stats.t.interval(0.95, tiles - 1, sample.mean(), sample.std(ddof=1) / np.sqrt(tiles))
    assert interval == pytest.approx(expected, abs=0.04 / np.sqrt(tiles))


def test_many_tiles_cut_off_two_and_a_half_percent_at_each_end() -> None:
    assert tail_share(100_000) == pytest.approx(0.025, abs=1e-5)
    assert tail_share(2) < tail_share(3) < tail_share(12) < 0.025
