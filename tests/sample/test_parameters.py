import numpy as np
import pytest
from scipy.stats import beta

from esdseg.sample.parameters import draw_parameters, draw_scene_parameters, lit_cells_at
from esdseg.sample.regions import REGIONS, SAVANNA, Region

MEANS = (1.0620954, 0.4961512, 0.3884040)
"""Of the relief, the redness and the attraction of the scene of seed 5."""

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


@regions
def test_a_scene_spans_what_the_tiles_of_its_region_do(region: Region) -> None:
    scene = draw_scene_parameters(5, 3000, region)
    tiles = [draw_parameters(5, number, region) for number in range(1, 201)]
    for name in (
        "ruggedness",
        "brightness",
        "redness",
        "greenness",
        "cultivation",
        "rockiness",
        "metal_share",
    ):
        low, middle, high = np.quantile([getattr(tile, name) for tile in tiles], (0.25, 0.5, 0.75))
        quartiles = np.quantile(getattr(scene, name)[::10, ::10], (0.25, 0.5, 0.75))
        assert quartiles[1] == pytest.approx(middle, abs=high - low), name
        assert 0.3 < (quartiles[2] - quartiles[0]) / (high - low) < 2.5, name
    assert scene.cloudiness == pytest.approx(np.mean([tile.cloudiness for tile in tiles]), rel=0.15)
    assert scene.flooded_share == pytest.approx(np.mean([tile.flooded_share for tile in tiles]), abs=0.02)
    shares = np.mean([tile.dark_settlement_share for tile in tiles])
    assert scene.dark_settlement_share == pytest.approx(shares, abs=0.01)


def test_a_scene_of_a_seed_stays_what_it_was() -> None:
    scene = draw_scene_parameters(5, 800)
    assert (scene.dark_settlement_share, scene.cloudiness, scene.flooded_share) == (0.425, 1.0, 0.0)
    means = [float(np.mean(field)) for field in (scene.ruggedness, scene.redness, scene.attraction)]
    assert means == pytest.approx(MEANS, rel=1e-5)
