import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esdseg.datasets import slice_tile, stitch_subtiles
from esdseg.grid import GRID_SIZE, SUBTILE_SIZES


@given(
    subtile_size=st.sampled_from(SUBTILE_SIZES),
    values_a_cell=st.integers(1, 3),
    channels=st.lists(st.integers(1, 3), max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_restitching_inverts_slicing(
    subtile_size: int, values_a_cell: int, channels: list[int], seed: int
) -> None:
    side = GRID_SIZE * values_a_cell
    tile = torch.from_numpy(np.random.default_rng(seed).random((*channels, side, side)))
    subtiles = slice_tile(tile, subtile_size)
    count, small = GRID_SIZE // subtile_size, subtile_size * values_a_cell
    assert subtiles.shape == (count, count, *channels, small, small)
    assert torch.equal(stitch_subtiles(subtiles), tile)


@pytest.mark.parametrize("subtile_size", SUBTILE_SIZES)
def test_a_subtile_lies_at_its_row_and_column(subtile_size: int) -> None:
    tile = torch.arange(3 * GRID_SIZE**2).reshape(3, GRID_SIZE, GRID_SIZE)
    subtiles = slice_tile(tile, subtile_size)
    for row, column in np.ndindex(*subtiles.shape[:2]):
        top, left = row * subtile_size, column * subtile_size
        expected = tile[:, top : top + subtile_size, left : left + subtile_size]
        assert torch.equal(subtiles[row, column], expected)


@pytest.mark.parametrize(("shape", "subtile_size"), [((16, 32), 4), ((20, 20), 4), ((16, 16), 3)])
def test_what_is_no_whole_tile_is_refused(shape: tuple[int, int], subtile_size: int) -> None:
    with pytest.raises(ValueError, match="no subtiles"):
        slice_tile(torch.zeros(shape), subtile_size)
