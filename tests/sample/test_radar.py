import numpy as np
import pytest
from scipy import stats

from esdseg.sample.radar import LOOKS, speckle, splat_echo
from esdseg.sample.settlements import Buildings


def test_speckle_has_mean_one_and_the_looks_of_grdh() -> None:
    field = speckle(np.random.default_rng(0), (1000, 1000))
    assert field.mean() == pytest.approx(1.0, abs=0.01)
    assert field.mean() ** 2 / field.var() == pytest.approx(LOOKS, rel=0.04)
    assert field.min() > 0


def test_speckle_is_gamma_distributed() -> None:
    sample = speckle(np.random.default_rng(1), (1000, 1000))[::5, ::5].ravel()
    assert stats.kstest(sample, stats.gamma(LOOKS, scale=1 / LOOKS).cdf).statistic < 0.01


def test_neighbouring_pixels_share_two_thirds_of_their_speckle() -> None:
    field = np.log(speckle(np.random.default_rng(2), (800, 800)))
    for axis in (0, 1):
        shifted = np.roll(field, 1, axis=axis)
        assert np.corrcoef(field.ravel(), shifted.ravel())[0, 1] == pytest.approx(2 / 3, abs=0.02)


def test_echoes_keep_the_power_of_their_buildings() -> None:
    rng = np.random.default_rng(3)
    row, column = rng.uniform(5, 795, (2, 40)).astype(np.float32)
    power = rng.uniform(0.1, 8.0, 40).astype(np.float32)
    buildings = Buildings(row, column, np.full(40, 50.0, np.float32), np.zeros(40, np.int64), power)
    assert splat_echo(buildings).sum() == pytest.approx(power.sum(), rel=1e-3)
