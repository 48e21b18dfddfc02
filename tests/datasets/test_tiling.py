import pytest
import torch

from esdseg.datasets.dataset import stitch_subtiles
from esdseg.sensors.classes import GRID_SIZE, SUBTILE_SIZES


@pytest.mark.parametrize("subtile_size", SUBTILE_SIZES)
@pytest.mark.parametrize("channels", [(), (3,), (2, 3)])
def test_a_subtile_lies_at_its_row_and_column(subtile_size: int, channels: tuple[int, ...]) -> None:
    tile = torch.randn((*channels, GRID_SIZE, GRID_SIZE))
    starts = range(0, GRID_SIZE, subtile_size)
    subtiles = torch.stack(
        [
            torch.stack([tile[..., top : top + subtile_size, left : left + subtile_size] for left in starts])
            for top in starts
        ]
    )
    assert torch.equal(stitch_subtiles(subtiles), tile)
