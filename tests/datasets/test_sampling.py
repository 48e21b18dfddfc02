"""The order of training windows, and the weights of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from esdseg.datasets.sampling import OrderedSampler, ShuffledSampler, class_weights, derived_seed


@given(size=st.integers(1, 60), processes=st.integers(1, 7))
def test_validation_samples_are_dealt_out_once_each(size: int, processes: int) -> None:
    shares = [list(OrderedSampler(size, rank, processes)) for rank in range(processes)]
    assert sorted(index for share in shares for index in share) == list(range(size))
    assert [len(OrderedSampler(size, rank, processes)) for rank in range(processes)] == list(map(len, shares))


@given(size=st.integers(1, 60), processes=st.integers(1, 7), epoch=st.integers(0, 5))
def test_training_shares_have_one_size_and_leave_nothing_out(size: int, processes: int, epoch: int) -> None:
    indices = [3 * index + 1 for index in range(size)]
    shares = []
    for rank in range(processes):
        sampler = ShuffledSampler([[index] for index in indices], 7, rank, processes)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1]) == -(-size // processes)
    dealt = [index for share in shares for index in share]
    assert set(dealt) == set(indices)
    assert len(dealt) - size < processes


def test_training_order_follows_from_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int, before: int) -> list[int]:
        sampler = ShuffledSampler([[index] for index in range(50)], seed)
        for earlier in range(before):
            sampler.set_epoch(earlier)
            list(sampler)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 3, before=0) == order(0, 3, before=3)
    assert len({tuple(order(seed, epoch, 0)) for seed in range(3) for epoch in range(3)}) == 9


def test_items_are_drawn_anew_each_epoch_from_their_own_candidates() -> None:
    candidates = [range(0, 10), range(10, 20), range(0, 10), [99]]
    sampler = ShuffledSampler(candidates, 0)
    epochs = []
    for epoch in range(200):
        sampler.set_epoch(epoch)
        epochs.append(sorted(sampler))
        assert [index // 10 for index in epochs[-1]] == [0, 0, 1, 9]
    assert {index for epoch in epochs for index in epoch} == {*range(20), 99}
    shares = []
    for rank in range(2):
        share = ShuffledSampler(candidates, 0, rank, 2)
        share.set_epoch(199)
        shares += list(share)
    assert sorted(shares) == epochs[-1], "what is drawn does not depend on the number of processes"


def test_streams_and_places_have_seeds_of_their_own() -> None:
    seeds = {
        derived_seed(seed, stream, epoch, rank)
        for seed in range(4)
        for stream in ("order", "augmentation", "network")
        for epoch in range(4)
        for rank in range(3)
    }
    assert len(seeds) == 4 * 3 * 4 * 3


COUNTS = np.array([400, 530, 50, 18])


def test_balanced_weights_are_scikit_learns() -> None:
    cells = np.repeat(np.arange(4), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=cells)
    np.testing.assert_allclose(class_weights("balanced", COUNTS), expected)


def test_square_root_weights_lie_between_and_average_to_one_over_the_cells() -> None:
    weights = class_weights("sqrt", COUNTS)
    np.testing.assert_allclose((weights * COUNTS).sum() / COUNTS.sum(), 1)
    np.testing.assert_allclose(weights[3] / weights[0], np.sqrt(400 / 18))


def test_no_weights_are_ones() -> None:
    assert class_weights("none", COUNTS).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["balanced", "sqrt"])
def test_a_class_without_training_cells_weighs_one_and_does_not_move_the_others(kind: str) -> None:
    weights = class_weights(kind, np.array([10, 30, 0, 0]))  # type: ignore[arg-type]
    assert weights[2:].tolist() == [1, 1]
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights[0] * 10 + weights[1] * 30, 40)
