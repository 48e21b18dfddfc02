import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from esdseg.metrics.resampling import (
    FEW_TILES,
    INTERVAL_SCORES,
    ScoredTiles,
    bootstrap_intervals,
    draw_resamples,
    paired_differences,
    percentile_interval,
    tail_share,
    win_probability,
)
from esdseg.metrics.scorecard import Interval
from esdseg.metrics.scores import IntArray
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from tests.scoring.predictions import make_prediction
from tests.scoring.scored_runs import made_tiles


def intervals(tiles: list[TilePrediction], seed: int, resamples: int = 300) -> dict[str, Interval | None]:
    return bootstrap_intervals(scored_tiles(tiles), resamples, seed)


def counts(tiles: list[TilePrediction]) -> ScoredTiles:
    """Tiles of which only the counts are known."""
    return ScoredTiles(scored_tiles(tiles).confusions, None)


def test_each_resample_is_scored_as_its_cells_laid_end_to_end() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed) for seed in range(6)]
    weights = draw_resamples(len(tiles), 5, seed=3)

    scores = scored_tiles(tiles).resampled_headline(weights)

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

    low, high = intervals(tiles, seed=0, resamples=5000)["accuracy"] or (0, 0)

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


def test_a_difference_is_that_of_the_pooled_scores() -> None:
    better, worse = made_tiles(9, 0.3), made_tiles(9)

    difference = paired_differences(counts(better), counts(worse), 200, seed=0)["contest_f1"]

    truth = np.concatenate([tile.truth.ravel() for tile in worse])
    mine, theirs = (np.concatenate([tile.classes.ravel() for tile in run]) for run in (better, worse))
    expected = f1_score(truth == 0, mine == 0) - f1_score(truth == 0, theirs == 0)
    assert difference.value == pytest.approx(expected)
    assert difference.interval is not None
    assert 0 < difference.interval[0] < expected < difference.interval[1]
    assert difference.win_probability == 201 / 202, "in all of 200 resamples, which does not show always"


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
    # Tiles that differ in how hard they are, for both runs alike.
    weights = np.arange(1, 13)[:, None, None]
    mine = counts(made_tiles(12, 0.05, seed=1)).confusions * weights
    theirs = ScoredTiles(counts(made_tiles(12)).confusions * weights, None)

    paired = paired_differences(ScoredTiles(mine, None), theirs, 1000, seed=0)["contest_f1"].interval

    shuffled = ScoredTiles(mine[np.random.default_rng(5).permutation(12)], None)
    unpaired = paired_differences(shuffled, theirs, 1000, seed=0)["contest_f1"]
    assert paired is not None
    assert unpaired.interval is not None
    assert np.ptp(paired) < np.ptp(unpaired.interval)


@given(st.integers(0, 50))
def test_swapping_the_runs_turns_every_sign(seed: int) -> None:
    mine, theirs = scored_tiles(made_tiles(8, 0.1, seed)), scored_tiles(made_tiles(8))

    forth, back = paired_differences(mine, theirs, 100, seed), paired_differences(theirs, mine, 100, seed)

    for name in INTERVAL_SCORES:
        one, other = forth[name], back[name]
        assert one.value == pytest.approx(-(other.value or 0))
        assert one.interval is not None
        assert other.interval is not None
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))
        assert one.win_probability == pytest.approx(1 - (other.win_probability or 0))


def test_a_run_against_itself_wins_half_and_differs_by_nothing() -> None:
    run = scored_tiles(made_tiles(8))

    for difference in paired_differences(run, run, 100, seed=0).values():
        assert (difference.value, difference.interval, difference.win_probability) == (0, (0, 0), 0.5)


def test_the_resampled_areas_are_scored_on_the_same_resamples_as_the_counts() -> None:
    mine, theirs = made_tiles(8, 0.05, seed=1), made_tiles(8)
    weights = draw_resamples(8, 100, seed=3)

    difference = paired_differences(scored_tiles(mine), scored_tiles(theirs), 100, seed=3)["auc_macro"]

    def area(run: list[TilePrediction], times: IntArray) -> float:
        drawn = [tile for tile, count in zip(run, times, strict=True) for _ in range(count)]
        truth = np.concatenate([tile.truth.ravel() for tile in drawn])
        scores = np.concatenate([tile.probabilities.reshape(4, -1).T for tile in drawn])
        return float(roc_auc_score(np.eye(4)[truth], scores, average="macro"))

    expected = np.array([area(mine, times) - area(theirs, times) for times in weights])
    assert difference.interval == pytest.approx(percentile_interval(expected, 8))
    assert difference.win_probability == pytest.approx(win_probability(expected))
    everything = np.ones(8, dtype=np.int64)
    assert difference.value == pytest.approx(area(mine, everything) - area(theirs, everything))


def test_one_tile_has_a_difference_without_error_bar() -> None:
    difference = paired_differences(counts(made_tiles(1, 0.5)), counts(made_tiles(1)), 100, seed=0)[
        "accuracy"
    ]

    assert difference.value is not None
    assert (difference.interval, difference.win_probability) == (None, None)


def test_an_undefined_score_has_no_difference() -> None:
    confusions = np.zeros((2, 4, 4), dtype=np.int64)
    confusions[:, 1, 1] = 9
    without_class_1 = ScoredTiles(confusions, None)

    difference = paired_differences(without_class_1, without_class_1, 100, seed=0)["contest_f1"]

    assert (difference.value, difference.interval, difference.win_probability) == (None, None, None)


def test_few_tiles_say_nothing_of_how_often_a_run_wins() -> None:
    for tiles in (2, FEW_TILES - 1, FEW_TILES):
        difference = paired_differences(
            counts(made_tiles(tiles, 0.5)), counts(made_tiles(tiles)), 100, seed=0
        )["accuracy"]
        assert difference.interval is not None
        assert (difference.win_probability is None) == (tiles < FEW_TILES)


def test_ties_count_half_and_undefined_resamples_not_at_all() -> None:
    assert win_probability(np.array([0.1, 0.0, -0.1, 0.2, np.nan])) == 3.5 / 6
    assert win_probability(np.array([np.nan])) is None


@given(st.integers(1, 500))
def test_no_number_of_resamples_shows_that_a_run_always_wins_or_never(resamples: int) -> None:
    always, never = (win_probability(np.full(resamples, sign)) for sign in (0.1, -0.1))
    assert always is not None
    assert never is not None
    assert 0 < never < 0.5 < always < 1
    assert always == pytest.approx(1 - never)
