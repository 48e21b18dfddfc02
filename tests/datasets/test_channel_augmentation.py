import numpy as np
import pytest
import torch
from torch import Tensor

from esdseg.config.training import AugmentationConfig
from esdseg.datasets.augmentation import (
    add_night_glow,
    draw_missing,
    drop_channels,
    jitter_bands,
    sensors_of,
    shuffle_places,
)
from esdseg.datasets.pixel_grid import PixelGrid, whole_image
from tests.contest import channel_table

CHANNELS = channel_table({"viirs": 3, "sentinel1": 2})
VIIRS, PROJECTIONS, RADAR = range(0, 3), range(3, 5), range(5, 9)
"""Three nights and two projections over them, then VV and VH of two dates."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(count: int, **settings: float) -> Tensor:
    config = AugmentationConfig.model_validate(settings)
    missing = draw_missing(sensors_of(CHANNELS), count, config, generator())
    assert missing is not None
    return missing


def test_channels_are_grouped_by_sensor_and_date() -> None:
    night, radar = sensors_of(CHANNELS)
    assert (night.channels, night.dates) == ((0, 1, 2, 3, 4), ((0,), (1,), (2,)))
    assert (radar.channels, radar.dates) == ((5, 6, 7, 8), ((5, 6), (7, 8)))


def test_whole_dates_go_missing_at_their_rate_and_one_of_each_sensor_stays() -> None:
    missing = drawn(4000, date_dropout=0.4)
    assert torch.equal(missing[:, 5], missing[:, 6])
    assert torch.equal(missing[:, 7], missing[:, 8])
    assert not missing[:, list(PROJECTIONS)].any()
    assert not missing[:, list(VIIRS)].all(dim=1).any()
    assert not missing[:, [5, 7]].all(dim=1).any()
    # Of n dates each is dropped with p, but for the one that is rescued where all would be.
    rates = missing.float().mean(dim=0)
    np.testing.assert_allclose(rates[:3], 0.4 - 0.4**3 / 3, atol=0.025)
    np.testing.assert_allclose(rates[[5, 7]], 0.4 - 0.4**2 / 2, atol=0.025)


def test_a_sensor_goes_missing_from_a_whole_batch_and_never_two() -> None:
    sensors, stream = sensors_of(CHANNELS), generator()
    config = AugmentationConfig(sensor_dropout=0.3)
    drawn_batches = [draw_missing(sensors, 2, config, stream) for _ in range(2000)]
    batches = [missing for missing in drawn_batches if missing is not None]
    expected = [torch.arange(9) < 5, torch.arange(9) >= 5]
    assert all(any(torch.equal(missing, own.expand(2, 9)) for own in expected) for missing in batches), (
        "all channels of one sensor in both samples"
    )
    np.testing.assert_allclose(len(batches) / 2000, 0.3, atol=0.03)
    night = sum(bool(missing[0, 0]) for missing in batches) / len(batches)
    np.testing.assert_allclose(night, 0.5, atol=0.07)


def test_a_single_date_and_a_single_sensor_stay() -> None:
    table = channel_table({"sentinel1": 1})
    config = AugmentationConfig(date_dropout=0.9, sensor_dropout=0.9)
    assert draw_missing(sensors_of(table), 500, config, generator()) is None


def test_nothing_is_drawn_where_nothing_may_happen() -> None:
    stream, nothing = generator(), AugmentationConfig(place_shuffle=0, night_glow=0)
    assert draw_missing(sensors_of(CHANNELS), 8, nothing, stream) is None
    images = [torch.ones(2, 9, 4, 4)]
    ones = torch.ones(9, 1, 1)
    jitter_bands(images, [tuple(range(9))], ones, ones, nothing, stream)
    shuffle_places(images, [tuple(range(9))], sensors_of(CHANNELS), nothing, stream)
    add_night_glow(images, [whole_image(9)], CHANNELS, nothing, stream)
    assert torch.equal(images[0], torch.ones(2, 9, 4, 4))
    assert torch.equal(stream.get_state(), generator().get_state())


def test_places_of_a_sensor_are_exchanged_with_all_their_bands_in_every_grid() -> None:
    ways = set()
    fine_positions, coarse_positions = (8, 6, 0, 2, 1, 3, 4), (5, 7)
    numbers = torch.arange(9.0)[None, :, None, None].expand(600, -1, 2, 2)
    fine, coarse = (numbers[:, list(own)].clone() for own in (fine_positions, coarse_positions))
    config = AugmentationConfig(place_shuffle=0.5)
    shuffle_places(
        [fine, coarse], [fine_positions, coarse_positions], sensors_of(CHANNELS), config, generator()
    )
    for sample in range(600):
        taken = dict(zip(fine_positions, fine[sample, :, 1, 0].int().tolist(), strict=True))
        taken |= dict(zip(coarse_positions, coarse[sample, :, 0, 1].int().tolist(), strict=True))
        assert {taken[night] for night in VIIRS} == set(VIIRS)
        assert [taken[projection] for projection in PROJECTIONS] == list(PROJECTIONS)
        assert (taken[5], taken[6]) in ((5, 6), (7, 8)), "both bands are of one date"
        assert (taken[5], taken[6], taken[7], taken[8]) in ((5, 6, 7, 8), (7, 8, 5, 6))
        ways.add(tuple(taken[position] for position in range(9)))
    assert len(ways) == 6 * 2
    unchanged = (fine[:, :, 0, 0] == torch.tensor(fine_positions)).all(dim=1).float().mean()
    # Half are left alone, and one in twelve orders of the others is the old one.
    np.testing.assert_allclose(unchanged, 0.5 + 0.5 / 12, atol=0.06)


def test_half_of_the_samples_get_light_on_their_nights_alone_evenly_and_in_numbers() -> None:
    numbers = torch.tensor([0.0, 3.0, 200.0]).reshape(1, 1, 1, 3).expand(4000, 9, 2, 3).clone()
    numbers[:, :, 1, 0] = torch.nan
    images = numbers.log1p()
    before = images.clone()
    add_night_glow([images], [whole_image(9)], CHANNELS, AugmentationConfig(night_glow=0.8), generator())
    torch.testing.assert_close(images[:, 5:], before[:, 5:], rtol=0, atol=0, equal_nan=True)
    added = (images.double().expm1() - numbers)[:, :5]
    assert torch.equal(added.isnan(), numbers[:, :5].isnan()), "no data stays no data"
    torch.testing.assert_close(added[..., 0, 1], added[..., 0, 0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(added[..., 0, 2], added[..., 0, 0], atol=1e-2, rtol=1e-2)
    glow = added[..., 0, 0]
    lit = glow.amax(dim=1) > 1e-5
    np.testing.assert_allclose(lit.float().mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(glow[lit].mean(), 0.8, atol=0.06)
    assert (glow[lit][:, :3].std(dim=1) > 0).all(), "each night has its own"
    torch.testing.assert_close(glow[:, 3], glow[:, 4], atol=1e-4, rtol=1e-3, msg="projections share one")


def test_of_a_summary_over_nights_the_highest_value_gets_the_most_light() -> None:
    grid = PixelGrid.over_dates([(0, 1, 2)], 10)
    images = torch.zeros(1000, 3, 2, 2)
    add_night_glow([images], [grid], CHANNELS, AugmentationConfig(night_glow=5.0), generator())
    lowest, median, highest = images[:, :, 0, 0].unbind(dim=1)
    assert (lowest <= median).all()
    assert (median <= highest).all()
    assert (lowest < highest).float().mean() > 0.45


def test_missing_channels_get_the_fill_in_every_grid() -> None:
    grids = PixelGrid((0, 1, 2, 3, 7), 50), PixelGrid((8, 7, 6, 5), 25)
    images = torch.randn(3, 5, 8, 8), torch.randn(3, 4, 2, 2)
    before = tuple(image.clone() for image in images)
    missing = drawn(3, date_dropout=0.5)
    fill = torch.arange(9.0).reshape(9, 1, 1) + 100
    drop_channels(images, grids, missing, fill)
    for image, old, grid in zip(images, before, grids, strict=True):
        gone = missing[:, grid.channels]
        expected = torch.where(gone[:, :, None, None], fill[list(grid.channels)], old)
        assert torch.equal(image, expected)
        assert gone.any()


def test_a_summary_is_missing_where_all_its_dates_are() -> None:
    grid = PixelGrid.over_dates([(5, 7), (6, 8)], 50)
    missing = torch.zeros(3, 9, dtype=torch.bool)
    missing[0, 5] = missing[1, [5, 7]] = missing[2, 5:] = True
    image, fill = torch.ones(3, 4, 2, 2), torch.full((9, 1, 1), 7.0)
    drop_channels([image], [grid], missing, fill)
    assert image[..., 0, 0].tolist() == [[1, 1, 1, 1], [7, 1, 7, 1], [7, 7, 7, 7]]


def test_gains_and_offsets_are_those_of_scaled_values_and_alike_in_every_grid() -> None:
    shift = torch.tensor([-12.0, 1000.0]).reshape(2, 1, 1)
    scale = torch.tensor([0.5, 0.01]).reshape(2, 1, 1)
    stored = torch.randn((400, 2, 3, 3), generator=generator(1)) / scale + shift
    stored[:, :, 0, 0] = float("nan")
    fine, thinned = stored.clone(), stored[:, [1], 1:2, 1:2].clone()
    config = AugmentationConfig(band_gain_std=0.1, band_offset_std=0.2)
    jitter_bands([fine, thinned], [(0, 1), (1,)], shift, scale, config, generator())
    assert torch.equal(fine.isnan(), stored.isnan())
    torch.testing.assert_close(thinned[:, 0], fine[:, 1, 1:2, 1:2])
    before, after = ((values - shift) * scale for values in (stored, fine))
    # Two pixels of a channel give its gain and offset; a third must fit them.
    first, second, third = ((..., 1, 1), (..., 2, 2), (..., 0, 2))
    gain = (after[first] - after[second]) / (before[first] - before[second])
    offset = after[first] - gain * before[first]
    far = (before[first] - before[second]).abs() > 0.3
    torch.testing.assert_close(after[third][far], (gain * before[third] + offset)[far], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(gain[far].std(), 0.1, rtol=0.1)
    np.testing.assert_allclose(offset[far].std(), 0.2, rtol=0.1)
    np.testing.assert_allclose(gain[far].mean(), 1, atol=0.02)


def test_a_channel_without_spread_stays() -> None:
    image = torch.full((4, 1, 2, 2), 7.0)
    config = AugmentationConfig(band_gain_std=0.5, band_offset_std=0.5)
    scale = torch.zeros(1, 1, 1)
    jitter_bands([image], [(0,)], scale, scale, config, generator())
    assert image.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_one_seed_gives_one_outcome(dtype: torch.dtype) -> None:
    config = AugmentationConfig(band_gain_std=0.1, band_offset_std=0.1)
    ones = torch.ones(9, 1, 1)

    def jittered(seed: int) -> Tensor:
        image = torch.randn((2, 9, 4, 4), generator=generator(5)).to(dtype)
        jitter_bands([image], [tuple(range(9))], ones, ones, config, generator(seed))
        return image

    assert torch.equal(jittered(1), jittered(1))
    assert not torch.equal(jittered(1), jittered(2))
