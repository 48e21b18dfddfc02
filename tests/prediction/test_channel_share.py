"""How much of a network's channels a tile has, cell by cell."""

import numpy as np
import pytest

from esdseg.prediction.channel_share import (
    MIN_CHANNEL_SHARE,
    channel_note,
    leave_out_unseen,
    measure_channel_share,
    show_share,
)


def test_a_channel_counts_where_any_pixel_of_the_cell_is_valid() -> None:
    random = np.random.default_rng(0)
    image = np.zeros((4, 800, 800), np.float16)
    image[0] = np.nan
    image[1][random.random((800, 800)) < 0.999] = np.nan
    image[2, :50] = np.nan
    image[2, 7, 60] = 1
    expected = np.empty((16, 16))
    for row in range(16):
        for column in range(16):
            cell = image[:, 50 * row :, 50 * column :][:, :50, :50]
            expected[row, column] = np.mean([not np.isnan(channel).all() for channel in cell])
    share = measure_channel_share(image)
    assert share.dtype == np.float32
    assert share.shape == (16, 16)
    np.testing.assert_allclose(share, expected, atol=1e-6)
    assert len(np.unique(share)) == 3


def test_cells_below_the_share_are_left_out_and_those_at_it_stay() -> None:
    share = np.full((16, 16), MIN_CHANNEL_SHARE, np.float32)
    share[3, 4] = np.nextafter(np.float32(MIN_CHANNEL_SHARE), np.float32(0))
    left = leave_out_unseen(np.full((4, 16, 16), 0.25, np.float32), share)
    assert np.argwhere(np.isnan(left)).tolist() == [[label, 3, 4] for label in range(4)]


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (1e-4, "1 %"), (0.304, "30 %"), (0.9999, "99 %"), (1, "100 %")]
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, shown: str) -> None:
    assert show_share(share) == shown


def test_a_note_names_the_tiles_that_are_no_data() -> None:
    assert channel_note({"Tile1": (1, 256)}) == "Every tile has all channels that the network takes."
    note = channel_note({"Tile1": (1, 256), "Tile2": (0.1, 0), "Tile3": (0.6, 100), "Tile4": (0.9, 256)})
    assert note.startswith("3 of 4 tiles lack channels that the network takes, or parts of them; no data")
    assert "everywhere in Tile2; no data (code 0) in cells of Tile3, where less than" in note
