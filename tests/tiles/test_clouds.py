from datetime import date

import numpy as np
import numpy.typing as npt
import pytest

from esdseg.sensors.acquisitions import in_order
from esdseg.sensors.sensors import RasterName
from esdseg.tiles.clouds import estimate_sky, sample_reflectance, sky_bands
from tests.contest import CONTEST, get_sensor

DAYS = [date(2020, 8, day) for day in (11, 16, 26, 31)]
Samples = dict[RasterName, npt.NDArray[np.float32]]


def ground() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(0.06, 0.01, (200, 200)).astype(np.float32)


def blue(sensor: str = "sentinel2", band: str = "B02", days: int = 4) -> Samples:
    return {RasterName(sensor, day, band): ground() for day in DAYS[:days]}


def test_blue_near_infrared_and_cirrus_tell_the_sky() -> None:
    assert sky_bands(get_sensor("sentinel2")) == ("B02", "B08")
    assert sky_bands(get_sensor("landsat8")) == ("B2", "B5", "B9")
    assert sky_bands(get_sensor("sentinel1")) == sky_bands(get_sensor("viirs")) == ()


@pytest.mark.parametrize(
    ("sensor", "year", "raw", "reflectance"),
    [("sentinel2", 2020, 600, 0.06), ("sentinel2", 2023, 1600, 0.06), ("landsat8", 2023, 9500.0, 0.09)],
)
def test_raw_values_become_reflectance(sensor: str, year: int, raw: float, reflectance: float) -> None:
    values = np.full((800, 800), raw)
    values[:, 400:] = 0
    described = get_sensor(sensor)
    sampled = sample_reflectance(values, described, described.has_offset(date(year, 7, 1)))
    assert sampled.shape == (200, 200)
    assert sampled[0, 0] == pytest.approx(reflectance, rel=1e-5)
    assert np.isnan(sampled[:, 100:]).all()


def test_a_cloud_is_measured_where_one_date_is_brighter() -> None:
    samples = blue()
    samples[RasterName("sentinel2", DAYS[2], "B02")][:20] += 0.4
    skies = estimate_sky(samples, CONTEST)
    assert [sky.sky for sky in skies] == ["clear", "clear", "cloudy", "clear"]
    assert [sky.acquired for sky in skies] == DAYS
    assert skies[2].cloud_share == pytest.approx(0.1)


def test_a_shadow_makes_no_cloud_of_the_other_dates() -> None:
    samples = blue()
    samples[RasterName("sentinel2", DAYS[3], "B02")][:100] = 0.0001
    assert {sky.sky for sky in estimate_sky(samples, CONTEST)} == {"clear"}


def test_missing_pixels_are_not_judged() -> None:
    samples = blue(days=2)
    samples[RasterName("sentinel2", DAYS[0], "B02")][:] = np.nan
    assert [sky.sky for sky in estimate_sky(samples, CONTEST)] == ["unknown", "unknown"]


def test_a_single_date_cannot_be_judged() -> None:
    (sky,) = estimate_sky(blue(days=1), CONTEST)
    assert sky.sky == "unknown"
    assert sky.cloud_share is None


def test_a_cirrus_band_tells_haze() -> None:
    samples = blue("landsat8", "B2", days=2)
    samples[RasterName("landsat8", DAYS[0], "B9")] = np.full((200, 200), 0.009, dtype=np.float32)
    samples[RasterName("landsat8", DAYS[1], "B9")] = np.full((200, 200), 0.001, dtype=np.float32)
    assert [sky.sky for sky in estimate_sky(samples, CONTEST)] == ["hazy", "clear"]


def test_a_shadow_is_measured_where_one_date_is_darker() -> None:
    samples = blue()
    for day in DAYS:
        samples[RasterName("sentinel2", day, "B08")] = ground() + 0.2
    samples[RasterName("sentinel2", DAYS[1], "B08")][:30] *= 0.2
    # A cloud is no ground, by which shadows on other dates are told.
    samples[RasterName("sentinel2", DAYS[2], "B02")][:20] += 0.4
    samples[RasterName("sentinel2", DAYS[2], "B08")][:20] += 0.6
    skies = estimate_sky(samples, CONTEST)
    assert [sky.shadow_share for sky in skies] == pytest.approx([0, 0.15, 0, 0])
    assert [sky.cloud_share for sky in skies] == pytest.approx([0, 0, 0.1, 0])
    assert [sky.acquired for sky in in_order(skies, "clearest")] == [DAYS[0], DAYS[3], DAYS[2], DAYS[1]]
