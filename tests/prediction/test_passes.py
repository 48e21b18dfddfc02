"""Turns and flips that are undone exactly, windows that cover a tile, and weights that blend them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esdseg.prediction.passes import CellMean, Passes, Turn
from esdseg.sensors.classes import SUBTILE_SIZES

D4 = Passes("d4").turns


@pytest.mark.parametrize("turn", D4 + Passes("flips").turns, ids=str)
def test_each_turn_is_undone_exactly(turn: Turn) -> None:
    grid = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(turn.move_back(turn.move(grid)), grid, rtol=0, atol=0)


def test_the_eight_are_the_symmetries_of_the_square() -> None:
    grid = np.arange(9).reshape(3, 3)
    expected = {np.rot90(one, k).tobytes() for one in (grid, np.fliplr(grid)) for k in range(4)}
    assert {turn.move(torch.from_numpy(grid)).numpy().tobytes() for turn in D4} == expected
    assert len(expected) == 8
    flips = {turn.move(torch.from_numpy(grid)).numpy().tobytes() for turn in Passes("flips").turns}
    assert flips == {one.tobytes() for one in (grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1])}


@given(st.sampled_from(SUBTILE_SIZES).flatmap(lambda k: st.tuples(st.just(k), st.integers(0, max(0, k - 1)))))
def test_windows_cover_the_tile_and_share_at_least_the_overlap(size_and_overlap: tuple[int, int]) -> None:
    size, overlap = size_and_overlap
    starts = Passes(overlap=overlap).window_starts(size)
    assert (starts[0], starts[-1] + size) == (0, 16)
    shared = [first + size - second for first, second in pairwise(starts)]
    assert all(overlap <= one < size for one in shared)
    assert all(one == overlap for one in shared[:-1]), "only the last window is moved to end flush"


def test_weights_fall_towards_the_edges_and_stay_above_zero() -> None:
    weights = Passes(overlap=2).window_weights(4)
    slope = np.array([1, 2, 2, 1])
    np.testing.assert_array_equal(weights.numpy(), np.outer(slope, slope))
    assert (Passes().window_weights(4) == 1).all()


def test_overlapping_windows_are_averaged_by_their_weights() -> None:
    passes = Passes(overlap=3)
    generator = np.random.default_rng(0)
    starts, weights = passes.window_starts(8), passes.window_weights(8).numpy()
    corners = [(top, left) for top in starts for left in starts]
    windows = generator.dirichlet(np.ones(4), (len(corners), 8, 8)).transpose(0, 3, 1, 2)
    total, weight = np.zeros((4, 16, 16)), np.zeros((16, 16))
    for window, (top, left) in zip(windows, corners, strict=True):
        for row in range(8):
            for column in range(8):
                place = (top + row, left + column)
                total[:, *place] += weights[row, column] * window[:, row, column]
                weight[place] += weights[row, column]
    mean = CellMean()
    for start in range(0, len(corners), 4):
        chosen = slice(start, start + 4)
        mean.add(torch.from_numpy(windows[chosen]).float(), corners[chosen], torch.from_numpy(weights))
    np.testing.assert_allclose(mean.result().numpy(), total / weight, rtol=1e-5)
    np.testing.assert_allclose(mean.result().sum(dim=0).numpy(), 1, rtol=1e-5)
