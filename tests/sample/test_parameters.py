import numpy as np
import pytest
from scipy.stats import beta

from esdseg.sample.parameters import draw_parameters, lit_cells_at
from esdseg.sample.regions import REGIONS, SAVANNA, Region

regions = pytest.mark.parametrize("region", REGIONS.values(), ids=list(REGIONS))


@pytest.mark.parametrize("seed", [0, 1, 7])
@regions
def test_any_twelve_tiles_in_a_row_span_dark_and_lit(seed: int, region: Region) -> None:
    lit = np.array([sum(draw_parameters(seed, number, region).towns) for number in range(1, 49)])
    for start in range(37):
        window = lit[start : start + 12]
        assert abs(np.count_nonzero(window) - 12 * region.any_light_share) < 2
        assert abs(np.count_nonzero(window > 15) - 12 * region.large_town_share) < 2
        assert np.count_nonzero(window > 15) >= 1


@regions
def test_shares_of_lit_tiles_are_those_of_the_region(region: Region) -> None:
    lit = np.array([sum(draw_parameters(3, number, region).towns) for number in range(1, 311)])
    assert np.mean(lit > 0) == pytest.approx(region.any_light_share, abs=0.01)
    assert np.mean(lit > 15) == pytest.approx(region.large_town_share, abs=0.01)


@regions
def test_settlement_shares_follow_their_beta_distribution(region: Region) -> None:
    shares = [draw_parameters(0, number, region).dark_settlement_share for number in range(1, 201)]
    for quantile in (0.1, 0.5, 0.9):
        expected = beta.ppf(quantile, *region.settlement_beta)
        assert np.quantile(shares, quantile) == pytest.approx(expected, abs=0.03)


def test_lit_cells_fall_from_large_towns_to_none() -> None:
    cells = [lit_cells_at(quantile) for quantile in np.linspace(0, 1, 101)]
    assert cells == sorted(cells, reverse=True)
    assert cells[-1] == 0.0


def test_settings_differ_between_seeds_and_tiles() -> None:
    assert draw_parameters(0, 1) == draw_parameters(0, 1)
    assert draw_parameters(0, 1) != draw_parameters(1, 1)
    assert draw_parameters(0, 1) != draw_parameters(0, 2)
    assert draw_parameters(0, 1) == draw_parameters(0, 1, SAVANNA)
    drawn = {draw_parameters(0, 1, region).greenness / region.greenness.median for region in REGIONS.values()}
    assert len(drawn) == len(REGIONS), "other random numbers in each region"
