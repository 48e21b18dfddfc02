"""The intervals hold the truth as often as they say, on simulated tiles whose true scores are known."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from esdseg.metrics.ranking import ScoredCells
from esdseg.metrics.resampling import (
    FEW_TILES,
    ScoredTiles,
    draw_resamples,
    paired_differences,
    percentile_interval,
)
from esdseg.metrics.scores import FloatArray, IntArray, headline_scores

CELLS = 256
ALIKENESS = 4.0
"""Sum of the Dirichlet's parameters: cells of a tile are alike with a correlation of 1 / (1 + 4) = 0.2, as
the contest's are."""

TRUE_SHARES = np.array(
    [
        [0.28, 0.10, 0.015, 0.005],
        [0.11, 0.41, 0.005, 0.005],
        [0.01, 0.005, 0.03, 0.005],
        [0.002, 0.01, 0.004, 0.004],
    ]
)
"""Share of the cells of each true (rows) and predicted class over all the tiles that could be."""

SIMULATIONS, TILES, RESAMPLES = 300, 40, 500


def simulate_tiles(simulations: int, tiles: int, seed: int) -> IntArray:
    """Draw counts of tiles that are alike in themselves, shape (simulations, tiles, 4, 4).

    The expected counts of a tile are ``CELLS * TRUE_SHARES``, so the scores of ``TRUE_SHARES`` are what
    pooled scores tend to with the number of tiles.
    """
    generator = np.random.default_rng(seed)
    shares = TRUE_SHARES.ravel() / TRUE_SHARES.sum()
    of_tile = generator.dirichlet(ALIKENESS * shares, size=(simulations, tiles))
    return generator.multinomial(CELLS, of_tile).reshape(simulations, tiles, 4, 4)


@cache
def coverage(tiles: int) -> dict[str, float]:
    """Return how often the interval of each score holds the true one."""
    truth = headline_scores(TRUE_SHARES)
    held = dict.fromkeys(truth, 0)
    for seed, counts in enumerate(simulate_tiles(SIMULATIONS, tiles, seed=tiles)):
        weights = draw_resamples(tiles, RESAMPLES, seed)
        scores = headline_scores(np.tensordot(weights, counts, axes=1))
        for name, value in truth.items():
            interval = percentile_interval(scores[name], tiles)
            assert interval is not None
            held[name] += int(interval[0] <= value <= interval[1])
    return {name: count / SIMULATIONS for name, count in held.items()}


@pytest.mark.parametrize("tiles", [12, 40])
@pytest.mark.parametrize("score", ["accuracy", "jaccard_macro", "contest_f1"])
def test_the_interval_holds_the_true_score_as_often_as_it_says(score: str, tiles: int) -> None:
    assert 0.91 <= coverage(tiles)[score] <= 0.98


@pytest.mark.parametrize("tiles", [12, 40])
def test_the_macro_f1_hangs_on_few_tiles_with_the_rarest_class_and_is_held_less_often(tiles: int) -> None:
    # Class 4 is 2 % of the cells, most of them in a few tiles.
    assert 0.84 <= coverage(tiles)["f1_macro"] <= 0.95


def test_too_few_tiles_give_intervals_that_are_too_narrow_which_is_why_it_is_said() -> None:
    few, enough = coverage(FEW_TILES // 2), coverage(FEW_TILES)

    assert all(few[name] < 0.91 <= enough[name] for name in ("accuracy", "contest_f1"))


def test_resampling_cells_instead_of_tiles_would_hold_the_truth_far_too_rarely() -> None:
    truth = headline_scores(TRUE_SHARES)["accuracy"]
    counts = simulate_tiles(SIMULATIONS, TILES, seed=TILES).sum(axis=1)
    accuracies = headline_scores(counts)["accuracy"]
    cells = TILES * CELLS
    low, high = stats.binom.interval(0.95, cells, accuracies)

    assert np.mean((low / cells <= truth) & (truth <= high / cells)) < 0.5


def test_the_interval_of_a_difference_holds_the_true_one() -> None:
    generator = np.random.default_rng(8)
    corrected = 0.1
    better_shares = (1 - corrected) * TRUE_SHARES + corrected * np.diag(TRUE_SHARES.sum(axis=1))
    truth = headline_scores(better_shares)["contest_f1"] - headline_scores(TRUE_SHARES)["contest_f1"]
    held = 0
    for seed, counts in enumerate(simulate_tiles(SIMULATIONS, TILES, seed=9)):
        set_right = generator.binomial(counts, corrected)
        better = counts - set_right
        diagonal = np.arange(4)
        better[:, diagonal, diagonal] += set_right.sum(axis=2)
        runs = ScoredTiles(better, None), ScoredTiles(counts, None)
        interval = paired_differences(*runs, RESAMPLES, seed)["contest_f1"].interval
        assert interval is not None
        held += int(interval[0] <= truth <= interval[1])

    assert 0.90 <= held / SIMULATIONS <= 0.98


def test_the_interval_of_the_auc_holds_the_true_one() -> None:
    generator = np.random.default_rng(3)
    simulations, tiles, cells, resamples = 100, 40, 32, 200
    shift, tile_spread = 1.0, 0.5
    # A positive of one tile against a negative of another: two normal scores, each with its tile's level.
    truth = stats.norm.cdf(shift / np.sqrt(2 * (1 + tile_spread**2)))
    held = 0
    for seed in range(simulations):
        labels = (generator.random((tiles, cells)) < generator.beta(2, 2, (tiles, 1))).astype(np.int64)
        level = tile_spread * generator.normal(size=(tiles, 1))
        score: FloatArray = level + shift * labels + generator.normal(size=(tiles, cells))
        probability = 1 / (1 + np.exp(-score))
        scores = np.stack([1 - probability, probability, 0 * score, 0 * score], axis=-1)
        scored = ScoredCells(list(labels), list(scores), [0] * tiles)
        areas = scored.resampled_areas(draw_resamples(tiles, resamples, seed))
        interval = percentile_interval(areas[:, 1], tiles)
        assert interval is not None
        held += int(interval[0] <= truth <= interval[1])

    assert 0.87 <= held / simulations <= 0.99
