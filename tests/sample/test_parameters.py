import numpy as np
import pytest
from scipy.stats import beta

from esdseg.sample.parameters import (
    ANY_LIGHT_SHARE,
    DARK_SETTLEMENT_BETA,
    LARGE_TOWN_SHARE,
    draw_parameters,
    lit_cells_at,
)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_any_twelve_tiles_in_a_row_span_dark_and_lit(seed: int) -> None:
    lit = np.array([sum(draw_parameters(seed, number).towns) for number in range(1, 49)])
    for start in range(37):
        window = lit[start : start + 12]
        assert 4 <= np.count_nonzero(window) <= 6
        assert 2 <= np.count_nonzero(window > 15) <= 4


def test_shares_of_lit_tiles_are_those_of_the_real_sample() -> None:
    lit = np.array([sum(draw_parameters(3, number).towns) for number in range(1, 311)])
    assert np.mean(lit > 0) == pytest.approx(ANY_LIGHT_SHARE, abs=0.01)
    assert np.mean(lit > 15) == pytest.approx(LARGE_TOWN_SHARE, abs=0.01)


def test_settlement_shares_follow_their_beta_distribution() -> None:
    shares = [draw_parameters(0, number).dark_settlement_share for number in range(1, 201)]
    for quantile in (0.1, 0.5, 0.9):
        expected = beta.ppf(quantile, *DARK_SETTLEMENT_BETA)
        assert np.quantile(shares, quantile) == pytest.approx(expected, abs=0.03)


def test_lit_cells_fall_from_large_towns_to_none() -> None:
    cells = [lit_cells_at(quantile) for quantile in np.linspace(0, 1, 101)]
    assert cells == sorted(cells, reverse=True)
    assert cells[-1] == 0.0


def test_settings_differ_between_seeds_and_tiles() -> None:
    assert draw_parameters(0, 1) == draw_parameters(0, 1)
    assert draw_parameters(0, 1) != draw_parameters(1, 1)
    assert draw_parameters(0, 1) != draw_parameters(0, 2)
