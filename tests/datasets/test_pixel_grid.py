import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esdseg.datasets.pixel_grid import (
    PixelGrid,
    native_grids,
    summarise_dates,
    summary_grids,
    whole_image_of,
)
from esdseg.sensors.channels import channel_table
from esdseg.sensors.sensors import SensorTable
from tests.contest import FULL_TABLE


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


def test_native_grids_give_the_image_back_where_pixels_of_the_sensors_line_up_with_cells() -> None:
    channels = [channel for channel in FULL_TABLE if channel.band in ("DNB", "VV", "B02", "B11", "B9")]
    grids = native_grids(channels)
    assert [grid.pixels_per_cell for grid in grids] == [10, 50, 25, 17]
    assert sorted(position for grid in grids for position in grid.channels) == list(range(len(channels)))
    image = torch.empty(2, len(channels), 100, 100)
    for grid in grids:
        for channel in grid.channels:
            native = torch.rand(2, 1, 2 * grid.pixels_per_cell, 2 * grid.pixels_per_cell)
            pixels = ((torch.arange(100) + 0.5) * grid.pixels_per_cell / 50).long()
            image[:, channel] = native[:, 0, pixels][:, :, pixels]
    found = whole_image_of([grid.sample(image) for grid in grids], grids)
    # A pixel of 30 m ends inside a pixel of the image, which may go to either side.
    unaligned = grids[-1].channels
    aligned = [channel for channel in range(len(channels)) if channel not in unaligned]
    assert torch.equal(found[:, aligned], image[:, aligned])
    assert (found[:, unaligned] == image[:, unaligned]).float().mean() > 0.9


def test_bands_finer_than_the_stored_pixels_are_read_as_they_are_stored() -> None:
    fine = {
        "title": "Fine",
        "kind": "optical",
        "files": ["F_{date:%Y%m%d}_{band}"],
        "dtypes": ["uint16"],
        "conversion": "none",
        "bands": {"red": {"native_size_m": 3}},
    }
    channels = channel_table({"fine": 2}, SensorTable.model_validate({"sensors": {"fine": fine}}))
    for grids in (native_grids(channels), summary_grids(channels, of_light=False)):
        assert [grid.pixels_per_cell for grid in grids] == [50]


def test_an_image_without_fine_channels_comes_back_at_full_size() -> None:
    channels = [channel for channel in FULL_TABLE if channel.band == "B11"]
    grids = native_grids(channels)
    pixels = [grid.sample(torch.rand(1, len(channels), 50, 50)) for grid in grids]
    assert whole_image_of(pixels, grids).shape == (1, len(channels), 50, 50)


@given(st.integers(2, 7), st.integers(0, 2**31))
def test_dates_are_summarised_as_numpy_does(dates: int, seed: int) -> None:
    """Of the dates on which a pixel has data; nothing where it has none."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, dates, 3, 4, 5)).astype(np.float32)
    image[rng.random(image.shape) < 0.5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        summaries = [np.nanmin(image, 1), np.nanmedian(image, 1), np.nanmax(image, 1)]
    expected = np.concatenate(summaries if dates > 2 else summaries[::2], axis=1)
    np.testing.assert_allclose(summarise_dates(torch.from_numpy(image)).numpy(), expected, atol=1e-6)


def test_bands_are_summarised_over_their_own_dates_at_their_spacing() -> None:
    image = torch.rand(2, 7, 100, 100)
    grid = PixelGrid.over_dates([(5, 1, 3), (2, 6, 4)], 25)
    assert grid.channels == (5, 2) * 3, "a summary has the scale of the first date"
    assert sorted(grid.sources) == [1, 2, 3, 4, 5, 6]
    thinned = image[..., 1::2, 1::2]
    own = [thinned[:, list(dates)] for dates in ((5, 1, 3), (2, 6, 4))]
    expected = [*(o.amin(1) for o in own), *(o.median(1).values for o in own), *(o.amax(1) for o in own)]
    assert torch.equal(grid.sample(image), torch.stack(expected, dim=1))
    assert torch.equal(grid.among([1, 2, 3, 4, 5, 6]).sample(image[:, 1:]), grid.sample(image))


def test_a_band_of_fewer_dates_counts_its_first_again() -> None:
    image = torch.rand(1, 3, 50, 50)
    found = PixelGrid.over_dates([(0, 1), (2,)], 50).sample(image)
    low, high = torch.minimum(image[:, 0], image[:, 1]), torch.maximum(image[:, 0], image[:, 1])
    assert torch.equal(found, torch.stack([low, image[:, 2], high, image[:, 2]], dim=1))
    assert PixelGrid.over_dates([(0,), (2,)], 50) == PixelGrid((0, 2), 50)
