import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esdseg.datasets.pixel_grid import PixelGrid


@given(st.integers(1, 50), st.integers(1, 3))
def test_pixels_are_the_nearest_to_the_centres_of_equal_parts_of_each_cell(count: int, cells: int) -> None:
    side = 50 * cells
    image = torch.arange(side * side, dtype=torch.float32).reshape(1, 1, side, side)
    sampled = PixelGrid((0,), count).sample(image)[0, 0].long()
    assert sampled.shape == (count * cells, count * cells)
    found = np.stack([(sampled // side)[:, 0].numpy(), (sampled % side)[0].numpy()])
    centres = (np.arange(count * cells) + 0.5) * 50 / count
    assert (np.abs(found + 0.5 - centres) <= 1).all()
    assert (found // 50 == np.arange(count * cells) // count).all()


def test_channels_are_chosen_in_their_order() -> None:
    image = torch.arange(4.0)[None, :, None, None].expand(2, 4, 50, 50)
    assert PixelGrid((3, 1), 50).sample(image)[:, :, 0, 0].tolist() == [[3.0, 1.0]] * 2


@pytest.mark.parametrize("native_px", [3, 5])
def test_coarse_pixels_resampled_to_fine_ones_are_all_met(native_px: int) -> None:
    whole = 100 // native_px
    coarse = torch.rand(1, 1, whole + 1, whole + 1)
    fine = coarse.repeat_interleave(native_px, -1).repeat_interleave(native_px, -2)[..., :100, :100]
    sampled = PixelGrid((0,), -(-50 // native_px)).sample(fine)
    assert set(coarse[..., :whole, :whole].flatten().tolist()) <= set(sampled.flatten().tolist())
