from datetime import date

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from esdseg.models.pretrained_weights import inflate_first_layer
from esdseg.sensors.channels import Channel, channel_table
from tests.models.helpers import FULL_TABLE

RGB = ("red", "green", "blue")


def _filters(seed: int = 0) -> Tensor:
    return torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(seed))


def _picture(seed: int = 1) -> Tensor:
    return torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def _role(channel: Channel) -> str:
    return channel.sensor_band.role if channel.sensor_band else "other"


def _embed(picture: Tensor, channels: tuple[Channel, ...]) -> Tensor:
    """The picture in all red, green and blue channels, zero in the others."""
    image = torch.zeros(len(picture), len(channels), *picture.shape[2:])
    for index, channel in enumerate(channels):
        if _role(channel) in RGB:
            image[:, index] = picture[:, RGB.index(_role(channel))]
    return image


@pytest.mark.parametrize(
    "channels",
    [
        FULL_TABLE,
        channel_table({"sentinel2": (date(2020, 8, 16),)}),
        channel_table(
            {"landsat8": (date(2020, 7, 29), date(2020, 8, 14)), "sentinel1": (date(2020, 7, 23),)}
        ),
        tuple(channel for channel in FULL_TABLE if _role(channel) in RGB),
    ],
    ids=["all", "one date", "landsat and radar", "only colours"],
)
def test_an_rgb_image_in_the_colour_channels_gives_the_original_response(
    channels: tuple[Channel, ...],
) -> None:
    filters, picture = _filters(), _picture()
    expected = F.conv2d(picture, filters, stride=2, padding=3)
    found = F.conv2d(_embed(picture, channels), inflate_first_layer(filters, channels), stride=2, padding=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_rgb_image_in_one_of_four_dates_gives_a_quarter_of_the_response() -> None:
    channels = channel_table({"sentinel2": [date(2020, 8, day) for day in (11, 16, 26, 31)]})
    filters, picture = _filters(), _picture()
    image = _embed(picture, channels)
    image[:, 12:] = 0
    found = F.conv2d(image, inflate_first_layer(filters, channels))
    torch.testing.assert_close(found, F.conv2d(picture, filters) / 4, rtol=1e-4, atol=1e-4)


def test_each_colour_goes_to_the_bands_of_its_name() -> None:
    channels = channel_table({"sentinel2": (date(2020, 8, 16),), "landsat8": (date(2020, 8, 14),)})
    filters = torch.zeros(1, 3, 1, 1)
    filters[0, 0] = 1  # Red alone.
    weights = dict(
        zip(
            [channel.name for channel in channels],
            inflate_first_layer(filters, channels)[0, :, 0, 0],
            strict=True,
        )
    )
    assert weights["sentinel2_2020-08-16_B04"] == weights["landsat8_2020-08-14_B4"] == pytest.approx(1 / 2)
    for green_or_blue in ("sentinel2_2020-08-16_B03", "sentinel2_2020-08-16_B02", "landsat8_2020-08-14_B2"):
        assert weights[green_or_blue] == 0
    assert weights["landsat8_2020-08-14_B8"] == pytest.approx((1 / 3) / (23 - 6))


@pytest.mark.parametrize("sensors", [("viirs", "sentinel1"), ("viirs",)])
def test_without_colours_a_grey_picture_gives_the_original_response(sensors: tuple[str, ...]) -> None:
    channels = tuple(channel for channel in FULL_TABLE if channel.sensor in sensors)
    filters, grey = _filters(), _picture()[:, :1]
    found = F.conv2d(grey.expand(-1, len(channels), -1, -1), inflate_first_layer(filters, channels))
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), filters)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_filters_of_missing_colours_are_made_up_by_the_other_channels() -> None:
    channels = tuple(
        channel
        for channel in channel_table({"sentinel2": (date(2020, 8, 16),)})
        if channel.band in ("B04", "B11", "B12")
    )
    filters = torch.ones(1, 3, 1, 1)
    assert inflate_first_layer(filters, channels)[0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_the_response_to_standardised_channels_keeps_its_size() -> None:
    filters = _filters()
    generator = torch.Generator().manual_seed(2)
    alike = torch.randn(4, 1, 64, 64, generator=generator)
    image = alike.expand(-1, len(FULL_TABLE), -1, -1)
    original = F.conv2d(alike.expand(-1, 3, -1, -1), filters).std()
    inflated = F.conv2d(image, inflate_first_layer(filters, FULL_TABLE)).std()
    assert original <= inflated <= original * 4 / 3 * 1.001


def test_filters_for_another_number_of_colours_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected filters \(out, 3, height, width\), found \(8, 4, 7, 7\)"):
        inflate_first_layer(torch.zeros(8, 4, 7, 7), FULL_TABLE)
