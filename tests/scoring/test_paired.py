import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from esdseg.metrics.arrays import IntArray
from esdseg.metrics.confusion import confusion_matrix
from esdseg.prediction.cells import Cells
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.bootstrap import draw_resamples, percentile_interval, tail_share
from esdseg.scoring.paired import (
    PAIRED_SCORES,
    paired_area_difference,
    paired_differences,
    win_probability,
)
from tests.scoring.scored_runs import made_tiles


def counts(tiles: list[TilePrediction]) -> IntArray:
    return np.stack([confusion_matrix(tile.truth, tile.classes) for tile in tiles])


def cells(tiles: list[TilePrediction]) -> Cells:
    truths, probabilities = zip(*(tile.known_cells() for tile in tiles), strict=True)
    return Cells(truths, probabilities)


def test_a_difference_is_that_of_the_pooled_scores() -> None:
    better, worse = made_tiles(5, 0.3), made_tiles(5)

    difference = paired_differences(counts(better), counts(worse), 200, seed=0)["contest_f1"]

    truth = np.concatenate([tile.truth.ravel() for tile in worse])
    mine, theirs = (np.concatenate([tile.classes.ravel() for tile in run]) for run in (better, worse))
    expected = f1_score(truth == 0, mine == 0) - f1_score(truth == 0, theirs == 0)
    assert difference.value == pytest.approx(expected)
    assert difference.interval is not None
    assert 0 < difference.interval[0] < expected < difference.interval[1]
    assert difference.win_probability == 1


def test_the_interval_of_the_accuracy_is_scipys_paired_bootstrap_over_tiles() -> None:
    mine, theirs = made_tiles(12, 0.05, seed=1), made_tiles(12)
    accuracies = [[(tile.truth == tile.classes).mean() for tile in run] for run in (mine, theirs)]

    interval = paired_differences(counts(mine), counts(theirs), 5000, seed=0)["accuracy"].interval

    expected = stats.bootstrap(
        accuracies,
        lambda a, b: np.mean(a) - np.mean(b),
        n_resamples=5000,
        paired=True,
        vectorized=False,
        method="percentile",
        confidence_level=1 - 2 * tail_share(12),
        rng=1,
    ).confidence_interval
    assert interval == pytest.approx((expected.low, expected.high), abs=0.002)


def test_a_paired_interval_is_narrower_than_one_from_two_separate_draws() -> None:
    mine, theirs = counts(made_tiles(12, 0.05, seed=1)), counts(made_tiles(12))
    # Tiles that differ in how hard they are, for both runs alike.
    weights = np.arange(1, 13)[:, None, None]

    paired = paired_differences(mine * weights, theirs * weights, 1000, seed=0)["contest_f1"].interval

    shuffled = np.random.default_rng(5).permutation(12)
    unpaired = paired_differences((mine * weights)[shuffled], theirs * weights, 1000, seed=0)["contest_f1"]
    assert paired is not None
    assert unpaired.interval is not None
    assert np.ptp(paired) < np.ptp(unpaired.interval)


@given(st.integers(0, 50))
def test_swapping_the_runs_turns_every_sign(seed: int) -> None:
    mine, theirs = counts(made_tiles(4, 0.1, seed)), counts(made_tiles(4))

    forth, back = paired_differences(mine, theirs, 100, seed), paired_differences(theirs, mine, 100, seed)

    for name in PAIRED_SCORES:
        one, other = forth[name], back[name]
        assert one.value == pytest.approx(-(other.value or 0))
        assert one.interval is not None
        assert other.interval is not None
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
        assert one.win_probability == pytest.approx(1 - (other.win_probability or 0))


def test_a_run_against_itself_wins_half_and_differs_by_nothing() -> None:
    run = counts(made_tiles(4))

    for difference in paired_differences(run, run, 100, seed=0).values():
        assert (difference.value, difference.interval, difference.win_probability) == (0, (0, 0), 0.5)


def test_the_resampled_areas_are_scored_on_the_same_resamples_as_the_counts() -> None:
    mine, theirs = made_tiles(5, 0.05, seed=1), made_tiles(5)
    weights = draw_resamples(5, 100, seed=3)

    difference = paired_area_difference(cells(mine), cells(theirs), 100, seed=3)

    def area(run: list[TilePrediction], times: IntArray) -> float:
        drawn = [tile for tile, count in zip(run, times, strict=True) for _ in range(count)]
        truth = np.concatenate([tile.truth.ravel() for tile in drawn])
        scores = np.concatenate([tile.probabilities.reshape(4, -1).T for tile in drawn])
        return float(roc_auc_score(np.eye(4)[truth], scores, average="macro"))

    expected = np.array([area(mine, times) - area(theirs, times) for times in weights])
    assert difference.interval == pytest.approx(percentile_interval(expected, 5))
    assert difference.win_probability == pytest.approx(win_probability(expected))
    everything = np.ones(5, dtype=np.int64)
    assert difference.value == pytest.approx(area(mine, everything) - area(theirs, everything))
    assert paired_area_difference(cells(mine[:1]), cells(theirs[:1]), 100, seed=0).interval is None


def test_one_tile_has_a_difference_without_error_bar() -> None:
    difference = paired_differences(counts(made_tiles(1, 0.5)), counts(made_tiles(1)), 100, seed=0)[
        "accuracy"
    ]

    assert difference.value is not None
    assert (difference.interval, difference.win_probability) == (None, None)


def test_an_undefined_score_has_no_difference() -> None:
    without_class_1 = np.zeros((2, 4, 4), dtype=np.int64)
    without_class_1[:, 1, 1] = 9

    difference = paired_differences(without_class_1, without_class_1, 100, seed=0)["contest_f1"]

    assert (difference.value, difference.interval, difference.win_probability) == (None, None, None)


def test_ties_count_half_and_undefined_resamples_not_at_all() -> None:
    assert win_probability(np.array([0.1, 0.0, -0.1, 0.2, np.nan])) == 2.5 / 4
    assert win_probability(np.array([np.nan])) is None
